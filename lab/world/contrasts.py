"""Scenes that show what is looked for, and scenes that only nearly do: made by changing random ones."""

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations

from lab.world.checker import check
from lab.world.language import PHRASES, Mention
from lab.world.levels import SIZES
from lab.world.scene import RELATIONS, Scene, compose
from lab.world.splits import Source

Change = Callable[[Scene, bool], Scene | None]


def looked_for(source: Source) -> tuple[str, Callable[[bool], Scene]]:
    """A phrase, and a function that makes a scene which shows it (True) or one that only nearly does (False).

    The phrase names one thing or, where the level says how things stand, in half the cases two.
    """
    related = source.level.relations and source.level.most > 1 and source.rng.random() < 0.5
    phrase, change = _relation(source) if related else _thing(source)

    def make(yes: bool) -> Scene:
        def build() -> Scene | None:
            scene = change(compose(source.level, source.rng), yes)
            return scene if scene and check(phrase, scene).truth == ("true" if yes else "false") else None

        return source.scene(build)

    return phrase, make


def _thing(source: Source) -> tuple[str, Change]:
    """One thing; what is only nearly it has another kind or another colour."""
    level, rng = source.level, source.rng
    kind, colour = rng.choice(level.kind_names), rng.choice(level.colour_names)
    size = rng.choice(list(SIZES)) if level.sizes else None
    near = [(kind, other) for other in level.colour_names if other != colour]
    near += [(other, colour) for other in level.kind_names if other != kind]

    def change(scene: Scene, yes: bool) -> Scene | None:
        at = [i for i, thing in enumerate(scene.things) if size in (None, thing.size)]
        return relooked(scene, rng.choice(at), *((kind, colour) if yes else rng.choice(near))) if at else None

    return Mention(kind, colour, size).words(), change


def _relation(source: Source) -> tuple[str, Change]:
    """Two things and how they stand; what is only nearly so has them in each other's place."""
    level, rng = source.level, source.rng
    one, other = rng.sample([(kind, colour) for kind in level.kind_names for colour in level.colour_names], 2)
    relation = rng.choice(list(RELATIONS))

    def change(scene: Scene, yes: bool) -> Scene | None:
        pairs = permutations(range(len(scene.things)), 2)
        fits = [(i, j) for i, j in pairs if scene.stands(scene.things[i], relation, scene.things[j])]
        if not fits:
            return None
        i, j = rng.choice(fits)
        changed = relooked(scene, i, *(one if yes else other))
        return changed and relooked(changed, j, *(other if yes else one))

    words = [Mention(*look).words() for look in (one, other)]
    return f"{words[0]} {rng.choice(PHRASES[relation])} {words[1]}", change


def of_kind(source: Source, kind: str, number: int) -> Scene:
    """A scene with exactly so many of a kind."""
    return source.scene(lambda: with_number(source, kind, number))


def with_number(source: Source, kind: str, number: int) -> Scene | None:
    """A random scene changed to hold exactly so many of a kind; None where it is too small or looks repeat."""
    level, rng = source.level, source.rng
    scene = compose(level, rng)
    if len(scene.things) < number:
        return None
    chosen = rng.sample(range(len(scene.things)), number)
    away = [name for name in level.kind_names if name != kind]
    things = []
    for i, thing in enumerate(scene.things):
        new = kind if i in chosen else rng.choice(away) if thing.kind == kind else thing.kind
        things.append(replace(thing, kind=new))
    repeats = len({thing.look for thing in things}) < len(things)
    return None if repeats and not level.counts else replace(scene, things=tuple(things))


def relooked(scene: Scene, at: int, kind: str, colour: str) -> Scene | None:
    """The scene with one thing of another kind and colour; None where it would look like a thing beside it."""
    new = replace(scene.things[at], kind=kind, colour=colour)
    before, after = scene.things[:at], scene.things[at + 1 :]
    if any(thing.look == new.look for thing in (*before, *after)):
        return None
    return replace(scene, things=(*before, new, *after))
