"""A scene is a description: what stands where. Pictures and texts are made from it."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from lab.world.levels import SIZES, Level

APART = 0.15  # less than this is neither left nor right, above nor below
RELATIONS = {"left": (-1, 0), "right": (1, 0), "above": (0, -1), "below": (0, 1)}
INVERSE = {"left": "right", "right": "left", "above": "below", "below": "above"}
_GRIDS = {1: ((1, 1),), 2: ((2, 1), (1, 2)), 3: ((2, 2),), 4: ((2, 2),), 5: ((3, 2),), 6: ((3, 2),)}
_MOVE = 0.03
_FILL = 0.86  # of its cell, by a big object
_JITTER = 0.065  # two neighbours can differ by 0.13 at most, which is not APART


@dataclass(frozen=True)
class Thing:
    """An object: kind, colour, size (big or small), and its square: centre and half side in [0, 1]."""

    kind: str
    colour: str
    size: str
    x: float
    y: float
    half: float

    @property
    def look(self) -> tuple[str, str, str]:
        """Kind, colour and size: things of one look are counted together."""
        return self.kind, self.colour, self.size


@dataclass(frozen=True)
class Scene:
    """A background and the things before it."""

    background: str
    things: tuple[Thing, ...]

    def stands(self, a: Thing, relation: str, b: Thing) -> bool:
        """Whether thing a is left, right, above or below thing b."""
        dx, dy = RELATIONS[relation]
        return dx * (a.x - b.x) + dy * (a.y - b.y) >= APART

    def layout(self) -> tuple:
        """What the scene means, without jitter: scenes with an equal layout count as the same scene."""
        cells = ((t.kind, t.colour, t.size, _third(t.x), _third(t.y)) for t in self.things)
        return self.background, tuple(sorted(cells))

    def to_json(self) -> dict[str, Any]:
        """Plain values, from which `from_json` builds the same scene."""
        things = [[t.kind, t.colour, t.size, t.x, t.y, t.half] for t in self.things]
        return {"background": self.background, "things": things}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Scene":
        """The scene that `to_json` wrote."""
        return cls(data["background"], tuple(Thing(*thing) for thing in data["things"]))


def compose(level: Level, rng: random.Random) -> Scene:
    """A random scene of a level."""
    count = 1 + min(int(rng.random() * 1.5 * level.most), level.most - 1)
    columns, rows = rng.choice(_GRIDS[count])
    cells = rng.sample([(c, r) for c in range(columns) for r in range(rows)], count)
    looks = _looks(level, count, rng)
    things = [
        Thing(kind, colour, size, *_place(cell, (columns, rows), rng), _half(size, max(columns, rows), level))
        for (kind, colour, size), cell in zip(looks, cells, strict=True)
    ]
    background = rng.choice(level.background_names)
    return Scene(background, tuple(sorted(things, key=lambda t: (t.y > 0.5, t.x))))


def jittered(scene: Scene, rng: random.Random) -> Scene:
    """The same scene with every object moved a little: what is true of one is true of the other.

    No object leaves the picture, touches another, or changes a relation or its cell of the layout.
    """
    moved = []
    for thing in scene.things:
        room = max(0.0, min(_MOVE, *_free(thing, scene)))
        x, y = (round(v + rng.uniform(-room, room), 4) for v in (thing.x, thing.y))
        moved.append(replace(thing, x=x, y=y))
    new = replace(scene, things=tuple(moved))
    return new if new.layout() == scene.layout() and _same_relations(scene, new) else scene


def _free(thing: Thing, scene: Scene) -> Iterator[float]:
    """How far a thing can go towards each edge, and half way towards each other thing."""
    for value in (thing.x, thing.y):
        yield value - thing.half
        yield 1 - thing.half - value
    for other in scene.things:
        if other is not thing:
            gap = max(abs(thing.x - other.x), abs(thing.y - other.y)) - thing.half - other.half
            yield gap / 2


def _same_relations(a: Scene, b: Scene) -> bool:
    count = range(len(a.things))
    return all(
        a.stands(a.things[i], r, a.things[j]) == b.stands(b.things[i], r, b.things[j])
        for i in count
        for j in count
        if i != j
        for r in RELATIONS
    )


def _looks(level: Level, count: int, rng: random.Random) -> list[tuple[str, str, str]]:
    """Kind, colour and size of each thing: all different, or some equal where the level counts."""
    looks: list[tuple[str, str, str]] = []
    while len(looks) < count:
        if level.counts and looks and rng.random() < 0.35:
            looks.append(rng.choice(looks))
            continue
        size = rng.choice(list(SIZES)) if level.sizes else "big"
        look = (rng.choice(level.kind_names), rng.choice(level.colour_names), size)
        if look not in looks:
            looks.append(look)
    return looks


def _half(size: str, widest: int, level: Level) -> float:
    """Half the side of an object. A small one is small in every scene of a level, beside others or alone."""
    most = max(max(grid) for grid in _GRIDS[level.most])
    return round(0.5 / (widest if size == "big" else most) * _FILL * SIZES[size], 4)


def _third(value: float) -> int:
    """1, 3 or 5: which part of the picture; cells of all grids lie at least a jitter and a move inside one."""
    return 1 + 2 * (value > 0.375) + 2 * (value > 0.625)


def _place(cell: tuple[int, int], grid: tuple[int, int], rng: random.Random) -> tuple[float, float]:
    def along(at: int, of: int, widest: int) -> float:
        # Jitter only where the cell leaves room: along the side that has fewer cells.
        spare = _JITTER if of < widest or widest == 1 else 0.015
        return round((at + 0.5) / of + rng.uniform(-spare, spare), 4)

    widest = max(grid)
    return along(cell[0], grid[0], widest), along(cell[1], grid[1], widest)
