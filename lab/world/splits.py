"""Where the scenes of the downstream tasks come from: one side of the split, by seed, task and index."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from blip.errors import InputError
from lab.world.levels import Level
from lab.world.scene import Scene, compose
from lab.world.sets import World, held_out

SPLITS = ("train", "held-out")
_TRIES = 10_000


@dataclass(frozen=True)
class Source:
    """Scenes of a level on one side of the split; `rng` decides them and all else that an item draws."""

    level: Level
    split: str
    rng: random.Random

    def scene(self, build: Callable[[], Scene | None] | None = None) -> Scene:
        """A random scene, or what `build` makes (None: try again), on this side of the split."""
        make = build or (lambda: compose(self.level, self.rng))
        for _ in range(_TRIES):
            scene = make()
            if scene and held_out(scene, self.level) == (self.split == "held-out"):
                return scene
        raise InputError(f"The level {self.level.name} has no such scenes; choose a larger one.")

    def scene_of(self, count: int) -> Scene:
        """A random scene of so many things."""

        def build() -> Scene | None:
            scene = compose(self.level, self.rng)
            return scene if len(scene.things) == count else None

        return self.scene(build)


def check_split(split: str) -> None:
    """Raise InputError for a split that is none."""
    if split not in SPLITS:
        raise InputError(f"There is no split {split!r}; choose one of {', '.join(SPLITS)}.")


def sources(world: World, task: str, split: str, count: int, start: int) -> Iterator[tuple[int, Source]]:
    """An index and its own source for each of `count` items, which never depend on how many are asked for."""
    check_split(split)
    for name, value in (("count", count), ("start", start)):
        if value < 0:
            raise InputError(f"{name} = {value} cannot be; give 0 or more.")
    for i in range(start, start + count):
        seed = f"{world.level.name}/{world.seed}/{task}/{split}/{i}"
        yield i, Source(world.level, split, random.Random(seed))
