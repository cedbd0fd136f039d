"""What the tests of the generated world share: scenes to look at, and where a picture shows objects."""

import random
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from scipy import ndimage

from lab.world.draw import blank, draw
from lab.world.levels import LEVELS
from lab.world.scene import Scene, Thing, compose

FAINT = 8  # of 255: scaling leaves weaker traces around an object
TOUCHING = np.ones((3, 3))  # pixels that meet at a corner touch


def lone(kind: str, colour: str, half: float = 0.215, x: float = 0.5, y: float = 0.5) -> Scene:
    """One object on the plain background, by default as large as one of two."""
    return Scene("plain", (Thing(kind, colour, "big", x, y, half),))


def scenes(level: str, count: int, purpose: str = "test") -> Iterator[Scene]:
    for i in range(count):
        yield compose(LEVELS[level], random.Random(f"{purpose}/{level}/{i}"))


def on_plain(scene: Scene) -> Scene:
    return replace(scene, background="plain")


def covered(scene: Scene, px: int, style: str = "flat") -> np.ndarray:
    """Where objects cover the background (px, px) bool."""
    apart = np.abs(draw(scene, px, style).astype(int) - blank(scene.background, px, style))
    return apart.max(-1) > FAINT


def components(mask: np.ndarray) -> list[np.ndarray]:
    """The connected parts of a mask."""
    numbers, count = ndimage.label(mask, TOUCHING)
    return [numbers == i for i in range(1, count + 1)]


def is_one_sentence(message: str) -> bool:
    """Whether a message reads as one sentence that ends."""
    return message.endswith(".") and "\n" not in message and ". " not in message
