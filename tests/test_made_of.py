"""A folder that holds a training goes on with that training only: other data, weights or settings are refused."""

import csv
import json
from dataclasses import replace

import pytest
import torch
from caption_files import scenes, write_csv

from blip.checkpoint import load
from blip.saving import digest
from blip.tasks.vqa_training import Asked
from lab.cli import main
from lab.downstream import captioning
from lab.downstream.dialog_rows import world_dialogs
from lab.downstream.nlvr_rows import world_statements
from lab.downstream.vqa_rows import world_questions
from lab.made_of import made_of
from lab.world.sets import World

PRETRAINED = "blip/weights/pretrained.safetensors"
WORLD = World.of("nano")


def run(*words):
    return main([str(word) for word in words])


def pretrain(data, out, *words):
    small = ("--size", "nano", "--steps", 2, "--batch", 4, "--queue", 0, "--held-out", 2, "--vocab-size", 60, "--device", "cpu")
    return run("pretrain", "--data", data, "--out", out, *small, *words)


def caption(data, out, *words):
    small = ("--weights", PRETRAINED, "--steps", 2, "--batch", 4, "--device", "cpu")
    return run("finetune", "captioning", "--data", data, "--out", out, *small, *words)


def left(out):
    """All files of a run, byte by byte."""
    return {path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_csv(tmp_path_factory.mktemp("data"), scenes(8))


@pytest.fixture(scope="module")
def pretrained(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("pretrained")
    assert pretrain(data, out) == 0
    return out


@pytest.fixture(scope="module")
def captioner(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("captioner")
    assert caption(data, out) == 0
    return out


def with_another_word(data, folder):
    """The same table, but for one caption."""
    lines = list(csv.reader(data.open()))
    lines[1][1] = lines[2][1]
    path = data.with_name(f"{folder.name}.csv")
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    return path


OF_PRETRAINING = {
    "schedule": ("--steps", 3),
    "vocabulary": ("--vocab-size", 50),
    "model": ("--shared", "none"),
    "momentum": ("--momentum", 0.9),
    "accumulate": ("--accumulate", 2),
    "clip": ("--clip", "none"),
    "precision": ("--precision", "bf16"),
    "weight decay": ("--weight-decay", 0.1),
    "seed": ("--seed", 1),
    "local negatives": ("--local-negatives",),
}


@pytest.mark.parametrize("name", OF_PRETRAINING)
def test_pre_training_with_other_settings_is_refused_and_changes_nothing(name, data, pretrained, capsys):
    before = left(pretrained)
    assert pretrain(data, pretrained, *OF_PRETRAINING[name]) == 2
    said = capsys.readouterr().err
    assert f"holds another training, which differs in the {name}; choose another output folder" in said and "Traceback" not in said
    assert left(pretrained) == before


OF_CAPTIONING = {
    "prompt": ("--prompt", "a drawing of "),
    "schedule": ("--peak", 1e-3),
    "starting weights": ("--weights", "blip/weights/captioner.safetensors"),
    "model": ("--image-size", 48),
}


@pytest.mark.parametrize("name", OF_CAPTIONING)
def test_fine_tuning_with_other_settings_is_refused_and_changes_nothing(name, data, captioner, capsys):
    before = left(captioner)
    assert caption(data, captioner, *OF_CAPTIONING[name]) == 2
    said = capsys.readouterr().err
    assert "holds another training" in said and "Traceback" not in said
    # Weights that are read at another size are other weights.
    assert f"differs in the {'starting weights' if name == 'model' else name};" in said
    assert left(captioner) == before


def test_another_training_is_refused_before_the_measurement_that_comes_before_it(data, captioner, monkeypatch, capsys):
    monkeypatch.setattr(captioning, "captions", None)  # a call would fail
    assert caption(data, captioner, "--val", data, "--peak", 1e-3) == 2
    assert "differs in the schedule;" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["pretrain", "captioning"])
def test_one_other_caption_is_another_training(command, data, pretrained, captioner, tmp_path, capsys):
    other, out, start = with_another_word(data, tmp_path), *((pretrained, pretrain) if command == "pretrain" else (captioner, caption))
    assert start(other, out) == 2
    assert "differs in the data;" in capsys.readouterr().err


def test_what_does_not_decide_on_the_weights_may_differ(data, captioner, tmp_path):
    trained = load(captioner / "model.safetensors").fingerprint
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in data.parent.iterdir():
        (moved / path.name).write_bytes(path.read_bytes())
    assert caption(moved / data.name, captioner, "--workers", 1, "--val", moved / data.name) == 0
    assert load(captioner / "model.safetensors").fingerprint == trained
    assert json.loads((captioner / "summary.json").read_text())["after"] is not None


def test_checkpoints_of_before_go_on(data, captioner):
    for path in (captioner / "checkpoints").glob("*.pt"):
        state = torch.load(path, weights_only=True)
        assert state.pop("made_of")["prompt"] == "a picture of "
        torch.save(state, captioner / "old")
        (captioner / "old").rename(renamed(captioner / "old", path))
        path.unlink()
    assert caption(data, captioner) == 0


def renamed(new, path):
    """The name of a checkpoint of new content."""
    return path.with_name(f"{path.name[:8]}-{digest(new)}.pt")


def test_every_row_of_a_task_counts():
    start = load(PRETRAINED)
    questions, statements = world_questions(WORLD, 4, "train"), world_statements(WORLD, 2, "train")
    dialogs = world_dialogs("nano", 3)
    asked = [*questions.asked[:-1], Asked(questions.asked[-1].question, {"another": 1.0})]
    truths = [*statements.truths[:-1], not statements.truths[-1]]
    said = [replace(dialogs.asked[0], question="what?"), *dialogs.asked[1:]]
    for one, other in (
        (questions, replace(questions, asked=asked)),
        (statements, replace(statements, truths=truths)),
        (dialogs, replace(dialogs, asked=said)),
    ):
        mine, theirs = (made_of(start, each.rows())["data"] for each in (one, other))
        assert mine == made_of(start, one.rows())["data"] and mine != theirs
