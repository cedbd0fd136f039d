"""Augmentation that keeps every caption true: no flip, no cut object, no colour that changes its name.

A flip would turn left into right, a crop could cut an object, RandAugment could turn red into orange.
Here the objects move together within the space that is free around them, the background stays, and
the light changes by less than any colour name notices. `redrawn` draws the scene anew instead, every
object moved for itself.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

from blip.errors import InputError
from lab.world.draw import blank, draw
from lab.world.levels import Level
from lab.world.scene import jittered
from lab.world.sets import WorldPair

MOVE = 0.1
"""Objects move by at most this share of the picture's side."""
LIGHT = 6
"""All of a picture gets at most so much lighter or darker, of 255."""
GRAIN = 2
"""Each value changes by at most so much more, of 255."""
_STEP = 4  # of the pixels by which a background is recognised


@dataclass(frozen=True, eq=False)
class Augmentation:
    """Moves, light and grain for pictures of one level, size and style; what a loader calls `augment`.

    What is no background is an object, so a picture that does not belong here is not moved at all.
    """

    blanks: Tensor
    """The empty backgrounds (K,H,W,3) uint8."""

    @classmethod
    def of(cls, level: Level, px: int | None = None, style: str = "flat") -> "Augmentation":
        """For the pictures of a level, drawn at its own size or at px."""
        drawn = [blank(name, px or level.px, style) for name in level.background_names]
        return cls(torch.from_numpy(np.stack(drawn)))

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """New pictures (B,H,W,3) uint8 of the same captions; the generator decides everything."""
        behind, objects = self._parts(images)
        moved = _moved(images, behind, objects, _moves(objects, generator))
        return _lit(moved, generator)

    def moves(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """The moves (B,2) int64 down and right, in pixels, that a call with this generator makes."""
        return _moves(self._parts(images)[1], generator)

    def _parts(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Each picture's background (B,H,W,3) and where it is covered (B,H,W) bool."""
        if images.dtype != torch.uint8 or images.shape[1:] != self.blanks.shape[1:]:
            side = self.blanks.shape[1]
            raise InputError(
                f"Pictures {tuple(images.shape)} {images.dtype} cannot be augmented here; "
                f"give uint8 pictures of {side} x {side} x 3."
            )
        if len(self.blanks) == 1:
            behind = self.blanks.expand_as(images)
        else:
            seen = images[:, None, ::_STEP, ::_STEP] != self.blanks[:, ::_STEP, ::_STEP]
            behind = self.blanks[seen.flatten(2).sum(-1).argmin(1)]
        red, green, blue = (images != behind).unbind(-1)
        return behind, red | green | blue


def redrawn(items: Sequence[WorldPair], px: int, seed: int) -> np.ndarray:
    """Pictures (N,px,px,3) uint8 of the same scenes with every object moved a little for itself.

    An item's picture depends on the seed and its key alone.
    """
    scenes = [(jittered(item.scene, random.Random(f"{seed}/{item.key}")), item.style) for item in items]
    return np.stack([draw(scene, px, style) for scene, style in scenes])


def _moves(objects: Tensor, generator: torch.Generator) -> Tensor:
    """Moves (B,2) drawn from what is free above, below, left and right of all objects together."""
    limit = int(MOVE * objects.shape[1])
    free = []
    for across in (2, 1):
        taken = objects.any(across).to(torch.uint8)
        free.append(torch.stack([taken.argmax(1), taken.flip(1).argmax(1)], -1))
    room = torch.stack(free, 1).clamp_(max=limit)
    drawn = torch.rand(len(objects), 2, generator=generator)
    return (drawn * (room.sum(-1) + 1)).long() - room[..., 0]


def _moved(images: Tensor, behind: Tensor, objects: Tensor, moves: Tensor) -> Tensor:
    """The objects elsewhere on their backgrounds.

    A move in two directions is one along the flat pixels: what leaves a row on one side enters the next
    row, but it was background, and background is not taken along.
    """
    steps = moves[:, 0] * images.shape[1] + moves[:, 1]
    shifted, covered = _shifted(images, 3 * steps), _shifted(objects, steps)
    return torch.where(covered[..., None], shifted, behind)


def _shifted(values: Tensor, steps: Tensor) -> Tensor:
    """Each picture's values moved on by so many places of its own; zeros come in from outside."""
    count, size, reach = len(values), values.shape[1:].numel(), int(steps.abs().max())
    flat = np.pad(values.numpy().reshape(count, size), ((0, 0), (reach, reach)))
    starts = np.arange(count) * flat.shape[1] + reach - steps.numpy()
    return torch.from_numpy(sliding_window_view(flat.reshape(-1), size)[starts]).view(values.shape)


def _lit(images: Tensor, generator: torch.Generator) -> Tensor:
    """A little lighter or darker as a whole, and a grain in each value."""
    light = torch.randint(-LIGHT, LIGHT + 1, (len(images), 1, 1, 1), generator=generator, dtype=torch.int16)
    grain = torch.randint(-GRAIN, GRAIN + 1, images.shape, generator=generator, dtype=torch.int16)
    return (grain + images + light).clamp_(0, 255).to(torch.uint8)
