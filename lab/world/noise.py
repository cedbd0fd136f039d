"""Six kinds of web noise. Each is a way to write a text; its truth is decided by the checker afterwards."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lab.world.checker import check
from lab.world.language import NUMBERS, full_caption, partial_caption
from lab.world.levels import SIZES, Level
from lab.world.scene import Scene, Thing, compose

CLEAN = "clean"
# Shares of the noise. Near-miss text is what only a careful filter finds, so there is much of it.
MIX = {
    "mismatched": 0.35,
    "near_miss": 0.30,
    "boilerplate": 0.12,
    "vague": 0.09,
    "truncated": 0.07,
    "gibberish": 0.07,
}
_TRIES = 50
_BOILERPLATE = (
    "img {n}", "dsc {n} jpg", "free shipping on all orders", "click to enlarge", "buy now save {n} percent",
    "photo {n} of the day", "subscribe to our newsletter", "image not available", "best price online",
    "stock photo id {n}", "download the app today", "all rights reserved {n}",
)  # fmt: skip
_VAGUE = (
    "a nice picture", "some things", "this is so beautiful", "what a great day", "my favourite one",
    "look at this", "something from last week", "things we saw", "so cute", "the best moment ever",
)  # fmt: skip
_SYLLABLES = ("ka", "zu", "mo", "ri", "te", "lo", "vi", "sha", "pe", "do", "xi", "nu")


def mismatched(scene: Scene, level: Level, rng: random.Random) -> str:
    """The caption of another scene, false of this one."""
    return _false(lambda: full_caption(compose(level, rng), level, rng), scene)


def near_miss(scene: Scene, level: Level, rng: random.Random) -> str:
    """A caption with one part changed: a colour, a kind, a relation, a size or a count."""

    def write() -> str | None:
        altered = _altered(scene, level, rng)
        return full_caption(altered, level, rng) if altered else None

    return _false(write, scene)


def boilerplate(scene: Scene, level: Level, rng: random.Random) -> str:
    """What a content management system writes."""
    return rng.choice(_BOILERPLATE).format(n=rng.randint(1, 9999))


def vague(scene: Scene, level: Level, rng: random.Random) -> str:
    """Words that fit any picture."""
    return rng.choice(_VAGUE)


def truncated(scene: Scene, level: Level, rng: random.Random) -> str:
    """A caption cut off; what is left may still be true."""
    words = full_caption(scene, level, rng).split()
    return " ".join(words[: rng.randint(1, max(1, len(words) - 2))])


def gibberish(scene: Scene, level: Level, rng: random.Random) -> str:
    """Syllables without sense."""
    word = lambda: "".join(rng.choice(_SYLLABLES) for _ in range(rng.randint(2, 3)))
    return " ".join(word() for _ in range(rng.randint(2, 4)))


KINDS: dict[str, Callable[[Scene, Level, random.Random], str]] = {
    f.__name__: f for f in (mismatched, near_miss, boilerplate, vague, truncated, gibberish)
}


def clean(scene: Scene, level: Level, rng: random.Random) -> str:
    """Text that belongs to the picture: mostly complete, sometimes of only a part."""
    return full_caption(scene, level, rng) if rng.random() < 0.8 else partial_caption(scene, level, rng)


def _false(write: Callable[[], str | None], scene: Scene) -> str:
    """A text that the checker finds false of the scene."""
    for _ in range(_TRIES):
        text = write()
        if text and check(text, scene).truth == "false":
            return text
    raise RuntimeError(f"no false text found for {scene} in {_TRIES} tries")


def _altered(scene: Scene, level: Level, rng: random.Random) -> Scene | None:
    """The scene with one part changed: of an object and its equals, their number, or two places swapped.

    None if the changed objects would be the equals of others: then the number would change as well.
    """
    at = rng.randrange(len(scene.things))
    thing = scene.things[at]
    parts = ["colour", "colour", "kind"] + (["size"] if level.sizes else [])
    if level.relations and len(scene.things) > 1:
        parts.append("relation")
    if level.counts:
        parts.append("count")
    part = rng.choice(parts)
    if part == "count":
        return _recounted(scene, thing, rng)
    if part == "relation":
        other = (at + rng.randrange(1, len(scene.things))) % len(scene.things)
        return _swapped(scene, at, other)
    options = {"colour": level.colour_names, "kind": level.kind_names, "size": tuple(SIZES)}[part]
    new: dict[str, Any] = {part: rng.choice([value for value in options if value != getattr(thing, part)])}
    looks = {t.look for t in scene.things}
    if replace(thing, **new).look in looks:
        return None
    things = (replace(t, **new) if t.look == thing.look else t for t in scene.things)
    return replace(scene, things=tuple(things))


def _recounted(scene: Scene, thing: Thing, rng: random.Random) -> Scene:
    """The scene with one more or one less of a thing."""
    others = tuple(t for t in scene.things if t.look != thing.look)
    count = len(scene.things) - len(others)
    new = rng.choice([n for n in (count - 1, count + 1) if n in NUMBERS.values()])
    return replace(scene, things=(*others, *([thing] * new)))


def _swapped(scene: Scene, i: int, j: int) -> Scene:
    """Two objects in each other's place."""
    things = list(scene.things)
    a, b = things[i], things[j]
    things[i], things[j] = replace(a, x=b.x, y=b.y), replace(b, x=a.x, y=a.y)
    return replace(scene, things=tuple(things))
