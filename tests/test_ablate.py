"""Ablations: cells are done once and shared, go on after a stop, need no luxuries; mixes, plans, bias by hand."""

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import lab.ablation.queue
from blip.capfilt import Ledger, Policy, decide, run
from blip.checkpoint.own import load, vocabulary
from blip.data.pairset import PairSet
from blip.errors import InputError
from blip.generate import Decoding
from lab.ablation.arms import Lab, Trained
from lab.ablation.command import Wanted, ablate
from lab.ablation.engine import do, do_one, gathered
from lab.ablation.ledger_arms import THRESHOLDS, crossed_bias, swept
from lab.ablation.measures import cost
from lab.ablation.plan import Cell, Forecast, Pace, missing, results
from lab.ablation.queue import by_value, packed, startable, work
from lab.ablation.scales import SCALES, scaled
from lab.ablation.table import CAPFILT, NONE
from lab.ablation.tunings import TWIN
from lab.ablations import ABLATIONS, ablation
from lab.bootstrap import bootstrapped, world_job
from lab.cli import main
from lab.mixes import BOTH, FILTERED_WEB, RAW, SYNTHETIC, UNFILTERED, Mix, selected
from lab.recipes import overridden
from lab.rounds import LEDGER, MODEL, Steps
from lab.runs import DONE, Home, Run
from lab.weights import shipped
from lab.world.sets import World, as_pairs

