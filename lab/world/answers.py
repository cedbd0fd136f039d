"""Wordings of the answers in a dialog: which mean the same, and which could be given instead."""

from functools import lru_cache

from lab.world.language import NUMBERS, Mention
from lab.world.levels import SIZES, Level
from lab.world.scene import Thing

YES, NO = ("yes", "yes indeed"), ("no", "no not at all")
NOTHING = ("nothing", "nothing at all")
_WORD = {str(number): word for word, number in NUMBERS.items()} | {"1": "one"}


def described(value: str) -> tuple[str, str]:
    """What is said of a thing's colour or size, or of the background."""
    return value, f"it is {value}"


def counted(number: int) -> tuple[str, str]:
    """A number as a digit and as a word."""
    return str(number), _WORD[str(number)]


def named(thing: Thing, level: Level) -> dict[str, tuple[str, ...]]:
    """The ways to name a thing, each with the parts that it tells."""
    ways = {
        Mention(thing.kind).words(): ("kind",),
        Mention(thing.kind, thing.colour).words(): ("kind", "colour"),
    }
    if level.sizes:
        ways[Mention(thing.kind, thing.colour, thing.size).words()] = ("kind", "colour", "size")
    return ways


@lru_cache(maxsize=16)
def wordings(level: Level) -> dict[str, tuple[tuple[str, ...], ...]]:
    """Every answer of a level, in groups of wordings of one answer, by what it is about.

    Abouts are whether, colour, number, thing, size and background, the last two where the level has them.
    """
    sizes = tuple(SIZES) if level.sizes else ("big",)
    looks = [(kind, colour, size) for kind in level.kind_names for colour in level.colour_names for size in sizes]
    about = {
        "whether": (YES, NO),
        "colour": tuple(map(described, level.colour_names)),
        "number": tuple(map(counted, range(1, level.most + 1))),
        "thing": (NOTHING, *(tuple(named(Thing(*look, 0.5, 0.5, 0.1), level)) for look in looks)),
    }
    if level.sizes:
        about["size"] = tuple(map(described, SIZES))
    if level.backgrounds > 1:
        about["background"] = tuple(map(described, level.background_names))
    return about


@lru_cache(maxsize=128)
def elsewhere(level: Level, about: str) -> tuple[str, ...]:
    """Each wording of the answers that are about something else."""
    groups = (group for other, found in wordings(level).items() if other != about for group in found)
    return tuple(dict.fromkeys(text for group in groups for text in group))
