"""Ablations on a user's own pairs: what runs, what is left out and why, what decides a run, what is refused."""

import csv
import json
import os
import pickle
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import shared_dir
from data_files import encoded, picture, write_tar
from test_ablate import BARE, ROOT

from blip.data.loading import Loader
from blip.data.transforms import FINETUNE_SCALE
from blip.errors import InputError
from lab.ablation.arms import Lab, Trained
from lab.ablation.command import Wanted, ablate, on_own_pairs
from lab.ablation.engine import cells_of, do
from lab.ablation.measures import cost
from lab.ablation.own_reading import Own, opened
from lab.ablation.own_reading import told as told_of
from lab.ablation.own_scales import decidable, own_recipe, possible
from lab.ablation.own_table import table_of as known_table
from lab.ablation.plan import Cell, missing, results
from lab.ablation.scales import SCALES, scaled
from lab.ablation.table import CAPFILT
from lab.ablations import ABLATIONS, ablation
from lab.claims import CLAIMS
from lab.cli import main
from lab.rounds import Steps
from lab.runs import Home, Run
from lab.verdicts import decided
from lab.whose_record import command_of

REFUSED = {"bias", "threshold", "strictness", "nlvr", "noise", "combinations", "harder", "peers", "binding", "breadth"}
NOUNS = ("dog", "cat", "boat", "tree", "child", "horse")
PLACES = ("on a beach", "in the snow", "near a house")


def caption(at):
    return f"a {NOUNS[at % 6]} {PLACES[at % 3]}"


def table_of(folder, name, numbers, captions=2):
    """A CSV with so many captions an image, its pictures beside it."""
    (folder / name).mkdir()
    path = folder / name / f"{name}.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "caption"])
        for at in numbers:
            picture(at).save(folder / name / f"{at}.png")
            rows.writerows([f"{at}.png", f"{caption(at)} {word}"] for word in ("now", "today")[:captions])
    return path


def write_files(folder):
    """Web: a tar of 24 images, of which one has no caption and one is broken; 10 human images, 6 to measure on."""
    members = {}
    for at in range(24):
        members[f"{at:03}.jpg"] = b"no picture" if at == 7 else encoded(picture(at))
        if at != 5:
            members[f"{at:03}.txt"] = caption(at).encode()
    web = write_tar(folder / "web.tar", members)
    return Own(data=str(web), human=str(table_of(folder, "human", range(100, 110))), val=str(table_of(folder, "val", range(200, 206))))


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("own"))


@pytest.fixture(scope="module")
def setting(own):
    return opened(own, "smoke")


@pytest.fixture(scope="module")
def done(tmp_path_factory, own):
    """Table 1 with one seed: its home and its record."""
    folder = tmp_path_factory.mktemp("table1")
    home, out = Home(folder / "home"), folder / "table1.json"
    ablate(Wanted(name="table1", scale="smoke", seeds=1, out=out, own=own), home)
    return home, json.loads(out.read_text())["result"]


def test_table_1_is_measured_without_truth(done):
    _, result = done
    assert list(result["arms"]) == ["none", "both", "F", "C"] and result["left_out"] == {}
    for arm in result["arms"].values():
        found = arm["seeds"]["0"]["worth"]
        assert set(found) == {"retrieval", "captions", "items"}  # no filter quality: nobody knows the truth
        assert set(found["captions"]["all"]) == {"cider", "bleu4", "chance_cider", "strictly_true"}
        assert found["captions"]["all"]["strictly_true"] is None
        recalls, hits = found["retrieval"]["all"], [int(digit) for digit in found["items"]["r1"]]
        assert recalls["images"] == 6 and len(hits) == 6 + 12
        assert recalls["tr1"] == pytest.approx(np.mean(hits[:6])) and recalls["ir1"] == pytest.approx(np.mean(hits[6:]))
        assert recalls["r1"] == pytest.approx((recalls["tr1"] + recalls["ir1"]) / 2)
        assert found["retrieval"]["chance"]["ir1"] == pytest.approx(1 / 6)
        assert found["retrieval"]["chance"]["tr1"] == pytest.approx(2 / 12)
    assert {row["claim"] for row in result["claims"]} == {"capfilt", "filter", "captioner", "both-over-filter", "both-over-captioner"}
    assert {row["verdict"] for row in result["claims"]} == {"undecided"}  # one seed