ROOT = Path(__file__).parents[1]
SMOKE = scaled("smoke")
# Of pandas pyarrow must not find a module that is None.
LUXURIES = ("av", "duckdb", "gradio", "matplotlib", "open_clip", "ray", "transformers", "tyro")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Table 12 with one seed: its home and its record."""
    folder = tmp_path_factory.mktemp("table12")
    home, out = Home(folder / "home"), folder / "table12.json"
    ablate(Wanted(name="table12", scale="smoke", seeds=1, out=out), home)
    return home, json.loads(out.read_text())


def kinds(steps):
    return sorted(step.kind for step in steps.values())


def test_a_record_says_what_every_arm_found(done):
    _, record = done
    result = record["result"]
    assert {"command", "commit", "machine", "date", "config"} <= set(record)
    assert record["config"]["recipe"]["name"] == "ablation-smoke" and result["seeds"] == [0]
    assert list(result["arms"]) == ["web, 1", "web, r", "CapFilt, 1", "CapFilt, r", "web, 1.61", "CapFilt, 1.61"]
    samples = {name: own["0"]["samples"] for name, own in result["budgets"].items()}
    assert samples["web, 1.61"] == samples["CapFilt, 1.61"] == round(1.61 * samples["web, 1"])
    assert samples["web, r"] == samples["CapFilt, r"] != samples["web, 1"] == samples["CapFilt, 1"]
    for arm in result["arms"].values():
        worth = arm["seeds"]["0"]["worth"]
        assert {"in", "near", "out", "all", "sketch"} == set(worth["captions"])
        assert set(worth["captions"]["all"]) == {"true", "strictly_true", "cider"}
        assert {"mismatched", "near_miss", "vague"} <= set(worth["filter"]["auc"])
        found = worth["retrieval"]["all"]
        hits = [int(digit) for digit in worth["items"]["r1"]]
        images = found["images"]
        assert found["r1"] == pytest.approx((found["tr1"] + found["ir1"]) / 2)
        assert np.mean(hits[:images]) == pytest.approx(found["tr1"])
        assert np.mean(hits[images:]) == pytest.approx(found["ir1"])
    said = {row["claim"]: row for row in result["claims"]}
    stated = {"not-longer-training", "longer-gains-little", "longer-loses-little"}
    assert set(said) == stated | {f"{name}-papers-r" for name in stated}
    assert {row["verdict"] for row in said.values()} == {"undecided"}  # one seed


def test_all_arms_read_the_same_words_and_begin_with_the_same_weights(done):
    home, record = done
    words = {own["0"]["vocabulary"] for own in record["result"]["budgets"].values()}
    assert len(words) == 1 and len(words.pop()) == 8
    paths = [home.folder / "runs" / row["id"] / MODEL for row in home.rows() if row["kind"] == "pretrain"]
    assert len(paths) == 6 and len({load(path).tokenizer.fingerprint for path in paths}) == 1
    assert vocabulary(paths[0]) == list(load(paths[0]).tokenizer.vocab)


def test_nothing_is_done_twice_and_tables_share_runs(done, capsys):
    home, _ = done
    before = {path: path.stat().st_mtime_ns for path in home.folder.rglob("*.json")}
    do([Cell(arm, 0) for arm in ablation("table12").arms], SMOKE, home)
    assert "6 of them done; nothing left" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in home.folder.rglob("*.json")} == before
    shared = {"table1": ("none", "both"), "table13": ("new, N",), "mixes": ("raw only", "union"), "noise": ("none, noise 60%",)}
    for name, arms in shared.items():
        assert missing([Cell(ablation(name).arm(arm), 0) for arm in arms], SMOKE, home) == {}, name
    tuned = ["captioner", "filter", "pretrain", "worth"]  # of a student alone: captioner and filter are there
    assert kinds(missing([Cell(ablation("table1").arm("F"), 0)], SMOKE, home)) == tuned
    assert kinds(missing([Cell(ablation("table4").arm("shared"), 0)], SMOKE, home)) == sorted(["capfilt", "joint", *tuned])
    assert len(missing([Cell(NONE, 1)], SMOKE, home)) == 4


def test_twins_come_from_one_model_and_are_tuned_as_the_one_model_is(tmp_path):
    steps = {name: missing([Cell(ablation("table4").arm(name), 0)], SMOKE, Home(tmp_path)) for name in ("shared", "twins")}
    (one,) = (step for step in steps["shared"].values() if step.kind == "joint")
    first, second = sorted((s for s in steps["twins"].values() if s.kind == "joint"), key=lambda s: s.config["seed"])
    assert first == one and second.parents == one.parents
    assert second.config == one.config | {"seed": TWIN}
    (capfilt,) = (step for step in steps["twins"].values() if step.kind == "capfilt")
    assert capfilt.parents == (first.id, second.id)
    for name, at in (("joint captioner", 0), ("joint filter", 1)):
        mixed = missing([Cell(replace(CAPFILT, tuning=name), 0)], SMOKE, Home(tmp_path))
        (capfilt,) = (step for step in mixed.values() if step.kind == "capfilt")
        kinds = [mixed[one].kind for one in capfilt.parents]
        assert kinds[at] == "joint" and kinds[1 - at] == ("filter", "captioner")[at]
    with pytest.raises(InputError, match="no tuning 'twin'; choose one of apart, one model, twins"):
        missing([Cell(replace(CAPFILT, tuning="twin"), 0)], SMOKE, Home(tmp_path))


def test_equal_epochs_are_counted_on_the_texts(done):
    home, _ = done
    rows = {row["id"]: row for row in home.rows() if row["kind"] == "pretrain" and "budget" in row["config"]}
    assert len(rows) == 2
    (ledger,) = home.folder.glob("runs/capfilt-*/ledger")
    kept = sum(decide(Ledger.open(ledger))["kept"].to_pylist())
    for row in rows.values():
        assert row["result"]["samples"] == round(32 * (kept + SMOKE.human) / (SMOKE.web + SMOKE.human))
    assert {row["result"]["pairs"] for row in rows.values()} == {SMOKE.web + SMOKE.human, kept + SMOKE.human}


def test_a_plan_names_the_runs_before_they_are_done(tmp_path):
    home, cell = Home(tmp_path), Cell(NONE, 3)
    planned = missing([cell], SMOKE, home)
    assert results(cell, SMOKE, home) is None and not (tmp_path / "runs").exists()
    do_one(cell, SMOKE, home)
    assert {row["id"] for row in home.rows()} == set(planned)
    assert {row["state"] for row in home.rows()} == {DONE} and missing([cell], SMOKE, home) == {}
    pace = Pace(home)
    twice = replace(SMOKE, pretrain=replace(SMOKE.pretrain, samples=64))
    steps = missing([cell], twice, home)
    (pretrain,) = (step for step in steps.values() if step.kind == "pretrain")
    (row,) = (row for row in home.rows() if row["kind"] == "pretrain")
    assert pace.seconds(pretrain) == pytest.approx(2 * row["seconds"])
    (capfilt,) = (one for one in missing([Cell(CAPFILT, 3)], SMOKE, home).values() if one.kind == "capfilt")
    assert pace.seconds(capfilt) is None
    forecast = pace.forecast([pretrain, capfilt])
    assert forecast.unknown == 1 and forecast.said(2).startswith("more than")
    assert [Forecast(s, 0).said(2) for s in (0, 60, 600, 36_000)] == ["nothing left", "about 30 s left", "about 5 min left", "about 5.0 h left"]


def test_a_cell_that_was_stopped_goes_on(done, tmp_path, monkeypatch):
    home, _ = done
    cell, broken = Cell(NONE, 0), Home(tmp_path)
    import lab.rounds

    def stopped(*words, **named):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(lab.rounds.stages, "tune_filter", stopped)
        with pytest.raises(KeyboardInterrupt):
            do_one(cell, SMOKE, broken)
    states = sorted((row["kind"], row["state"]) for row in broken.rows())
    assert states == [("captioner", "done"), ("filter", "interrupted"), ("pretrain", "done")]
    do([cell], SMOKE, broken)
    assert json.dumps(results(cell, SMOKE, broken)) == json.dumps(results(cell, SMOKE, home))


BARE = f"""
import runpy, sys
for name in {LUXURIES}:
    sys.modules[name] = None
