"""Natural language visual reasoning, trained and measured, beside chance (paper 5.4)."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

from blip.checkpoint import Loaded
from blip.checkpoint.own import Opened
from blip.checkpoint.stored import Model, at_drop_path
from blip.data.loading import Loader
from blip.errors import InputError
from blip.feed import BuiltFeed
from blip.judging import judge
from blip.metrics.nlvr import NLVRScores, nlvr_scores
from blip.metrics.results import group_means
from blip.model import BLIP
from blip.tasks.nlvr import NLVR, nlvr_from
from blip.tasks.nlvr_training import SWAPPED, Judged, NLVRTraining, StatementBuilder
from blip.tokenizer import Tokenizer
from lab.downstream.nlvr_rows import StatementSet, world_statements
from lab.downstream.spread import Intervals, Items, intervals, of_groups
from lab.finetuning import Tuning, fit
from lab.inference import Machine
from lab.world.sets import World

TRAINING, HELD_OUT = 4_000, 300  # statements of the generated world, of four pairs each
STEPS, BATCH, PEAK = 1_500, 32, 3e-4  # of the comparison at nano; at 1e-3 nothing is learned
DROP_PATH = 0.1  # published stochastic depth


def run(
    start: Loaded, level: str, *, steps: int = STEPS, seed: int = 0, out: Path | None = None
) -> dict[str, float]:
    """Fine-tune on the world's statements and judge those of held-out pictures.

    accuracy, consistency, and the accuracy of each form of statement; chance is a coin, one_picture the most that
    a rule can reach which sees one of the two pictures. The truth of every statement is decided by its pictures,
    so that the ceiling is 1. `start` is not changed; with `out` the training can be resumed.
    """
    world, px = World.of(level), start.model.config.vision.image_size
    held_out = world_statements(world, HELD_OUT, "held-out")
    torch.manual_seed(seed)
    model = begun(start.model, drop_path=0.0)
    tuning = Tuning(steps=steps, batch=BATCH, peak=PEAK, seed=seed)
    tuned(model, start.tokenizer, world_statements(world, TRAINING, "train"), tuning, px, out=out)
    found = measures(held_out, judged(model, start.tokenizer, held_out))
    one_picture = {} if held_out.blind is None else {"one_picture": held_out.blind}
    return found | {"chance": held_out.chance()["accuracy"]} | one_picture | {"ceiling": 1.0}


def begun(model: Model, *, drop_path: float = DROP_PATH) -> NLVR:
    """The model that training starts from, with its own weights: of a pre-trained BLIP, or of an NLVR model."""
    if not isinstance(model, BLIP | NLVR):
        raise InputError(
            f"NLVR cannot start from a {type(model).__name__} model; give a pre-trained or an NLVR model."
        )
    return at_drop_path(nlvr_from(model) if isinstance(model, BLIP) else deepcopy(model), drop_path)


def trained(opened: Opened, source: str) -> NLVR:
    """The NLVR model that was opened; InputError for any other."""
    if not isinstance(opened.model, NLVR):
        raise InputError(
            f"{source} holds no NLVR model but one of stage {opened.card.stage!r}; train it with lab finetune nlvr."
        )
    return opened.model


def tuned(
    model: NLVR,
    tokenizer: Tokenizer,
    training: StatementSet,
    tuning: Tuning,
    image_size: int,
    *,
    swapped: float = SWAPPED,
    evaluate: Callable[[], dict[str, Any]] | None = None,
    out: Path | None = None,
    made_of: Mapping[str, Any] | None = None,
    measured_on: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Train the model on statements whose truth is known; what `fit` reports of it."""
    pictures = training.pictures(image_size, True)
    loader = Loader(pictures, tuning.batch, seed=tuning.seed, workers=tuning.workers)
    known = [Judged(text, bool(truth)) for text, truth in zip(training.texts, training.truths, strict=True)]
    feed = BuiltFeed(loader, StatementBuilder(known, tokenizer, swapped=swapped, seed=tuning.seed))
    task = NLVRTraining(model.to(tuning.device))
    config = tuning.config(len(loader))
    return fit("nlvr", task, feed, config, out, evaluate=evaluate, made_of=made_of, measured_on=measured_on)


def judged(
    model: NLVR, tokenizer: Tokenizer, data: StatementSet, machine: Machine | None = None
) -> list[bool]:
    """Whether the model takes each statement for true of its two images: at a probability above one half."""
    machine = machine or Machine(batch=64)
    chances = judge(
        model,
        tokenizer,
        data.pictures(model.config.vision.image_size, False),
        data.texts,
        batch=machine.batch,
        workers=machine.workers,
        dtype=machine.precision,
    )
    return [chance > 0.5 for chance in chances]


def measures(data: StatementSet, verdicts: Sequence[bool]) -> dict[str, float]:
    """accuracy, consistency (statements that are judged rightly of all their pairs), and each group's accuracy."""
    scores = _scores(data, verdicts)
    by_group = group_means(scores.right, dict(zip(data.ids, data.groups, strict=True)))
    found = {"accuracy": scores.accuracy, "consistency": scores.consistency}
    return found | {group: by_group[group] for group in sorted(by_group) if group}


def spread(data: StatementSet, verdicts: Sequence[bool]) -> Intervals:
    """The measures' intervals, with other statements and the pairs of pictures that they are about."""
    scores = _scores(data, verdicts)
    right = [float(scores.right[name]) for name in data.ids]
    statements = Items({"consistency": list(scores.throughout.values())}, list(scores.throughout))
    return intervals(*of_groups("accuracy", right, data.groups, data.about), statements)


def _scores(data: StatementSet, verdicts: Sequence[bool]) -> NLVRScores:
    """InputError names an example whose truth is not known."""
    labels = {name: truth for name, truth in zip(data.ids, data.truths, strict=True) if truth is not None}
    about = dict(zip(data.ids, data.about, strict=True))
    return nlvr_scores(zip(data.ids, verdicts, strict=True), labels, about)
