"""Whether a filter knows which colour belongs to which object: true texts against texts with one part wrong."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from blip.checkpoint import Loaded
from blip.matching import Matcher
from lab.ablation.arms import Trained
from lab.ablation.steps import model_of, step
from lab.captioned import distinct
from lab.runs import Run
from lab.world.language import Mention
from lab.world.levels import Level
from lab.world.scene import Scene
from lab.world.sets import World

WRONG = ("swapped", "colour", "kind")
"""What is wrong in a text: both colours are there, each with the other object; one colour, or one kind, is another."""


def binding(trained: Trained) -> Run:
    """The student, fine-tuned as filter: how often ITM and ITC prefer a true text of two objects to a wrong one (`preferred`)."""
    steps = trained.student
    _, matcher = steps.tune(trained.model)
    level, count = steps.recipe.level, steps.recipe.evaluation

    def work(folder: Path) -> dict[str, Any]:
        return preferred(model_of(matcher), steps.world, count, steps.recipe.device)

    return steps.home.run(step("binding", {"level": level, "count": count}, matcher), work)


def preferred(loaded: Loaded, world: World, count: int, device: str = "cpu") -> dict[str, Any]:
    """Shares by score (itm, itc) and by what is wrong (`WRONG`), over held-out scenes and both orders of words.

    scenes: how many of the distinct ones among `count` suit; without any the shares are None.
    """
    scenes = [one for one in distinct(world.evaluation(count)) if suits(one.scene)]
    if not scenes:
        return {"scenes": 0} | {score: dict.fromkeys(WRONG) for score in ("itm", "itc")}
    matcher, px = Matcher(loaded, device=device), world.level.px
    pictures = [matcher.prepare(Image.fromarray(one.image(px))) for one in scenes]
    texts = [[text for order in texts_of(one.scene, at, world.level) for text in order] for at, one in enumerate(scenes)]
    scores = np.array(matcher(pictures, texts)).reshape(len(scenes), 2, 1 + len(WRONG), -1)
    right = (scores[:, :, :1] > scores[:, :, 1:]).mean(axis=(0, 1))
    margin, _, cosine = right.T.tolist()
    return {"scenes": len(scenes)} | {
        score: dict(zip(WRONG, shares, strict=True)) for score, shares in (("itm", margin), ("itc", cosine))
    }


def suits(scene: Scene) -> bool:
    """Whether a scene shows two objects and nothing else that a text could mix up: of different kinds and colours."""
    first, *more = scene.things
    return len(more) == 1 and first.kind != more[0].kind and first.colour != more[0].colour


def texts_of(scene: Scene, number: int, level: Level) -> tuple[list[str], list[str]]:
    """A true text of a suitable scene and the wrong ones (`WRONG`), in both orders of words.

    number: of the scene, which decides what stands in place of the first object's colour, or of its kind.
    """
    one, other = scene.things
    colours = _others(level.colour_names, one.colour, other.colour)
    kinds = _others(level.kind_names, one.kind, other.kind)
    said = (
        ((one.kind, one.colour), (other.kind, other.colour)),
        ((one.kind, other.colour), (other.kind, one.colour)),
        ((one.kind, colours[number % len(colours)]), (other.kind, other.colour)),
        ((kinds[number % len(kinds)], one.colour), (other.kind, other.colour)),
    )
    return [_text(a, b) for a, b in said], [_text(b, a) for a, b in said]


def _others(names: Sequence[str], *shown: str) -> list[str]:
    return [name for name in names if name not in shown]


def _text(first: tuple[str, str], second: tuple[str, str]) -> str:
    return f"{Mention(*first).words()} and {Mention(*second).words()}"
