"""What all fine-tuning commands share: recomputed blocks, clipping, checkpoints, and what is measured before."""

import json
from dataclasses import replace

import pytest
import torch
from toy_models import toy_config, toy_model

import blip.vision
from blip.config import named
from blip.errors import InputError
from blip.schedules import Schedule
from blip.tasks.captioning import Captioning, captioning_model
from blip.tasks.nlvr_training import NLVRTraining
from blip.tasks.retrieval import retrieval_model, retrieval_task
from blip.tasks.visdial import VisualDialog, visdial_from
from blip.tasks.vqa_training import VQATraining
from blip.train import TrainConfig, prepare_blocks
from blip.vision import ImageEncoder
from lab import finetuning
from lab.cli import main
from lab.commands import finetune_nlvr
from lab.downstream import nlvr, vqa
from lab.finetuning import Tuning

TASKS = {
    "retrieval": lambda: retrieval_task(retrieval_model(toy_model()), pairs=20, queue=10, momentum=0.9, seed=0),
    "captioning": lambda: Captioning(captioning_model(toy_model()), prompt_length=1),
    "vqa": lambda: VQATraining(vqa.begun(toy_model()), smoothing=0.1),
    "nlvr": lambda: NLVRTraining(nlvr.begun(toy_model())),
    "visdial": lambda: VisualDialog(visdial_from(toy_model(config=toy_config(width=32, memory_width=32)))),
}
NLVR = ["finetune", "nlvr", "--world", "nano", "--world-statements", 6, "--steps", 3, "--batch", 8, "--size", "nano"]
NLVR += ["--device", "cpu", "--vocab-size", 100]


def run(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(finetune_nlvr, "HELD_OUT", 3)


@pytest.mark.parametrize("name", TASKS)
def test_the_encoders_of_every_task_recompute_the_blocks_that_are_asked_for(name):
    task = TASKS[name]()
    encoders = [part for part in task.modules() if isinstance(part, ImageEncoder)]
    for last in (1, 0):
        prepare_blocks(task, TrainConfig(schedule=Schedule(steps=1, peak=1e-4), checkpoint_blocks=last))
        assert encoders and all(encoder.checkpoint_last == 1 for encoder in encoders), "0 leaves what was set"


def test_a_size_beside_weights_is_refused(tmp_path, capsys):
    words = ["finetune", "captioning", "--world", "nano", "--weights", "blip/weights/captioner.safetensors", "--out", tmp_path / "out"]
    assert run(*words, "--size", "base") == 2
    said = capsys.readouterr().err
    assert "--size base is of a model from nothing, and --weights have a size of their own; leave one of them out" in said
    assert not (tmp_path / "out").exists()
    model = finetuning.start(finetuning.Tuning(vocab_size=60, device="cpu"), ["a ball"]).model
    assert model.config.vision.width == named("tiny", vocab_size=60).vision.width


def test_the_options_reach_the_training(tmp_path, monkeypatch):
    seen, recomputed = [], []
    train, checkpoint = finetuning.train, blip.vision.checkpoint
    monkeypatch.setattr(finetuning, "train", lambda task, feed, config, **more: seen.append(config) or train(task, feed, config, **more))
    monkeypatch.setattr(blip.vision, "checkpoint", lambda *given, **more: recomputed.append(0) or checkpoint(*given, **more))
    options = ["--checkpoint-blocks", 2, "--clip", "none", "--save-seconds", 0, "--kept", 3, "--keyed-dropout"]
    assert run(*NLVR, *options, "--out", tmp_path / "some") == 0
    assert (seen[0].clip, seen[0].keyed_dropout, len(recomputed)) == (None, True, 3 * 2)
    assert len(list((tmp_path / "some" / "checkpoints").iterdir())) == 3
    assert run(*NLVR, "--out", tmp_path / "none") == 0
    assert replace(seen[1], clip=None, checkpoint_blocks=2, save_seconds=0, kept=3, keyed_dropout=True) == seen[0]
    assert (seen[1].clip, len(recomputed)) == (1.0, 6)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"clip": 0.0}, "A gradient's norm of at most 0 cannot be; give a number above 0, or none."),
        ({"clip": float("inf")}, "at most inf cannot be"),
        ({"checkpoint_blocks": -1}, "-1 recomputed blocks cannot be; give 0 or more."),
        ({"kept": 0}, "0 checkpoints kept cannot be"),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything_is_read(wrong, said):
    with pytest.raises(InputError, match=said):
        Tuning(**wrong)


def test_a_clip_that_is_no_number_is_refused_in_a_sentence(tmp_path, capsys):
    assert run(*NLVR, "--clip", "much", "--out", tmp_path) == 2
    assert "finetune nlvr needs a number or none for --clip, not 'much'; see lab" in capsys.readouterr().err


def test_what_was_measured_before_is_kept_and_not_measured_again(tmp_path, monkeypatch):
    measured, judged = [], finetune_nlvr.judged
    monkeypatch.setattr(finetune_nlvr, "judged", lambda *given: measured.append(0) or judged(*given))
    found = []
    for words, times in (((), 2), ((), 1), (("--batch", 4), 2)):
        out = tmp_path / ("other" if words else "out")
        assert run(*NLVR, *words, "--out", out) == 0
        found.append(json.loads((out / "summary.json").read_text())["before"])
        assert len(measured) == times
        measured.clear()
    assert found[0] == found[1] and set(found[0]) >= {"accuracy", "consistency"}
    monkeypatch.setattr(finetune_nlvr, "HELD_OUT", 4)
    assert run(*NLVR, "--out", tmp_path / "out") == 0
    assert len(measured) == 2, "it is of other held-out statements"
    (tmp_path / "out" / "before.json").write_text("[")
    assert run(*NLVR, "--out", tmp_path / "out") == 0
    assert len(measured) == 4, "it could not be read"
    assert torch.isfinite(torch.tensor(json.loads((tmp_path / "out" / "before.json").read_text())["before"]["accuracy"]))
