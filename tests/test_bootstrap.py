"""Bootstrapping in rounds: lineage, what is done again and what is not, and kills that change no byte."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import blip.resume
import blip.train
from blip.capfilt import Ledger, decide, run, verify
from blip.checkpoint import Card, load, save
from blip.data.pairset import PairSet
from blip.generate import Decoding
from blip.model import BLIP
from blip.tasks.captioning import PROMPT
from lab.bootstrap import bootstrapped, world_job
from lab.cli import main
from lab.recipes import SMOKE, overridden
from lab.rounds import MODEL, Steps
from lab.runs import DONE, INTERRUPTED, Home
from lab.sources import tokenizer_of
from lab.weights import shipped
from lab.world.sets import World, as_pairs

ROOT = Path(__file__).parents[1]
TINY = (
    "web=64",
    "human=24",
    "objectives.queue=6",
    "pretrain.samples=64",
    "captioner.samples=32",
    "captioner.batch=8",
    "filter.samples=32",
    "filter.batch=8",
    "evaluation=8",
)
RECIPE = overridden(SMOKE, TINY)


def words(out, *more):
    return ["bootstrap", "--recipe", "smoke", "--set", *TINY, "--out", str(out), *more]


def start(home, out, *more, monkeypatch):
    monkeypatch.setenv("BLIP_LAB_HOME", str(home))
    assert main(words(out, *more)) == 0
    return json.loads((out / "summary.json").read_text())


def contents(home):
    """The bytes of all that runs give; who did it when and at which pace may differ."""
    paths = (home / "runs").rglob("*")
    return {
        path.relative_to(home).as_posix(): path.read_bytes()
        for path in paths
        if path.is_file() and path.name not in ("run.json", "metrics.jsonl")
    }


def facts(part):
    """A part of a summary without times and places, as JSON: there NaN equals NaN."""
    return json.dumps({name: value for name, value in part.items() if name not in ("seconds", "ledger")})


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """Two rounds: home and summary."""
    folder = tmp_path_factory.mktemp("unbroken")
    with pytest.MonkeyPatch.context() as patch:
        summary = start(folder / "home", folder, "--rounds", "2", monkeypatch=patch)
    return folder / "home", summary


def rows(home):
    return {row["id"]: row for row in Home(home).rows()}


def test_every_round_has_its_lineage(unbroken):
    home, summary = unbroken
    known = rows(home)
    assert {row["state"] for row in known.values()} == {DONE}
    kept = None
    for one in [*summary["rounds"], summary["final"]]:
        runs = one["runs"]
        assert known[runs["model"]]["parents"] == ([kept] if kept else [])
        assert known[runs["quality"]]["parents"] == [runs["model"]]
        if "captioner" in runs:
            for kind in ("captioner", "filter"):
                assert known[runs[kind]]["parents"] == [runs["model"]]
            tuned = [runs["captioner"], runs["filter"]]
            assert known[runs["capfilt"]]["parents"] == known[runs["tuned_quality"]]["parents"] == tuned
            kept = runs["capfilt"]
    assert len(known) == 2 * 6 + 2
    assert not list(home.rglob("checkpoints"))


def test_a_rounds_ledger_is_whole_and_names_its_models(unbroken):
    home, summary = unbroken
    for number, one in enumerate(summary["rounds"], 1):
        ledger = Ledger.open(one["ledger"])
        assert [finding for finding in verify(ledger) if not finding.holds] == []
        assert (ledger.about["round"], ledger.about["data"]["images"]) == (number, 64)
        results = {name: rows(home)[one["runs"][name]]["result"]["model"] for name in ("captioner", "filter")}
        assert (ledger.about["captioner"], ledger.about["filters"]["itm"]) == tuple(results.values())
        kept = sum(one["capfilt"]["kept"].values())
        after = [*summary["rounds"], summary["final"]][number]
        assert after["pairs"] == kept + 24
        assert set(one["capfilt"]) >= {"auc", "false_share_before", "false_share_after", "strictly_true_synthetic"}
        assert set(one["quality"]) == set(one["tuned_quality"]) == {"captioner", "filter"}


def test_rounds_are_compared(unbroken, capsys):
    _, summary = unbroken
    (found,) = summary["diffs"]
    assert found["rounds"] == [1, 2]
    # The web's texts stand in both ledgers, the captions of two captioners hardly ever.
    assert found["added"]["count"] > 0 and found["dropped"]["count"] > 0
    ledgers = [one["ledger"] for one in summary["rounds"]]
    assert main(["ledger", "diff", *ledgers, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {name: found[name] for name in told if name != "policy"} == {n: v for n, v in told.items() if n != "policy"}


def test_a_third_round_does_only_what_is_new(unbroken, tmp_path, monkeypatch, capsys):
    home, two = unbroken
    before = {path: path.stat().st_mtime_ns for path in (home / "runs").rglob("*.json")}
    known = set(rows(home))
    summary = start(home, tmp_path, "--rounds", "3", monkeypatch=monkeypatch)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    new = sorted(run.split("-")[0] for run in set(rows(home)) - known)
    assert new == ["capfilt", "captioner", "evaluate", "evaluate", "filter", "pretrain"]
    assert summary["rounds"][:2] == two["rounds"]
    assert summary["rounds"][2]["runs"]["model"] == two["final"]["runs"]["model"]
    said = capsys.readouterr().out
    for part in ("round 3", "final", "false after %", "2 to 3", "now filtered", summary["rounds"][2]["ledger"]):
        assert part in said
    again = start(home, tmp_path, "--rounds", "3", monkeypatch=monkeypatch)
    assert again["rounds"] == summary["rounds"] and len(rows(home)) == len(known) + 6


HANGS_IN_CAPFILT = """
import sys, time
import blip.captioner
from lab.cli import main
blip.captioner.Captioner.__call__ = lambda *words, **named: time.sleep(3600)
main(sys.argv[1:])
"""


def test_killed_in_capfilt_it_ends_with_the_same_bytes(unbroken, tmp_path, monkeypatch):
    home, summary = unbroken
    broken = tmp_path / "home"
    environment = os.environ | {"BLIP_LAB_HOME": str(broken), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, "-c", HANGS_IN_CAPFILT, *words(tmp_path, "--rounds", "1")]
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=said, stderr=said)
    while process.poll() is None and not list(broken.glob("runs/capfilt-*/ledger/ledger.json")):
        time.sleep(0.01)
    assert process.poll() is None, (tmp_path / "said").read_text()
    process.kill()
    process.wait()
    (cut,) = [run for run, row in rows(broken).items() if row["state"] == INTERRUPTED]
    assert cut == summary["rounds"][0]["runs"]["capfilt"]
    found = start(broken, tmp_path, "--rounds", "1", monkeypatch=monkeypatch)
    assert facts(found["rounds"][0]) == facts(summary["rounds"][0])
    assert found["final"]["quality"] == summary["rounds"][1]["quality"]
    made = contents(broken)
    assert made == {name: data for name, data in contents(home).items() if name.split("/")[1] in rows(broken)}
    assert len(rows(broken)) == 8 and rows(broken)[cut]["starts"] == 2


def test_interrupted_training_goes_on_from_its_checkpoint_to_the_same_weights(unbroken, tmp_path, monkeypatch):
    home, summary = unbroken
    taken, step = [], blip.train.forward_backward

    def forward_backward(*arguments):
        if len(taken) == 2:
            taken.append("stopped")
            raise KeyboardInterrupt
        taken.append("step")
        return step(*arguments)

    monkeypatch.setattr(blip.resume.Keeper, "due", lambda keeper, seconds: True)
    monkeypatch.setattr(blip.train, "forward_backward", forward_backward)
    steps = Steps(Home(tmp_path), RECIPE)
    with pytest.raises(KeyboardInterrupt):
        steps.pretrain()
    run = steps.pretrain()
    assert taken == ["step", "step", "stopped", "step", "step"]
    assert run.id == summary["rounds"][0]["runs"]["model"]
    assert run.result == rows(home)[run.id]["result"]
    assert not list(run.folder.rglob("checkpoints"))


def test_a_step_does_not_depend_on_what_its_process_did_before(unbroken, tmp_path):
    """As when it is started again after a kill, and the steps before it are only read."""
    home, summary = unbroken
    runs = summary["rounds"][0]["runs"]
    shutil.copytree(home / "runs" / runs["model"], tmp_path / "runs" / runs["model"])
    steps = Steps(Home(tmp_path), RECIPE)
    torch.rand(17)
    tuned = steps.tune(steps.home.read(runs["model"]))
    for name, one in zip(("captioner", "filter"), tuned, strict=True):
        assert (one.id, one.result) == (runs[name], rows(home)[runs[name]]["result"])


def test_continued_models_go_on_from_the_one_before(unbroken, tmp_path, monkeypatch):
    home, anew = unbroken
    summary = start(home, tmp_path, "--rounds", "1", "--continued", monkeypatch=monkeypatch)
    first, final = summary["rounds"][0]["runs"], summary["final"]["runs"]["model"]
    assert first == anew["rounds"][0]["runs"]
    assert rows(home)[final]["parents"] == [first["capfilt"], first["model"]]
    before, after, new = (
        load(home / "runs" / name / MODEL) for name in (first["model"], final, anew["rounds"][1]["runs"]["model"])
    )
    assert after.tokenizer.vocab == before.tokenizer.vocab == new.tokenizer.vocab

    def distance(one, other):
        weights = zip(one.model.image_encoder.parameters(), other.model.image_encoder.parameters(), strict=True)
        return sum(float((a - b).square().sum().detach()) for a, b in weights)

    assert 0 < distance(after, before) < distance(after, new)
    steps = Steps(Home(home), RECIPE)
    kept, started = (steps.home.read(first[name]) for name in ("capfilt", "model"))
    assert steps.pretrain(kept, started).id == final


def test_what_an_unfinished_ledger_kept_is_not_trained_on(unbroken, tmp_path, monkeypatch, capsys):
    home = shutil.copytree(unbroken[0], tmp_path / "home")
    made = unbroken[1]["rounds"][0]["runs"]
    run = made["capfilt"]
    for folder in set((home / "runs").glob("pretrain-*")) - {home / "runs" / made["model"]}:
        shutil.rmtree(folder)
    (home / "runs" / run / "ledger" / "manifest" / "candidates-00000.json").unlink()
    monkeypatch.setenv("BLIP_LAB_HOME", str(home))
    assert main(words(tmp_path, "--rounds", "1")) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "is unfinished: 0 of 64 images" in said and f"lab runs rm --with-children {run} removes it" in said


def test_captioners_without_a_prompt_share_all_runs_before_them(unbroken, tmp_path, monkeypatch):
    home, prompted = unbroken
    summary = start(home, tmp_path, "--rounds", "1", "--prompt", "", monkeypatch=monkeypatch)
    own, usual = summary["rounds"][0]["runs"], prompted["rounds"][0]["runs"]
    assert {name for name in own if own[name] != usual[name]} == {"captioner", "capfilt", "tuned_quality"}
    cards = [load(home / "runs" / runs["captioner"] / MODEL).card for runs in (own, usual)]
    assert [card.prompt for card in cards] == ["", PROMPT]


def test_a_share_of_the_images_and_another_noise_are_other_runs(unbroken, tmp_path, monkeypatch):
    home, all_images = unbroken
    options = ["--rounds", "1", "--images", "24"]
    share = start(home, tmp_path, *options, monkeypatch=monkeypatch)
    assert share["rounds"][0]["capfilt"]["images"] == 24
    assert share["rounds"][0]["runs"]["captioner"] == all_images["rounds"][0]["runs"]["captioner"]
    whole, few = (Ledger.open(one["rounds"][0]["ledger"]) for one in (all_images, share))
    captions = [
        [(row["image_key"], row["caption"]) for row in ledger.table("candidates").to_pylist()] for ledger in (whole, few)
    ]
    assert captions[1] == captions[0][: len(captions[1])]
    noisier = Steps(Home(home), replace(RECIPE, noise=0.9))._step("pretrain", [])
    assert noisier.id not in rows(home)


def test_only_what_decides_a_step_is_in_its_id():
    """A changed captioner needs no new pre-training, a changed evaluation no training at all."""
    kinds = ("pretrain", "captioner", "filter", "capfilt", "evaluate")

    def changed(change, seed=0):
        ids = [
            [Steps(Home("unused"), recipe, number)._step(kind, []).id for kind in kinds]
            for recipe, number in ((RECIPE, 0), (overridden(RECIPE, change), seed))
        ]
        return {kind for kind, before, after in zip(kinds, *ids, strict=True) if before != after}

    assert changed(["captioner.samples=64"]) == {"captioner"}
    assert changed(["filter.peak=0.1"]) == {"filter"}
    assert changed(["evaluation=9"]) == {"evaluate"}
    assert changed(["pretrain.batch=8"]) == {"pretrain"}
    assert changed(["name=other"]) == set()
    assert changed(["noise=0.5"]) == changed([], seed=1) == set(kinds)


def test_the_bootstrapped_set_is_what_the_filter_kept(tmp_path):
    world = World.of("nano")
    items = world.web(24, 0.5)
    job = world_job(shipped("captioner"), shipped("filter"), items, {}, decoding=Decoding(), seed=0, round=2)
    ledger = run(job, PairSet.of(as_pairs(items, world.level.px)), tmp_path)
    kept = [row for row in decide(ledger).to_pylist() if row["kept"]]
    found = bootstrapped(ledger, items)
    assert [(pair.key, pair.caption, pair.origin) for pair in found] == [
        (row["image_key"], row["caption"], row["origin"]) for row in kept
    ]
    scenes = {item.key: item.scene for item in items}
    assert all(pair.scene is scenes[pair.key] for pair in found)
    assert {"web", "synthetic"} == {pair.origin for pair in found} and len(found) < 2 * len(items)


def test_equal_models_are_equal_files_in_every_process(tmp_path):
    """safetensors orders metadata by chance, which would give one training many fingerprints."""
    tokenizer = tokenizer_of(World.of("nano").web(50))
    torch.manual_seed(0)
    model = BLIP(RECIPE.model(len(tokenizer)))
    card = Card(stage="pretrained", notes={"of": "a \"test\" é\n"})
    prints = {load(save(tmp_path / f"{n}.safetensors", model, tokenizer, card)).fingerprint for n in range(12)}
    assert len(prints) == 1
    loaded = load(tmp_path / "0.safetensors")
    assert loaded.card == card and loaded.tokenizer.vocab == tokenizer.vocab


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--rounds", "0"], "0 rounds cannot be"),
        (["--images", "0"], "0 images cannot be"),
        (["--images", "65"], "give 1 to 64"),
        (["--noise", "2"], "noise rate of 2.0 cannot be"),
        (["--recipe", "huge"], "There is no recipe 'huge'"),
    ],
)
def test_impossible_rounds_are_one_sentence_and_leave_nothing(tmp_path, monkeypatch, capsys, options, said):
    monkeypatch.setenv("BLIP_LAB_HOME", str(tmp_path / "home"))
    assert main(words(tmp_path / "out", *options)) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_by_default_the_summary_lies_in_the_home(unbroken, monkeypatch, capsys):
    home, summary = unbroken
    monkeypatch.setenv("BLIP_LAB_HOME", str(home))
    command = words("unused", "--rounds", "2")
    at = command.index("--out")
    assert main(command[:at] + command[at + 2 :]) == 0
    path = home / "bootstrap" / summary["final"]["runs"]["model"] / "summary.json"
    assert f"summary: {path}" in capsys.readouterr().out
    again = json.loads(path.read_text())
    assert again["rounds"] == summary["rounds"] and again["final"] == summary["final"]
    assert again["config"]["options"]["rounds"] == 2
