"""Ways to fine-tune captioner and filter from one pre-trained model: apart, as one, or the filter otherwise."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from blip.checkpoint import Card, save
from blip.checkpoint.own import file_fingerprint
from blip.config import to_json
from blip.data.transforms import FINETUNE_SCALE
from blip.errors import InputError
from blip.tasks.captioning import PROMPT
from blip.tasks.retrieval import RETRIEVAL
from lab import stages
from lab.ablation.steps import model_of, step
from lab.progress import bar
from lab.rounds import MODEL, Steps
from lab.runs import Run
from lab.world.language import partial_caption
from lab.world.levels import Level
from lab.world.sets import WorldPair

APART, ONE_MODEL, TWINS = "apart", "one model", "twins"
JOINT_CAPTIONER, JOINT_FILTER = "joint captioner", "joint filter"
PARTS, PARTS_RANDOM = "partial captions", "partial captions, random negatives"
TUNINGS = (APART, ONE_MODEL, TWINS, JOINT_CAPTIONER, JOINT_FILTER, PARTS, PARTS_RANDOM)
"""Ways to fine-tune captioner and filter from one pre-trained model, see `tuned`."""
TWIN = 3_000
"""Added to a cell's seed: of the order and draws of a twin's fine-tuning."""
PARTLY = 0.5
"""Share of the human-annotated captions that leave something out, where the filter is fine-tuned on such."""


def tuned(steps: Steps, model: Run, how: str, prompt: str = PROMPT) -> tuple[Run, Run]:
    """Captioner and filter from one pre-trained model.

    APART: the captioner by LM, the filter by ITC and ITM. ONE_MODEL: both are one, fine-tuned by all three. TWINS: two
    models that are each fine-tuned as that one is and differ in order and draws alone. JOINT_CAPTIONER, JOINT_FILTER:
    one of the two is such a model, the other is fine-tuned by its own losses. PARTS, PARTS_RANDOM: apart, the filter
    `on_parts`, with hard negatives or with random ones. prompt: of a captioner that is fine-tuned by its own loss.
    InputError for another word.
    """
    if how not in TUNINGS:
        raise InputError(f"There is no tuning {how!r}; choose one of {', '.join(TUNINGS)}.")
    if how == APART:
        return steps.tune(model, prompt)
    if how in (PARTS, PARTS_RANDOM):
        return steps.tune(model, prompt)[0], on_parts(steps, model, "random" if how == PARTS_RANDOM else RETRIEVAL.negatives)
    one = joint(steps, model)
    if how == ONE_MODEL:
        return one, one
    if how == TWINS:
        return one, joint(steps, model, twin=True)
    captioner, matcher = steps.tune(model, prompt)
    return (one, matcher) if how == JOINT_CAPTIONER else (captioner, one)


def joint(steps: Steps, model: Run, *, twin: bool = False) -> Run:
    """Captioner and filter in one model: ITC, ITM and LM on the human-annotated pairs, with the captioner's budget."""
    seed = steps.seed + TWIN * twin
    recipe = replace(steps.recipe, pretrain=steps.recipe.captioner)
    config = to_json(recipe) | steps.ground.decides() | {"seed": seed}
    done = step("joint", {k: v for k, v in config.items() if k not in _NOT_JOINT}, model)

    def work(folder: Path) -> dict[str, Any]:
        before, pairs = model_of(model), steps.human
        queue = min(recipe.objectives.queue, len(pairs) // 10)
        fitting = replace(recipe, objectives=replace(recipe.objectives, queue=queue))
        with bar(recipe.pretrain.steps, done.id) as show:
            source = steps.ground.source(pairs, recipe, FINETUNE_SCALE)
            tuned = stages.pretrain(
                fitting, source, before.tokenizer, seed=seed, out=folder, progress=show, start=before.model
            )
        card = Card(stage="joint", notes={"run": folder.name, "level": recipe.level})
        return {"model": file_fingerprint(save(folder / MODEL, tuned, before.tokenizer, card))}

    return steps.home.run(done, work)


def on_parts(steps: Steps, model: Run, negatives: str) -> Run:
    """The filter of the generated world, fine-tuned on captions of which `PARTLY` name a part of what is shown (`leaving_out`).

    negatives: of ITM, hard ones (online, as published) or random ones.
    """
    recipe = steps.recipe
    config = {k: v for k, v in to_json(recipe).items() if k not in _NOT_PARTS}
    done = step("parts", config | {"seed": steps.seed, "negatives": negatives, "share": PARTLY}, model)

    def work(folder: Path) -> dict[str, Any]:
        before = model_of(model)
        source = steps.ground.source(leaving_out(steps.human, steps.world.level), recipe, FINETUNE_SCALE)
        with bar(recipe.filter.steps, done.id) as show:
            tuned = stages.tune_filter(
                recipe, before.model, source, before.tokenizer, seed=steps.seed, out=folder, progress=show, negatives=negatives
            )
        card = Card(stage="filter", notes={"run": folder.name, "level": recipe.level})
        return {"model": file_fingerprint(save(folder / MODEL, tuned, before.tokenizer, card))}

    return steps.home.run(done, work)


def leaving_out(pairs: Sequence[WorldPair], level: Level) -> list[WorldPair]:
    """The pairs, of which `PARTLY` get a caption of a part of their scene, as much of the web's text is; the rest stay whole.

    A caption of the only object may leave out its colour. Decided by a pair's place alone.
    """
    drawn = [(pair, random.Random(f"parts/{at}")) for at, pair in enumerate(pairs)]
    return [replace(one, caption=partial_caption(one.scene, level, rng)) if rng.random() < PARTLY else one for one, rng in drawn]


_NOT_PARTS = {"name", "pretrain", "captioner", "evaluation"}
_NOT_JOINT = {"name", "captioner", "filter", "evaluation"}