sys.argv = ["lab.ablation", *sys.argv[1:]]
runpy.run_module("lab.ablation", run_name="__main__")
"""


def test_it_runs_without_luxuries_and_finds_the_same(done, tmp_path):
    """In a process where duckdb, tyro, gradio, open_clip and more cannot be imported."""
    record = done[1]
    out = tmp_path / "record.json"
    words = ["table1", "--scale", "smoke", "--seeds", "1", "--only", "both", "--out", str(out)]
    environment = os.environ | {"BLIP_LAB_HOME": str(tmp_path / "home"), "TQDM_DISABLE": "1"}
    command = [sys.executable, "-c", BARE, *words]
    made = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert made.returncode == 0, made.stderr
    assert "[1/1] both (seed 0)" in made.stderr and "No claim has all of its arms yet." in made.stdout
    (own,) = json.loads(out.read_text())["result"]["arms"]["both"]["seeds"].values()
    known = record["result"]["arms"]["CapFilt, 1"]["seeds"]["0"]
    assert json.dumps(own) == json.dumps(known)


def test_several_at_once_find_the_same(done, tmp_path):
    record = done[1]
    cells = [Cell(NONE, seed) for seed in (0, 1)]
    there = Home(tmp_path)
    do(cells, SMOKE, there, jobs=2)
    found = gathered(cells, SMOKE, there)["none"]
    assert sorted(found) == [0, 1] and "TQDM_DISABLE" not in os.environ
    assert json.dumps(found[0]) == json.dumps(record["result"]["arms"]["web, 1"]["seeds"]["0"])
    assert found[0]["worth"] != found[1]["worth"]


LONG = """
import sys
from dataclasses import replace
from pathlib import Path
from lab.ablation.engine import do
from lab.ablation.plan import Cell
from lab.ablation.scales import scaled
from lab.ablation.table import NONE
from lab.runs import Home
smoke = scaled("smoke")
long = replace(smoke, pretrain=replace(smoke.pretrain, samples=10**7))
do([Cell(NONE, seed) for seed in range(4)], long, Home(Path(sys.argv[1])), jobs=2)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_who_began_it(number, tmp_path):
    """However the command ends, its workers save what they train, and begin no other cell."""
    with (tmp_path / "said").open("w") as said:
        begun = subprocess.Popen([sys.executable, "-c", LONG, str(tmp_path)], cwd=ROOT, stderr=said)
    try:
        wait_for(lambda: len(list(tmp_path.glob("runs/*/pretrain/metrics.jsonl"))) == 2)
        workers = [int(one.name) for one in Path("/proc").glob("[0-9]*") if parent_of(one) == begun.pid]
        assert len(workers) >= 2
    finally:
        begun.send_signal(number)
        begun.wait()
    wait_for(lambda: not any(Path(f"/proc/{one}").exists() for one in workers))
    assert [row["state"] for row in Home(tmp_path).rows()] == ["interrupted"] * 2
    assert len({path.parent.parent for path in tmp_path.glob("runs/*/pretrain/checkpoints/*")}) == 2
    assert (tmp_path / "said").read_text() == "4 cells, 0 of them done; time left is not known yet.\n"