def test_a_claim_about_truth_is_left_open(done):
    _, result = done
    found = {arm: {0: result["arms"]["both"]["seeds"]["0"]} for arm in ("0.5", "synthetic 0.8")}
    assert decided("strictness", found) == []


def test_the_record_says_what_the_pairs_were(done):
    _, result = done
    pairs = result["pairs"]
    assert {k: pairs["web"][k] for k in ("pairs", "images", "rejects")} == {"pairs": 23, "images": 24, "rejects": 1}
    assert pairs["human"]["pairs"] == 20 and pairs["val"]["images"] == 6 and pairs["val"]["texts"] == 12
    assert pairs["image_size"] == 32 and pairs["val"]["of_them_in_web"] == 0
    assert result["scale"] == "smoke"


def test_capfilt_captions_every_image_that_opens(done):
    home, result = done
    capfilt = result["arms"]["C"]["seeds"]["0"]["capfilt"]
    assert capfilt["images"] == 23 and capfilt["kept"]["synthetic"] + capfilt["filtered"]["synthetic"] == 23
    assert capfilt["kept_of_synthetic"] == pytest.approx(capfilt["kept"]["synthetic"] / 23)
    texts = {row["result"]["pairs"] for row in home.rows() if row["kind"] == "pretrain"}
    # Raw: 23 web and 20 human pairs. Unfiltered: 22 web texts whose image opens, 23 synthetic ones, one of them of
    # the image without a caption.
    assert {23 + 20, 22 + 23 + 20} <= texts
    assert all(row["config"]["pairs"]["px"] == 32 for row in home.rows() if row["kind"] != "worth")


def test_nothing_is_done_twice_and_tables_share_runs(done, setting, capsys):
    home, _ = done
    pairs, recipe = setting
    do(cells_of(ablation("table1"), 1, ground=pairs), recipe, home)
    assert "4 of them done; nothing left" in capsys.readouterr().err
    shared = {"mixes": ("raw only", "union"), "table12": ("web, 1", "CapFilt, 1"), "filters": ("ITM",)}
    for name, arms in shared.items():
        assert missing([Cell(ablation(name).arm(arm), 0, pairs) for arm in arms], recipe, home) == {}


@pytest.mark.parametrize(
    ("name", "arm"), [("table2", "nucleus"), ("table4", "shared")]
)
def test_other_tables_run(done, setting, name, arm):
    home, _ = done
    pairs, recipe = setting
    cell = Cell(ablation(name).arm(arm), 0, pairs)
    do([cell], recipe, home)
    found = results(cell, recipe, home)
    assert found["worth"]["retrieval"]["all"]["images"] == 6
    if name == "table2":
        diversity = found["diversity"]
        assert diversity["all"]["captions"] == 23 and diversity["all"]["true"] is None and 0 < diversity["all"]["distinct_2"] <= 1


def test_sharing_costs_what_it_owns(setting, tmp_path):
    pairs, recipe = setting
    own = {sharing: Steps(Home(tmp_path), replace(recipe, sharing=sharing), 0, pairs) for sharing in ("all", "none")}
    found = {name: cost(Trained(steps, Run("of no model", tmp_path, {}, 0.0))).result for name, steps in own.items()}
    assert 0 < found["all"]["parameters"] < found["none"]["parameters"] and found["all"]["step_seconds"] > 0


def ids(own, name="table1", arm="both"):
    """The steps of an arm by kind."""
    pairs, recipe = opened(own, "smoke")
    planned = missing([Cell(ablation(name).arm(arm), 0, pairs)], recipe, Home("of-no-runs"))
    return {(step.kind, bool(step.parents)): step.id for step in planned.values()}


