"""Visual question answering, trained and measured, and what chance and who sees no picture reach (paper 5.3)."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

from blip.answering import Choose, Ranker, answer
from blip.checkpoint import Loaded
from blip.checkpoint.own import Opened
from blip.checkpoint.stored import Model, at_drop_path
from blip.data.loading import Loader
from blip.errors import InputError
from blip.feed import BuiltFeed
from blip.metrics.results import group_means
from blip.metrics.vqa import soft_accuracy
from blip.metrics.vqa_answers import normalize_answer
from blip.model import BLIP
from blip.tasks.vqa import VQA, vqa_from
from blip.tasks.vqa_training import QuestionBuilder, VQATraining
from blip.tokenizer import Tokenizer
from lab.downstream.spread import Intervals, intervals, of_groups
from lab.downstream.vqa_rows import QuestionSet, world_questions
from lab.finetuning import Tuning, fit
from lab.inference import Machine
from lab.world.questions import answer_list, guessed, questions
from lab.world.sets import World

TRAINING, HELD_OUT = 10_000, 400  # scenes of the generated world
STEPS, BATCH, PEAK = 1_500, 32, 1e-3  # of the comparison at nano
DROP_PATH = 0.1  # published stochastic depth
ANSWERS = "answers.json"  # beside the weights: the answers that they rank


def run(
    start: Loaded, level: str, *, steps: int = STEPS, seed: int = 0, out: Path | None = None
) -> dict[str, float]:
    """Fine-tune on the world's questions and rank its answers to questions about held-out scenes.

    accuracy, and that of each form of question; chance is the commonest answer of each form, blind the commonest
    answer to the same words in training, which sees no picture. Every question has one answer that its scene
    decides, so that the ceiling is 1. `start` is not changed; with `out` the training can be resumed.
    """
    world, px = World.of(level), start.model.config.vision.image_size
    held_out = world_questions(world, HELD_OUT, "held-out")
    torch.manual_seed(seed)
    model = begun(start.model, drop_path=0.0)
    tuning = Tuning(steps=steps, batch=BATCH, peak=PEAK, seed=seed)
    tuned(model, start.tokenizer, world_questions(world, TRAINING, "train"), tuning, px, out=out)
    said = answered(
        model, start.tokenizer, held_out, Ranker(model, start.tokenizer, answer_list(world.level))
    )
    found = measures(held_out, said) | {"chance": chance(held_out)["accuracy"]}
    return found | {"blind": blind(world, TRAINING, HELD_OUT), "ceiling": 1.0}


def begun(model: Model, *, drop_path: float = DROP_PATH) -> VQA:
    """The model that training starts from, with its own weights: of a pre-trained BLIP, or of a VQA model."""
    if not isinstance(model, BLIP | VQA):
        raise InputError(
            f"VQA cannot start from an {type(model).__name__} model; give a pre-trained or a VQA model."
        )
    return at_drop_path(vqa_from(model) if isinstance(model, BLIP) else deepcopy(model), drop_path)


def trained(opened: Opened, source: str) -> VQA:
    """The VQA model that was opened; InputError for any other."""
    if not isinstance(opened.model, VQA):
        raise InputError(
            f"{source} holds no VQA model but one of stage {opened.card.stage!r}; train it with lab finetune vqa."
        )
    return opened.model


def tuned(
    model: VQA,
    tokenizer: Tokenizer,
    training: QuestionSet,
    tuning: Tuning,
    image_size: int,
    *,
    smoothing: float = 0.1,
    evaluate: Callable[[], dict[str, Any]] | None = None,
    out: Path | None = None,
    made_of: Mapping[str, Any] | None = None,
    measured_on: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Train the model on questions that all have an answer; what `fit` reports of it."""
    task = VQATraining(model.to(tuning.device), smoothing=smoothing)
    pictures = training.pictures(image_size, True)
    loader = Loader(pictures, tuning.batch, seed=tuning.seed, workers=tuning.workers)
    feed = BuiltFeed(loader, QuestionBuilder(training.asked, tokenizer))
    config = tuning.config(len(loader))
    return fit("vqa", task, feed, config, out, evaluate=evaluate, made_of=made_of, measured_on=measured_on)


def answered(
    model: VQA, tokenizer: Tokenizer, data: QuestionSet, choose: Choose, machine: Machine | None = None
) -> list[str]:
    """What the model answers to each question, the way `choose` has it."""
    machine = machine or Machine(batch=64)
    return answer(
        model,
        tokenizer,
        data.pictures(model.config.vision.image_size, False),
        data.questions,
        choose,
        batch=machine.batch,
        workers=machine.workers,
        dtype=machine.precision,
    )


def measures(data: QuestionSet, said: Sequence[str]) -> dict[str, float]:
    """accuracy, a share, and that of each group of questions by its name.

    The official soft accuracy where every question has annotators enough; of questions from one's own tables answers
    are made alike by the official rules also where annotators agree, which the official scorer does not do. Else an
    answer is right if one of them gave it, made alike.
    """
    scores = _scores(data, said)
    by_group = group_means(dict(enumerate(scores)), dict(enumerate(data.groups)))
    found = {"accuracy": sum(scores) / len(scores)}
    return found | {group: by_group[group] for group in sorted(by_group) if group}


def spread(data: QuestionSet, said: Sequence[str]) -> Intervals:
    """The measures' intervals, with other pictures and the questions about them."""
    return intervals(*of_groups("accuracy", _scores(data, said), data.groups, data.about))


def _scores(data: QuestionSet, said: Sequence[str]) -> list[float]:
    both = enumerate(zip(said, data.answers, strict=True))
    if not data.official:
        return [_given(one, answers) for _, (one, answers) in both]
    return [soft_accuracy(one, answers, alike=row in data.own) for row, (one, answers) in both]


def chance(data: QuestionSet) -> dict[str, float]:
    """The same measures of who gives every question of a group its commonest answer."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row, (group, answers) in enumerate(zip(data.groups, data.answers, strict=True)):
        told = map(normalize_answer, answers) if row in data.own else answers
        counts[group][Counter(told).most_common(1)[0][0]] += 1
    commonest = {group: own.most_common(1)[0][0] for group, own in counts.items()}
    return measures(data, [commonest[group] for group in data.groups])


def blind(world: World, known: int, asked: int) -> float:
    """The share right of who sees no picture but knows the training questions of so many scenes by heart."""
    return guessed(questions(world, known), questions(world, asked, "held-out"))


def _given(said: str, answers: Sequence[str]) -> float:
    return float(normalize_answer(said) in map(normalize_answer, answers))