def wait_for(come):
    end = time.monotonic() + 60
    while not come():
        assert time.monotonic() < end
        time.sleep(0.1)


def parent_of(process):
    try:
        return int((process / "stat").read_text().rsplit(")", 1)[1].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


def test_a_record_keeps_the_seeds_and_arms_that_were_not_asked_for(tmp_path):
    home, out = Home(tmp_path / "home"), tmp_path / "record.json"
    do([Cell(NONE, 1)], SMOKE, home)
    ablate(Wanted(name="table1", scale="smoke", seeds=1, only=("none",), out=out), home)
    seeds = {name: list(arm["seeds"]) for name, arm in json.loads(out.read_text())["result"]["arms"].items()}
    assert seeds == {"none": ["0", "1"], "both": [], "F": [], "C": []}


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    """CapFilt with the shipped weights, which keep and drop both kinds of texts; its items."""
    world = World.of("nano")
    items = world.web(48, 0.5)
    job = world_job(shipped("captioner"), shipped("filter"), items, {}, decoding=Decoding())
    return run(job, PairSet.of(as_pairs(items, world.level.px)), tmp_path_factory.mktemp("mixes") / "ledger"), items


def said(pairs):
    return [(one.key, one.origin, one.caption) for one in pairs]


def test_mixes_are_what_they_say(ledger):
    ledger, items = ledger
    rows = decide(ledger).to_pylist()
    truths = dict(zip(decide(ledger)["row_id"].to_pylist(), ledger.table("candidates", ["truth"])["truth"].to_pylist(), strict=True))
    text = lambda row: (row["image_key"], row["origin"], row["caption"])
    both = said(selected(ledger, BOTH, items))
    assert both == said(bootstrapped(ledger, items)) == [text(row) for row in rows if row["kept"]]
    assert said(selected(ledger, RAW, items)) == said(items)
    assert said(selected(ledger, UNFILTERED, items)) == [text(row) for row in rows]
    assert said(selected(ledger, FILTERED_WEB, items)) == [one for one in both if one[1] == "web"]
    assert said(selected(ledger, SYNTHETIC, items)) == [one for one in both if one[1] == "synthetic"]
    true = said(selected(ledger, Mix(by_truth=True), items))
    assert true == [text(row) for row in rows if truths[row["row_id"]] == "true"]
    raw = {key for key, origin, _ in both if origin == "web"}
    fallback = said(selected(ledger, Mix(where_raw_fails=True), items))
    assert fallback == [one for one in both if one[1] == "web" or one[0] not in raw]
    assert 0 < len(fallback) < len(both)


def test_one_text_an_image_with_a_probability(ledger):
    ledger, items = ledger
    shares = []
    for share in (0.0, 0.3, 1.0):
        pairs = selected(ledger, Mix(policy=UNFILTERED.policy, synthetic_share=share), items)
        assert [one.key for one in pairs] == [item.key for item in items]
        shares.append({one.key for one in pairs if one.origin == "synthetic"})
    assert shares[0] == set() and shares[0] < shares[1] < shares[2] == {item.key for item in items}
    with pytest.raises(InputError, match="synthetic share of 2"):
        Mix(synthetic_share=2)


def test_another_score_keeps_as_many_of_each_origin(ledger):
    ledger, items = ledger
    itc = Mix(policy=Policy(column="itc"), as_many_as=Policy())
    kept, both = selected(ledger, itc, items), selected(ledger, BOTH, items)
    for origin in ("web", "synthetic"):
        assert sum(one.origin == origin for one in kept) == sum(one.origin == origin for one in both)
    scored = {(row["image_key"], row["origin"]): row["score"] for row in decide(ledger, Policy(column="itc")).to_pylist()}
    left_out = [scored[item.key, "web"] for item in items if (item.key, "web") not in {(one.key, one.origin) for one in kept}]
    assert max(left_out) <= min(scored[one.key, "web"] for one in kept if one.origin == "web")


def test_mixes_are_told_apart_by_what_decides_them():
    mixes = [BOTH, RAW, SYNTHETIC, UNFILTERED, FILTERED_WEB, Mix(by_truth=True), Mix(where_raw_fails=True), Mix(synthetic_share=0.0), Mix(as_many_as=Policy())]
    assert len({json.dumps(mix.to_json()) for mix in mixes}) == len(mixes)
    assert BOTH.to_json() == {"policy": str(Policy())}


def test_the_crossed_bias_by_hand():
    """Ten true captions and two false ones of each captioner; each filter keeps nine of ten true ones."""
    truths = [np.array(["true"] * 10 + ["false"] * 2)] * 2
    true = np.arange(10) / 10 + 0.05
    scores = [
        [np.append(true, [0.9, 0.8]), np.append(true, [0.9, 0.0])],  # filter a lets both of its own pass, one of b's
        [np.append(true, [0.0, 0.0]), np.append(true, [0.9, 0.0])],  # filter b one of its own, none of a's
    ]
    found = crossed_bias(scores, truths)
    assert found["pass"] == [[1.0, 0.5], [0.0, 0.5]] and found["bias"] == pytest.approx(0.5)
    assert found["false"] == [2, 2]
    assert found["noise_ratio"] == pytest.approx((5 / 12 + 6 / 12) / 2)
    # A captioner with easier mistakes, and a filter that lets more pass, are no bias.
    easier = [[np.append(true, [0.9, 0.9]), np.append(true, [0.0, 0.0])]] * 2
    assert crossed_bias(easier, truths)["bias"] == 0
    assert crossed_bias(scores, [np.array(["true"] * 12)] * 2)["bias"] is None


def test_a_sweep_by_two_loops():
    rng = np.random.default_rng(0)
    scores, origins = rng.random(60), np.array(["web", "synthetic"] * 30)
    truths, names = rng.choice(["true", "false"], 60), np.array(["clean", None, "vague", None] * 15, dtype=object)
    found = swept(scores, origins, truths, names)
    for at, threshold in enumerate(THRESHOLDS):
        web = [(s, t) for s, o, t in zip(scores, origins, truths, strict=True) if o == "web"]
        kept = [(s, t) for s, t in web if s >= threshold]
        right = [t for _, t in kept if t == "true"]
        assert found["kept"]["web"][at] == pytest.approx(len(kept) / len(web))
        assert found["recall"]["web"][at] == pytest.approx(len(right) / sum(t == "true" for _, t in web))
        assert found["precision"]["web"][at] == (pytest.approx(len(right) / len(kept)) if kept else None)
    assert sum(count for _, _, count in found["calibration"]["web"]) == 30
    assert found["auc"]["gibberish"] is None and 0 <= found["auc"]["vague"] <= 1


def test_sharing_costs_what_it_owns(tmp_path):
    found = {}
    for arm in ablation("table3").arms:
        steps = Steps(Home(tmp_path), overridden(SMOKE, arm.student))
        found[arm.name] = cost(Trained(steps, Run("of no model", tmp_path, {}, 0.0))).result
    parameters = {name: one["parameters"] for name, one in found.items()}
    assert parameters["all"] < parameters["all-but-sa"] == parameters["all-but-ca"] < parameters["none"]
    assert all(one["step_seconds"] > 0 and one["saved_bytes"] > 0 for one in found.values())
    assert found["none"]["state_bytes"] == 16 * parameters["none"]
    more = Steps(Home(tmp_path), overridden(SMOKE, ("sharing=all", f"web={8 * SMOKE.web}")))
    words = cost(Trained(more, Run("of no model", tmp_path, {}, 0.0))).result["parameters"]
    assert words > parameters["all"]  # its web knows more words, and its run is another one


def test_every_arm_can_be_planned_and_no_two_of_a_table_are_the_same(tmp_path):
    home = Home(tmp_path)
    for table in ABLATIONS.values():
        for recipe in SCALES.values():
            each = [frozenset(missing([Cell(arm, 0)], recipe, home)) for arm in table.arms]
            assert all(each) and len(set(each)) == len(each), table.name
    assert not list(tmp_path.iterdir())


def test_the_harder_world_shows_three_objects_and_has_four_times_the_scenes():
    table, again = ABLATIONS["harder"], {"none": "table1", "both": "table1", "shared": "table4", "2 rounds": "rounds"}
    for recipe in SCALES.values():
        for arm, of in again.items():
            plain, hard = (one.recipe_of(recipe) for one in (ABLATIONS[of].arm(arm), table.arm(arm)))
            assert hard == replace(plain, level="nano-three", evaluation=4 * recipe.evaluation)
    scenes = [item.scene for item in World.of("nano-three").evaluation(100)]
    assert {len(scene.things) for scene in scenes} == {1, 2, 3}


@pytest.mark.parametrize("recipe", SCALES.values(), ids=list(SCALES))
def test_every_scale_keeps_the_papers_proportions(recipe):
    assert recipe.human <= 0.09 * recipe.web and recipe.objectives.queue <= recipe.web / 10


def test_the_queue_begins_what_fits_and_waits_for_no_other_cell(done, tmp_path):
    home, _ = done
    queue = by_value(SMOKE, home)
    names = [one.name for one in queue]
    assert len(names) == len(set(names)) and names[0] == "table1: both (seed 1)"  # seed 0 was done by Table 12
    assert names.index("table1: F (seed 0)") > names.index("table1: none (seed 4)")
    now = lab.ablation.queue.time.monotonic()
    chosen = startable(queue, [], SMOKE, home, room=3, end=now + 1e6)
    assert [one.name for one in chosen] == ["table1: both (seed 1)", "table1: both (seed 2)", "table1: both (seed 3)"]
    assert "table1: none (seed 1)" in names  # it needs the same pre-training as the first, and waits
    assert startable(queue, chosen, SMOKE, home, room=1, end=now + 1e6)[0].cell.seed == 4
    assert startable(queue, [], SMOKE, home, room=3, end=now) == []


def test_the_queue_packs_what_it_did(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BLIP_LAB_HOME", str(tmp_path / "home"))
    one = lab.ablation.queue.Queued(ablation("table1"), Cell(NONE, 0))
    monkeypatch.setattr("lab.commands.queue.by_value", lambda recipe, home, records: [one])
    monkeypatch.setattr("lab.ablation.queue.GUESS", 1.0)
    out = tmp_path / "out"
    assert main(["queue", "--minutes", "5", "--out", str(out), "--scale", "smoke", "--jobs", "1"]) == 0
    assert "1 cells, 4 runs" in capsys.readouterr().out
    with tarfile.open(out / "queue.tar") as tar:
        tar.extractall(tmp_path / "elsewhere", filter="data")
    elsewhere = Home(tmp_path / "elsewhere")
    assert missing([one.cell], SMOKE, elsewhere) == {}
    assert results(one.cell, SMOKE, elsewhere) == results(one.cell, SMOKE, Home(tmp_path / "home"))
    record = json.loads((tmp_path / "elsewhere" / "records" / "table1-smoke.json").read_text())
    assert list(record["result"]["arms"]["none"]["seeds"]) == ["0"]
    assert list(elsewhere.folder.glob("runs/pretrain-*/model.safetensors"))


def test_no_cell_that_fits_is_said(tmp_path, monkeypatch):
    home = Home(tmp_path)
    assert work(by_value(SMOKE, home), SMOKE, home, seconds=1.0, jobs=1, told=print) == []
    assert packed(tmp_path / "q.tar", [], home, []).exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["ablate", "tabel1"], "did you mean 'table1'"),
        (["ablate", "table1", "--scale", "huge"], "There is no scale 'huge'; choose one of smoke, cpu, gpu"),
        (["ablate", "table1", "--seeds", "0"], "--seeds 0 cannot be"),
        (["ablate", "table1", "--seeds", "3", "--from-seed", "3"], "--from-seed 3 of --seeds 3 cannot be; give 0 to 2"),
        (["ablate", "table1", "--only", "X"], "The ablation table1 has no arm 'X'"),
        (["queue", "--minutes", "0", "--out", "x"], "--minutes 0"),
    ],
)
def test_bad_words_are_one_sentence(words, told, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BLIP_LAB_HOME", str(tmp_path / "home"))
    assert main(words) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1 and list(tmp_path.iterdir()) == []


def test_a_scale_that_needs_a_gpu_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("BLIP_LAB_HOME", str(tmp_path / "home"))
    assert main(["ablate", "table1", "--scale", "gpu"]) == 2
    assert "needs a CUDA device and there is none" in capsys.readouterr().err


def test_lab_is_what_an_arm_is_done_in(done):
    home, _ = done
    runs = CAPFILT.runs(Lab(home, SMOKE, 0))
    assert set(runs) == {"worth", "capfilt"} and (runs["capfilt"].folder / LEDGER).is_dir()