def test_tables_of_different_make_are_read_by_the_columns_that_are_named(own, tmp_path):
    source = Path(own.data).parent
    shutil.copytree(source / "human", tmp_path / "pictures")
    human, val = tmp_path / "human.csv", tmp_path / "val.csv"
    human.write_text((source / "human" / "human.csv").read_text().replace("image,caption", "photo,alt"))
    val.write_text(Path(own.val).read_text().replace("image,caption", "shot,alt"))
    for picture_file in (source / "val").glob("*.png"):
        shutil.copy(picture_file, tmp_path / "pictures")
    there = Own(
        data=own.data, human=str(human), val=str(val), image_root=str(tmp_path / "pictures"), image_column="photo,shot", caption_column="alt"
    )
    assert ids(there) == ids(own)
    with pytest.raises(InputError, match="human.csv has no column 'shot' for the image; its columns are photo, alt"):
        opened(replace(there, image_column="shot"), "smoke")


def test_changed_data_is_another_run_and_moved_data_is_not(own, tmp_path):
    source = Path(own.data).parent
    before, (moved, changed) = ids(own), ({"data": "web.tar", "human": "human/human.csv", "val": "val/val.csv"}, tmp_path / "own")
    shutil.copytree(source, changed)
    there = Own(**{name: str(changed / path) for name, path in moved.items()})
    assert ids(there) == before
    (changed / "val" / "200.png").write_bytes(encoded(picture(999), "PNG"))
    after = ids(there)
    assert {key for key in before if before[key] != after[key]} == {("worth", True)}
    table = changed / "human" / "human.csv"
    table.write_text(table.read_text().replace("a dog", "two dogs", 1))
    changed_ids = ids(there)
    assert not set(changed_ids.values()) & set(before.values())
    (changed / "human" / "100.png").write_bytes(encoded(picture(998), "PNG"))
    assert not set(ids(there).values()) & set(changed_ids.values())


def test_the_pairs_survive_the_way_to_another_process(setting):
    pairs, recipe = setting
    there = pickle.loads(pickle.dumps(pairs))
    assert there.decides() == pairs.decides() and there.measured_by(recipe) == pairs.measured_by(recipe)
    assert there.about() == pairs.about() and there.web(recipe) == pairs.web(recipe)


def test_photos_are_cropped_anew_each_epoch_and_the_same_for_a_seed(setting):
    pairs, recipe = setting
    source = pairs.source(pairs.human(recipe), recipe, FINETUNE_SCALE)
    first, again = (Loader(source, 20, seed=0) for _ in range(2))
    (one,), (two,), (same,) = list(first), list(first), list(again)
    key = one.keys[0]
    at, other = one.keys.index(key), two.keys.index(key)
    assert one.images.shape == (20, 3, 32, 32) and torch.equal(one.images, same.images)
    assert not torch.equal(one.images[at], two.images[other])


def test_arms_that_need_truth_are_left_out_and_the_others_stay():
    left_out = {}
    for name, table in ABLATIONS.items():
        try:
            rest, why = possible(table)
            decidable(name, CLAIMS)
        except InputError as error:
            left_out[name] = str(error)
            continue
        assert {arm.name for arm in rest.arms} | set(why) == {arm.name for arm in table.arms}
        if why:
            left_out[name] = set(why)
    refused = {name for name, told in left_out.items() if isinstance(told, str)}
    assert {"bias", "threshold", "strictness", "nlvr", "noise", "combinations", "harder"} <= refused <= REFUSED
    assert all(left_out[name].count(".") == 1 and "cannot be done on your own pairs" in left_out[name] for name in refused)
    some = {name: told for name, told in left_out.items() if isinstance(told, set)}
    assert some["table2"] == {"nucleus, truth", "nucleus, t 1, truth", "beam, truth"} and "truth" in some["filters"] and not {"ITM", "ITC", "ITM + ITC"} & some["filters"]
    assert some["table1-larger"] == {"none, more web", "both, more web"}
    with pytest.raises(InputError, match="it is measured on 4 times the scenes of the generated world"):
        possible(replace(ABLATIONS["table1"], arms=(replace(CAPFILT, more_scenes=4),)))
    assert not {"table1", "table1-epochs", "table3", "table4", "table12", "table13", "mixes", "objectives"} & set(left_out)


