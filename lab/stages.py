"""The stages of bootstrapping as functions: pre-train, fine-tune captioner and filter (paper 3.3, Figure 3).

Each takes a recipe and data and returns a model; what is done with the models is CapFilt's business.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from blip.config import BlipConfig
from blip.data.loading import Loader, Source
from blip.feed import PairFeed
from blip.model import BLIP, narrowed
from blip.tasks.captioning import PROMPT, Captioning
from blip.tasks.pretrain import Pretrain
from blip.tasks.retrieval import RETRIEVAL
from blip.tokenizer import Tokenizer
from blip.train import train
from lab.recipes import Recipe, Stage

Progress = Callable[[dict[str, float]], None]
Begin = Callable[[BLIP], None]
MadeOf = Mapping[str, Any] | None
MAX_TOKENS = 30  # published length of pre-training texts
READERS = min(8, os.cpu_count() or 1)
"""Threads that open and augment photos; they change no byte, and pictures in memory need none."""


def pretrain(
    recipe: Recipe,
    source: Source,
    tokenizer: Tokenizer,
    *,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress | None = None,
    start: BLIP | None = None,
    image_size: int | None = None,
    begin: Begin | None = None,
    made_of: MadeOf = None,
) -> BLIP:
    """A model pre-trained with ITC, ITM and LM on the pairs of a source: a new one, or `start` trained further.

    Optimizer, momentum encoder, queues and schedule begin anew in both cases (paper Table 13). image_size: side of a
    new model's pictures in pixels; by default that of the recipe's level. begin: puts weights into a new model, which
    by default begins with random ones. made_of: what decides on the weights, by which a training in `out` refuses to go
    on with anything else; None where the name of the folder says it all, as that of a run does.
    """
    torch.manual_seed(seed)
    model = _new(recipe.model(len(tokenizer), image_size), begin) if start is None else start
    rules = replace(recipe.objectives, seed=seed)
    if start is not None:
        rules = replace(rules, teacher_start=0)  # trained weights are a teacher from the first step on
    task = Pretrain(model, rules)
    feed = PairFeed(loader(source, recipe.pretrain, seed), tokenizer, max_length=MAX_TOKENS)
    alpha, waits = rules.alpha, rules.teacher_start
    _run("pretrain", task, feed, recipe, recipe.pretrain, seed=seed, out=out, progress=progress, made_of=made_of, alpha=alpha, alpha_from=waits)
    return model


def _new(config: BlipConfig, begin: Begin | None) -> BLIP:
    model = BLIP(config)
    if begin is not None:
        begin(model)
    return model


def tune_captioner(
    recipe: Recipe,
    pretrained: BLIP,
    human: Source,
    tokenizer: Tokenizer,
    *,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress | None = None,
    prompt: str = PROMPT,
    made_of: MadeOf = None,
) -> BLIP:
    """A captioner: the decoder of a pre-trained model fine-tuned with LM on human-annotated pairs.

    prompt: words that begin every caption, as published; they carry no loss. made_of: as in `pretrain`.
    """
    model = narrowed(pretrained, "decode")
    task = Captioning(model, prompt_length=len(tokenizer.prompt(prompt)))
    feed = PairFeed(loader(human, recipe.captioner, seed), tokenizer, prompt=prompt, max_length=MAX_TOKENS + 4)
    _run("captioner", task, feed, recipe, recipe.captioner, seed=seed, out=out, progress=progress, made_of=made_of)
    return model


def tune_filter(
    recipe: Recipe,
    pretrained: BLIP,
    human: Source,
    tokenizer: Tokenizer,
    *,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress | None = None,
    negatives: str = RETRIEVAL.negatives,
    made_of: MadeOf = None,
) -> BLIP:
    """A filter: the encoder of a pre-trained model fine-tuned with ITC and ITM on human-annotated pairs.

    negatives: of ITM, by default hard ones as published. made_of: as in `pretrain`.
    """
    model = narrowed(pretrained, "encode", "fuse")
    # As in pre-training, the queue holds at most a tenth of the data it is filled from. Nothing of the pre-training's own
    # objectives comes in here: arms that differ in those are measured after the same fine-tuning.
    rules = replace(RETRIEVAL, queue=min(RETRIEVAL.queue, len(human) // 10), negatives=negatives, seed=seed)
    feed = PairFeed(loader(human, recipe.filter, seed), tokenizer, by_image=True, max_length=MAX_TOKENS)
    torch.manual_seed(seed)  # the queue begins with random keys, whatever this process drew before
    _run("filter", Pretrain(model, rules), feed, recipe, recipe.filter, seed=seed, out=out, progress=progress, made_of=made_of)
    return model


def of_filter(recipe: Recipe) -> dict[str, Any]:
    """What tells a fine-tuning of the filter from an earlier one, which took queue and alpha from the pre-training."""
    rules = recipe.objectives
    same = min(rules.queue, recipe.human // 10) == min(RETRIEVAL.queue, recipe.human // 10) and rules.alpha == RETRIEVAL.alpha
    return {} if same else {"queue and alpha": "of retrieval"}


def loader(source: Source, stage: Stage, seed: int) -> Loader:
    """Batches of a stage, in an order that the seed decides."""
    return Loader(source, stage.batch, seed=seed, workers=READERS)


def _run(
    name: str,
    task: torch.nn.Module,
    feed: PairFeed,
    recipe: Recipe,
    stage: Stage,
    *,
    seed: int,
    out: Path | None,
    progress: Progress | None,
    made_of: MadeOf,
    alpha: float = RETRIEVAL.alpha,
    alpha_from: int = 0,
) -> None:
    config = stage.training(alpha=alpha, seed=seed, precision=recipe.precision, alpha_from=alpha_from)
    train(task.to(recipe.device), feed, config, out=out and out / name, progress=progress, made_of=made_of)
    task.eval()
