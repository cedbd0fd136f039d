"""Statements about two images as rows: those of the generated world, and of NLVR2 (paper 5.4)."""

import os
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from blip.data.benchmarks.nlvr import read_nlvr, read_nlvr_list
from blip.data.pictures import ArrayRows, PhotoRows
from blip.data.transforms import FINETUNE_SCALE, eval_transform, train_transform
from lab.downstream.vqa_rows import begin_of
from lab.world.augment import Augmentation
from lab.world.draw import draw
from lab.world.scene import Scene
from lab.world.sets import World
from lab.world.statements import single_picture, statements

Pictures = Callable[[int, bool], PhotoRows | ArrayRows]
"""The two pictures of all rows at a side in pixels, augmented (True, for training) or as they are."""


@dataclass(frozen=True)
class StatementSet:
    """Statements as rows; truths are None where hidden, about says what counts as one statement for consistency.

    blind is the most that a rule can get right which sees one of the two pictures, where it is known.
    """

    ids: Sequence[str]
    texts: Sequence[str]
    truths: Sequence[bool | None]
    about: Sequence[Hashable]
    groups: Sequence[str]
    pictures: Pictures
    blind: float | None = None
    shown: Sequence[tuple[str, ...]] = ()
    """The names of the two image files of each, without folders; none in the generated world, where ids say it."""

    @property
    def told(self) -> bool:
        """Whether every truth is known."""
        return None not in self.truths

    def rows(self) -> Iterator[tuple[object, ...]]:
        """What tells each statement apart from another, beside what is `shown`: its id, text and truth."""
        yield from zip(self.ids, self.texts, self.truths, strict=True)

    def chance(self) -> dict[str, float]:
        """accuracy and consistency expected of who tosses a coin."""
        sizes = Counter(self.about).values()
        return {"accuracy": 0.5, "consistency": sum(0.5**size for size in sizes) / len(sizes)}


def world_statements(world: World, count: int, split: str, style: str = "flat") -> StatementSet:
    """`count` statements of the generated world, each of four pairs of pictures in a style; groups are their forms."""
    found = statements(world, count, split)
    shown: dict[Scene, int] = {}
    at = [[shown.setdefault(scene, len(shown)) for scene in (one.first, one.second)] for one in found]

    def pictures(px: int, training: bool) -> ArrayRows:
        drawn = torch.from_numpy(np.stack([draw(scene, px, style) for scene in shown]))
        return ArrayRows(
            drawn, torch.tensor(at), augment=Augmentation.of(world.level, px, style) if training else None
        )

    return StatementSet(
        [one.key for one in found],
        [one.statement.text for one in found],
        [one.truth for one in found],
        [one.key.rpartition("-")[0] for one in found],
        [one.statement.form for one in found],
        pictures,
        single_picture(found),
    )


def file_statements(path: str, images: str) -> StatementSet:
    """Statements of NLVR2's own JSON lines or of a published list; images lie below `images`."""
    read = read_nlvr_list if begin_of(path).startswith(b"[") else read_nlvr
    found = read(path, images)
    photos = [one.images for one in found]

    def pictures(px: int, training: bool) -> PhotoRows:
        return PhotoRows(photos, train_transform(px, FINETUNE_SCALE) if training else eval_transform(px))

    return StatementSet(
        [one.identifier for one in found],
        [one.sentence for one in found],
        [one.label for one in found],
        [one.statement_id for one in found],
        [""] * len(found),
        pictures,
        shown=[tuple(os.path.basename(image.path) for image in one.images) for one in found],
    )