def test_a_claim_about_truth_is_left_out_where_others_can_be_decided():
    of_truth = next(claim for claim in CLAIMS if claim.ablation == "strictness")
    other = next(claim for claim in CLAIMS if claim.ablation == "table1")
    mine = [replace(of_truth, ablation="mine"), replace(other, ablation="mine")]
    assert decidable("mine", mine) == (mine[1],) and decidable("another", []) == ()
    with pytest.raises(InputError, match="mine cannot be done on your own pairs: its claims are decided by how many captions are true"):
        decidable("mine", mine[:1])


def test_the_page_on_own_data_names_every_table_that_is_refused():
    text = " ".join(Path("docs/own-data.md").read_text(encoding="utf-8").split())
    named = text.partition("What needs truth or the generated world is refused (")[2].partition(")")[0]
    assert {name.strip("`") for name in named.split(", ")} == REFUSED


@pytest.mark.parametrize("scale", ["smoke", "cpu", "gpu"])
def test_every_arm_that_stays_can_be_planned_and_no_two_of_a_table_are_the_same(setting, scale, tmp_path):
    pairs, _ = setting
    recipe = own_recipe(scale, web=23, human=20, size=None, samples=None) if scale == "smoke" else own_recipe(scale, web=10_000, human=900, size=None, samples=None)
    ground = pairs if scale == "smoke" else _Counted(pairs, recipe)
    for name in set(ABLATIONS) - REFUSED:
        rest, _ = possible(ABLATIONS[name])
        each = [frozenset(missing([Cell(arm, 0, ground)], recipe, Home(tmp_path))) for arm in rest.arms]
        assert all(each) and len(set(each)) == len(each), name


class _Counted:
    """The pairs as if they were as many as a recipe says: planning reads none."""

    def __init__(self, pairs, recipe):
        self.pairs, self.recipe = pairs, recipe

    def check(self, recipe):
        assert (recipe.web, recipe.human, recipe.noise) == (self.recipe.web, self.recipe.human, 0.0)

    def __getattr__(self, name):
        return getattr(self.pairs, name)


def test_a_recipe_fits_the_data():
    small = own_recipe("cpu", web=200, human=128, size="nano", samples=640)
    assert small.objectives.queue == 20 and small.size == "nano" and small.pretrain.steps == 10
    assert small.objectives.teacher_start == 5  # two epochs are 10 steps, and half of the steps 5
    large = own_recipe("gpu", web=3_000_000, human=500_000, size=None, samples=None)
    assert large.objectives.queue == 57_600 and large.size == "base" and large.device == "cuda"
    with pytest.raises(InputError, match="63 human-annotated pairs are less than a batch of 64 at scale cpu"):
        own_recipe("cpu", web=200, human=63, size=None, samples=None)


def test_an_arm_that_asks_for_other_pairs_is_refused(setting, tmp_path):
    pairs, recipe = setting
    with pytest.raises(InputError, match="asks for other pairs than your own"):
        ablation("table1-larger").arm("none, more web").runs(Lab(Home(tmp_path), recipe, 0, pairs))


KNOWN = {
    ("table1", "none"): {"pretrain-501eaad5c240", "captioner-8df1c503f152", "filter-407795be1aef", "worth-5060898d1a3c"},
    ("table1", "both"): {
        "pretrain-501eaad5c240", "captioner-8df1c503f152", "filter-407795be1aef", "capfilt-b9c61dbfb4cd",
        "pretrain-18e4b89d3681", "captioner-06ba0de9e97d", "filter-aed3c61668c9", "worth-686750b61649",
    },
}  # fmt: skip


@pytest.mark.parametrize("key", KNOWN)
def test_the_runs_of_the_generated_world_have_the_names_they_had(key, tmp_path):
    """Runs of days are found again by these names."""
    name, arm = key
    assert set(missing([Cell(ablation(name).arm(arm), 0)], scaled("cpu"), Home(tmp_path))) == KNOWN[key]


