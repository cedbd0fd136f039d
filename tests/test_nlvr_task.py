"""NLVR as a task: swapped images, the loss, exact resume, readers, and both commands end to end."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from task_models import new_model, written
from test_parity_official import fixture, texts

from blip.checkpoint import Card, save
from blip.checkpoint.opening import open_any
from blip.checkpoint.published import write_published
from blip.data.benchmarks.nlvr import read_nlvr
from blip.data.loading import Loader
from blip.data.pictures import ArrayRows
from blip.errors import InputError
from blip.feed import BuiltFeed
from blip.judging import judge
from blip.saving import digest
from blip.schedules import Schedule
from blip.tasks.nlvr import nlvr_from
from blip.tasks.nlvr_training import (
    Judged,
    NLVRTraining,
    StatementBatch,
    StatementBuilder,
    swapped_sides,
)
from blip.tasks.vqa import vqa_from
from blip.train import TrainConfig, train
from lab.cli import main
from lab.commands import finetune_nlvr
from lab.commands.evaluate_nlvr import write_predictions
from lab.downstream import nlvr
from lab.downstream.nlvr_rows import StatementSet, file_statements, world_statements
from lab.finetuning import Tuning
from lab.world.sets import World
from lab.world.statements import statements
from lab.world.task_files import write_nlvr

WORLD = World.of("nano")


@torch.no_grad()
def test_the_loss_of_the_task_is_the_published_one():
    stored, io = fixture("nlvr")
    first, second = io["images_first_then_second"].chunk(2)
    rows = torch.arange(len(first))
    batch = StatementBatch(first, second, texts(io).led_by("ENC"), io["targets"], rows)
    losses = NLVRTraining(stored.model)(batch)
    torch.testing.assert_close(losses.total[None], io["loss"], atol=1e-5, rtol=1e-5)
    by_hand = [F.cross_entropy(row[None], truth[None]) for row, truth in zip(io["logits"], io["targets"], strict=True)]
    torch.testing.assert_close(losses.parts["nlvr"], torch.stack(by_hand).mean(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("The left image shows more than the RIGHT", "the right image shows more than the left"),
        ("the leftmost dog looks right.", "the rightmost dog looks left."),
        ("a bright copyright sign", "a bright copyright sign"),
        ("nothing of the kind", "nothing of the kind"),
    ],
)
def test_left_and_right_change_places(said, expected):
    assert swapped_sides(said) == expected
    assert swapped_sides(swapped_sides(said)) == said.lower()


SAID = [
    Judged(f"The left picture shows {word}", number % 2 == 0)
    for number, word in enumerate(["one", "two", "three", "four", "five", "six"])
]


def loaded(count: int = 6):
    """Sample n shows brightness n on the left and 100 + n on the right."""
    pixels = torch.tensor([*range(count), *range(100, 100 + count)], dtype=torch.uint8)
    pictures = pixels[:, None, None, None].expand(-1, 16, 16, 3)
    shown = torch.stack([torch.arange(count), torch.arange(count) + count], 1)
    return ArrayRows(pictures, shown)


def batch_of(swapped: float, *, step: int = 0, seed: int = 0) -> tuple[StatementBatch, list[str]]:
    begin = new_model([one.statement.replace("left", "left right") for one in SAID])
    builder = StatementBuilder(SAID, begin.tokenizer, swapped=swapped, seed=seed)
    batch = builder(next(iter(Loader(loaded(), 6, train=False))), step)
    return batch, [begin.tokenizer.decode(row) for row in batch.statements.ids[:, 1:].tolist()]


def test_images_change_places_together_with_the_words_that_name_them():
    plain, said = batch_of(0.0)
    assert plain.statements.lead == "ENC" and plain.ids.tolist() == list(range(6))
    assert plain.truths.tolist() == [1, 0, 1, 0, 1, 0]
    assert said == [one.statement.lower() for one in SAID]
    assert (plain.first.mean((1, 2, 3)) < plain.second.mean((1, 2, 3))).all()
    turned, said = batch_of(1.0)
    assert torch.equal(turned.first, plain.second) and torch.equal(turned.second, plain.first)
    assert said == [one.statement.lower().replace("left", "right") for one in SAID]
    assert torch.equal(turned.truths, plain.truths)


def test_half_of_the_images_change_places_by_draws_that_belong_to_seed_and_step():
    turned = {}
    for seed in (0, 1):
        for step in range(40):
            batch, said = batch_of(0.5, step=step, seed=seed)
            swapped = batch.first.mean((1, 2, 3)) > batch.second.mean((1, 2, 3))
            assert swapped.tolist() == ["right" in text for text in said]
            turned[seed, step] = tuple(swapped.tolist())
    share = sum(sum(row) for row in turned.values()) / (6 * len(turned))
    assert 0.42 < share < 0.58  # three standard deviations of 480 draws
    assert len({turned[0, step] for step in range(40)}) > 20
    assert [turned[0, step] for step in range(40)] != [turned[1, step] for step in range(40)]
    again, _ = batch_of(0.5, step=3)
    assert tuple((again.first.mean((1, 2, 3)) > again.second.mean((1, 2, 3))).tolist()) == turned[0, 3]
    with pytest.raises(InputError, match="share of 1.2"):
        batch_of(1.2)


def toy_task() -> tuple[NLVRTraining, BuiltFeed]:
    data = world_statements(WORLD, 5, "train")
    begin = new_model(data.texts, px=16)
    known = [Judged(text, truth) for text, truth in zip(data.texts, data.truths, strict=True)]
    feed = BuiltFeed(Loader(data.pictures(16, True), 4, seed=5), StatementBuilder(known, begin.tokenizer, seed=5))
    torch.manual_seed(0)
    return NLVRTraining(nlvr.begun(begin.model, drop_path=0.3)), feed


def test_stopped_and_resumed_equals_unbroken_bit_for_bit(tmp_path):
    config = TrainConfig(schedule=Schedule(steps=9, peak=1e-3), log_every=1)
    whole, feed = toy_task()
    train(whole, feed, config, out=tmp_path / "whole")
    train(*toy_task(), config, out=tmp_path / "broken", stop_at=4)
    resumed, feed = toy_task()
    train(resumed, feed, config, out=tmp_path / "broken")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert feed.step == 9


def test_statements_that_need_both_images_are_learned():
    """A dark and a bright picture, all four pairs: the left one is brighter; both are the same."""
    pixels = torch.tensor([40, 220], dtype=torch.uint8)[:, None, None, None].expand(2, 16, 16, 3)
    shown = torch.cartesian_prod(torch.arange(2), torch.arange(2))
    said = ["left brighter"] * 4 + ["the same"] * 4
    truths = [bool(a > b) for a, b in shown] + [bool(a == b) for a, b in shown]
    begin = new_model([*said, "right"])
    rows = ArrayRows(pixels, shown.repeat(2, 1))
    data = StatementSet([str(n) for n in range(8)], said, truths, said, [""] * 8, lambda px, on: rows)
    torch.manual_seed(0)
    model = nlvr.begun(begin.model, drop_path=0.0)
    nlvr.tuned(model, begin.tokenizer, data, Tuning(steps=250, batch=8, peak=3e-3, device="cpu"), 16)
    verdicts = nlvr.judged(model, begin.tokenizer, data)
    assert nlvr.measures(data, verdicts) == {"accuracy": 1.0, "consistency": 1.0}
    by_ones = judge(model, begin.tokenizer, rows, data.texts, batch=1)
    assert [chance > 0.5 for chance in by_ones] == verdicts


def test_measures_by_hand():
    data = StatementSet(
        ["a0", "a1", "b0", "b1"], ["a", "a", "b", "b"], [True, False, True, True], ["a", "a", "b", "b"],
        ["one", "one", "two", "two"], lambda px, on: loaded(4),
    )  # fmt: skip
    assert nlvr.measures(data, [True, False, True, False]) == {"accuracy": 0.75, "consistency": 0.5, "one": 1.0, "two": 0.5}
    assert data.chance() == {"accuracy": 0.5, "consistency": 0.25}
    assert data.told and not replace(data, truths=[True, None, True, True]).told


def test_the_worlds_statements_are_half_true_and_four_a_statement():
    data = world_statements(WORLD, 40, "held-out")
    assert len(data.ids) == 160 and sum(data.truths) == 80
    assert data.chance()["consistency"] == 0.5**4
    assert 0.5 <= data.blind <= 0.75
    pairs = statements(WORLD, 40, "held-out")
    batch = next(iter(Loader(data.pictures(32, False), 160, train=False)))
    assert batch.pictures.shape == (160, 2, 3, 32, 32)
    one = torch.from_numpy(pairs[7].pictures(32))
    again = next(iter(Loader(ArrayRows(one, torch.tensor([[0, 1]])), 1, train=False)))
    assert torch.equal(batch.pictures[7], again.pictures[0])


@pytest.fixture
def files(tmp_path):
    """NLVR2 as its authors give it: JSON lines, in a file that is named .json."""
    for split in ("train", "held-out"):
        write_nlvr(statements(WORLD, 3, split), tmp_path / "nlvr2", split, 32)
    for name in ("train", "dev"):
        (tmp_path / f"nlvr2/{name}.jsonl").rename(tmp_path / f"nlvr2/{name}.json")
    return tmp_path / "nlvr2"


def test_files_of_both_layouts_say_what_the_world_says(files):
    made, read = world_statements(WORLD, 3, "held-out"), file_statements(str(files / "dev.json"), str(files))
    assert read.texts == made.texts and read.truths == made.truths
    listed = [
        {"sentence": one.sentence, "label": str(one.label), "images": [ref.path.split("nlvr2/")[1] for ref in one.images]}
        for one in read_nlvr(files / "dev.json", files)
    ]
    (files / "nlvr_dev.json").write_text(json.dumps(listed))
    again = file_statements(str(files / "nlvr_dev.json"), str(files))
    assert again.texts == made.texts and again.truths == made.truths
    batches = [next(iter(Loader(one.pictures(32, False), 12, train=False))).pictures for one in (made, read, again)]
    assert torch.equal(batches[0], batches[1]) and torch.equal(batches[0], batches[2])
    training = file_statements(str(files / "train.json"), str(files))
    assert next(iter(Loader(training.pictures(32, True), 12, seed=1))).pictures.shape == (12, 2, 3, 32, 32)


def test_training_starts_from_pretrained_or_nlvr_weights(tmp_path):
    begin = new_model(["a word"])
    first = nlvr.begun(begin.model)
    assert first.config.vision.drop_path == nlvr.DROP_PATH
    again = nlvr.begun(first, drop_path=0.0)
    with torch.no_grad():
        again.head[0].weight.add_(1.0)
    assert not torch.equal(again.head[0].weight, first.head[0].weight)
    with pytest.raises(InputError, match="VQA model"):
        nlvr.begun(vqa_from(begin.model))
    with pytest.raises(InputError, match=r"pre.safetensors holds no NLVR model.*'pretrained'.*lab finetune nlvr"):
        nlvr.trained(open_any(written(begin, tmp_path / "pre.safetensors")).opened, "pre.safetensors")


def run(*words: object) -> int:
    return main([str(word) for word in words])


def test_the_commands_train_and_evaluate_in_the_generated_world(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(finetune_nlvr, "HELD_OUT", 10)
    begin = written(new_model(world_statements(WORLD, 20, "train").texts, px=16), tmp_path / "start.safetensors")
    out, seen = tmp_path / "tuned", tmp_path / "seen"
    options = ["--world", "nano", "--world-statements", 6, "--weights", begin, "--steps", 2, "--batch", 8, "--device", "cpu"]
    assert run("finetune", "nlvr", "--out", out, *options) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert {"accuracy", "consistency", "one"} <= summary["after"].keys() and summary["chance"]["consistency"] == 0.0625
    weights = out / "model.safetensors"
    assert run("evaluate", "nlvr", "--weights", weights, "--world", "nano", "--world-statements", 5, "--out", seen, "--device", "cpu") == 0
    measured = json.loads((seen / "summary.json").read_text())
    assert measured["counted"] == {"examples": 20, "statements": 5} and measured["chance"]["accuracy"] == 0.5
    assert "consistency" in capsys.readouterr().out
    rows = list(csv.reader((seen / "predictions.csv").open()))
    assert len(rows) == 20 and {row[1] for row in rows} <= {"True", "False"} and rows[0][0].startswith("held-out-")


def test_the_commands_read_nlvr2(files, tmp_path, capsys):
    begin = written(new_model(["a word"], px=32), tmp_path / "start.safetensors")
    out, seen, tail = tmp_path / "tuned", tmp_path / "seen", ["--images", files, "--device", "cpu"]
    words = ["finetune", "nlvr", "--data", files / "train.json", "--val", files / "dev.json", "--weights", begin]
    assert run(*words, "--out", out, "--steps", 2, "--batch", 4, *tail) == 0
    assert json.loads((out / "summary.json").read_text())["after"]["accuracy"] >= 0
    lines = [json.loads(line) for line in (files / "dev.json").read_text().splitlines()]
    (files / "dev.json").write_text("\n".join(json.dumps({k: v for k, v in line.items() if k != "label"}) for line in lines))
    assert run("evaluate", "nlvr", "--weights", out / "model.safetensors", "--data", files / "dev.json", "--out", seen, *tail) == 0
    assert "12 examples, not all with labels" in capsys.readouterr().out
    assert run(*words, "--out", out, *tail) == 2
    assert "Some statements of --val have no label" in capsys.readouterr().err


def as_list(files: Path, name: str, *, turned: bool = False) -> Path:
    """The published list of the training examples; turned ones have their two images the other way round."""
    listed = [
        {"sentence": one.sentence, "label": str(one.label), "images": [Path(ref.path).relative_to(files).as_posix() for ref in one.images][:: -1 if turned else 1]}
        for one in read_nlvr(files / "train.json", files)
    ]
    (files / name).write_text(json.dumps(listed))
    return files / name


def test_a_training_goes_on_with_the_same_pictures_only(files, tmp_path, capsys):
    begin = written(new_model(["a word"], px=32), tmp_path / "start.safetensors")
    tail = ["--images", files, "--weights", begin, "--out", tmp_path / "tuned", "--steps", 2, "--batch", 4, "--device", "cpu"]
    first, other = as_list(files, "nlvr_train.json"), as_list(files, "other.json", turned=True)
    assert run("finetune", "nlvr", "--data", first, *tail) == 0
    capsys.readouterr()
    assert run("finetune", "nlvr", "--data", other, *tail) == 2
    assert "differs in the pictures; choose another output folder" in capsys.readouterr().err
    moved = tmp_path / "elsewhere"
    files.rename(moved)
    tail[1] = moved
    assert run("finetune", "nlvr", "--data", moved / first.name, *tail) == 0
    for path in (tmp_path / "tuned/checkpoints").glob("*.pt"):
        state = torch.load(path, weights_only=True)
        del state["made_of"]["pictures"]  # as checkpoints of before
        torch.save(state, path)
        path.rename(path.with_name(f"{path.name[:8]}-{digest(path)}.pt"))
    assert run("finetune", "nlvr", "--data", moved / other.name, *tail) == 0


def test_published_weights_judge_as_our_file_does(tmp_path):
    begin = new_model(world_statements(WORLD, 20, "train").texts, px=16)
    model = nlvr_from(begin.model).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(7)))
    save(tmp_path / "ours/model.safetensors", model, begin.tokenizer, Card(stage="nlvr"))
    write_published(tmp_path / "model_base_nlvr.pth", model)
    (tmp_path / "vocab.txt").write_text("\n".join(begin.tokenizer.vocab))
    said = []
    for name in ("ours/model.safetensors", "model_base_nlvr.pth"):
        out = tmp_path / f"{name}.seen"
        words = ["--weights", tmp_path / name, "--vocab", tmp_path / "vocab.txt", "--out", out]
        assert run("evaluate", "nlvr", *words, "--world", "nano", "--world-statements", 5, "--device", "cpu") == 0
        said.append((out / "predictions.csv").read_text())
    assert said[0] == said[1] and said[0].count("\n") == 20


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["finetune", "nlvr", "--out", "x"], "Give either --data"),
        (["finetune", "nlvr", "--out", "x", "--data", "lost.json"], "give --images"),
        (["finetune", "nlvr", "--out", "x", "--data", "lost.json", "--images", "."], "lost.json cannot be read"),
        (["evaluate", "nlvr", "--out", "x", "--weights", "w"], "Give either --data"),
        (["evaluate", "nlvr", "--out", "x", "--weights", "w", "--data", "d.json"], "give --images"),
    ],
)
def test_the_commands_refuse_in_one_sentence(words, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*words) == 2
    assert sentence in capsys.readouterr().err


def test_predictions_are_what_the_benchmarks_script_reads(tmp_path):
    write_predictions(tmp_path / "p.csv", [("dev-850-0-1", True), ("row 2, odd", False)])
    assert (tmp_path / "p.csv").read_text() == 'dev-850-0-1,True\n"row 2, odd",False\n'


def test_the_comparison_returns_plain_numbers_and_leaves_its_start_alone(monkeypatch):
    monkeypatch.setattr(nlvr, "TRAINING", 10)
    monkeypatch.setattr(nlvr, "HELD_OUT", 8)
    begin = new_model(world_statements(WORLD, 10, "train").texts, px=16)
    before = {name: value.clone() for name, value in begin.model.state_dict().items()}
    one, two = (nlvr.run(begin, "nano", steps=2, seed=4) for _ in range(2))
    assert one == two and all(isinstance(value, float) for value in one.values())
    assert {"accuracy", "consistency", "chance", "one_picture", "ceiling"} <= one.keys() and one["chance"] == 0.5
    assert all(torch.equal(value, before[name]) for name, value in begin.model.state_dict().items())