def test_the_scales_have_the_names_of_the_worlds():
    for scale in SCALES:
        assert own_recipe(scale, web=1_000, human=200, size=None, samples=None).device == SCALES[scale].device


def words_of(own, **changed):
    given = {"data": own.data, "human": own.human, "val": own.val} | changed
    return [word for name, value in given.items() if value is not None for word in (f"--{name.replace('_', '-')}", str(value))]


def no_captions(folder):
    picture(300).save(folder / "300.png")
    picture(301).save(folder / "301.png")
    (folder / "301.txt").write_text("a dog")
    return folder


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda own, folder: {"val": None}, "with --data give --val too"),
        (lambda own, folder: {"data": None, "human": None, "val": None, "size": "nano"}, "with --size give --data and --human and --val too"),
        (lambda own, folder: {"data": folder / "none.tar"}, "no file matches"),
        (lambda own, folder: {"human": table_of(folder, "leak", range(198, 208))}, "6 of the 10 images of"),
        (lambda own, folder: {"val": no_captions(folder)}, "has no caption to measure on"),
        (lambda own, folder: {"val": table_of(folder, "empty", range(3), captions=0)}, "has no image with a caption that can be used"),
        (lambda own, folder: {"human": table_of(folder, "few", range(300, 303))}, "6 human-annotated pairs are less than a batch of 16"),
        (lambda own, folder: {"image_size": 33}, "image_size must be a multiple of patch_size"),
        (lambda own, folder: {"size": "huge"}, "There is no model size 'huge'"),
        (lambda own, folder: {"vocab": folder / "vocab.txt"}, "cannot be read"),
    ],
)
def test_what_cannot_be_is_one_sentence(own, change, told, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BLIP_LAB_HOME", str(tmp_path / "home"))
    assert main(["ablate", "table1", "--scale", "smoke", *words_of(own, **change(own, tmp_path))]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1 and not (tmp_path / "home").exists()


def test_an_arm_or_a_table_that_needs_truth_says_why(own, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BLIP_LAB_HOME", str(tmp_path))
    for words, told in (
        (["bias"], "The ablation bias cannot be done on your own pairs: it is made for the generated world"),
        (["table2", "--only", "beam, truth"], "The arm 'beam, truth' cannot be done on your own pairs: truth is its filter"),
        (["table2", "--only", "bean"], "The ablation table2 has no arm 'bean'"),
    ):
        assert main(["ablate", *words, "--scale", "smoke", *words_of(own)]) == 2
        assert told in capsys.readouterr().err


def test_web_images_that_are_measured_on_are_told(own, tmp_path, capsys):
    known = (Path(own.val).parent / "200.png").read_bytes()
    members = {"a.png": known, "a.txt": b"a dog", "b.jpg": encoded(picture(1)), "b.txt": b"a cat"}
    leak = replace(own, data=str(write_tar(tmp_path / "web.tar", members)))
    wanted = Wanted(name="table2", scale="smoke", seeds=1, own=leak)
    pairs = on_own_pairs(wanted, known_table("table2")).ground
    told = capsys.readouterr().err
    assert pairs.about()["val"]["of_them_in_web"] == 1 and "1 images of" in told and "pre-training sees what is measured on" in told
    assert "The arm 'beam, truth' is left out: truth is its filter" in told and told.count("\n") == 4


def test_pictures_that_do_not_open_are_told_before_anything_is_trained(own, tmp_path, capsys):
    def web(name, broken):
        members = {f"{at}.jpg": encoded(picture(at)) if at not in broken else encoded(picture(at))[:200] for at in range(6)}
        return str(write_tar(tmp_path / name, members | {f"{at}.txt": b"a dog" for at in range(6)}))

    half = replace(own, data=web("half.tar", {1, 3, 5}))
    pairs, _ = opened(half, "smoke")
    told_of(half, pairs)
    assert "3 of 6 images of" in (told := capsys.readouterr().err) and "that were looked at cannot be opened, the first is" in told
    assert pairs.about()["web"] | {"opened": 6, "of_them_broken": 3} == pairs.about()["web"]
    assert pairs.about()["human"]["of_them_broken"] == 0
    with pytest.raises(InputError, match="None of 6 images of .*all.tar can be opened, the first is .*; mend them"):
        opened(replace(own, data=web("all.tar", set(range(6)))), "smoke")


def test_only_images_that_are_measured_on_can_leak(own, tmp_path, capsys):
    """--val is read from its beginning on, as far as it is measured on."""
    seen = (Path(own.human).parent / "100.png").read_bytes()
    (tmp_path / "100.png").write_bytes(seen)
    for at in range(3):
        picture(500 + at).save(tmp_path / f"{at}.png")
    val = tmp_path / "val.csv"
    val.write_text("image,caption\n" + "".join(f"{at}.png,a dog {at}\n" for at in range(3)) + "100.png,a cat\n")
    with pytest.raises(InputError, match="1 of the 10 images of"):
        opened(replace(own, val=str(val)), "smoke")
    first = replace(own, val=str(val), val_images=3)
    pairs, _ = opened(first, "smoke")
    told_of(first, pairs)
    assert f"measured on the first 3 of the 4 images of {val}; --val-images says how many." in capsys.readouterr().err
    assert pairs.about()["val"] | {"images": 3, "of": 4} == pairs.about()["val"]
    with pytest.raises(InputError, match="--val-images 1 cannot be; give 2 or more"):
        opened(replace(own, val_images=1), "smoke")


def test_the_record_lies_here_and_not_among_the_committed_ones(own, done, tmp_path, monkeypatch, capsys):
    home, result = done
    monkeypatch.chdir(tmp_path)
    ablate(Wanted(name="table1", scale="smoke", seeds=1, only=("none",), own=own), home)
    assert "record: table1-own-smoke.json" in capsys.readouterr().err
    record = json.loads((tmp_path / "table1-own-smoke.json").read_text())
    written = record["result"]
    assert written["arms"] == result["arms"] and written["pairs"] == result["pairs"]
    given = f"--data {shlex.quote(own.data)} --human {own.human} --val {own.val}"
    assert command_of(record) == f"lab ablate table1 {given} --scale smoke"


def test_it_runs_without_luxuries_and_finds_the_same(own, done, tmp_path):
    """In a process where duckdb, tyro, gradio, open_clip and more cannot be imported."""
    out = tmp_path / "record.json"
    words = ["table1", "--scale", "smoke", "--seeds", "1", "--only", "none", "--out", str(out), *words_of(own)]
    environment = os.environ | {"BLIP_LAB_HOME": str(tmp_path / "home"), "TQDM_DISABLE": "1"}
    command = [sys.executable, "-c", BARE, *words]
    made = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert made.returncode == 0, made.stderr
    assert json.loads(out.read_text())["result"]["arms"]["none"] == done[1]["arms"]["none"]


def test_real_photos(tmp_path, capsys):
    """cc3m as web, Flickr8k as human-annotated pairs, other photos of it to measure on."""
    data = shared_dir() / "data"
    own = Own(
        data=str(data / "cc3m-128" / "web-*.tar"),
        human=str(data / "flickr8k-128" / "train-00000.tar"),
        val=str(data / "flickr8k-128" / "val-*.tar"),
    )
    wanted = Wanted(name="table1", scale="smoke", seeds=1, only=("none",), out=tmp_path / "record.json", own=own)
    ablate(wanted, Home(tmp_path / "home"))
    result = json.loads(wanted.record.read_text())["result"]
    assert result["pairs"]["web"]["images"] > 500 and result["pairs"]["val"] | {"images": 32} == result["pairs"]["val"]
    found = result["arms"]["none"]["seeds"]["0"]["worth"]
    assert 0 <= found["retrieval"]["all"]["r1"] <= 1 and found["retrieval"]["all"]["images"] == 32
    assert "No claim has all of its arms yet." in capsys.readouterr().out
