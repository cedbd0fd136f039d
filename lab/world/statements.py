"""Statements that are true or false of two pictures (natural language visual reasoning, paper 5.4).

Each statement comes with four pairs of pictures, two of them true, so that consistency can be measured and
who sees no picture is right half the time. One picture must not decide either. Where the meaning allows it,
true pairs (A, B) and (C, D) are crossed to the false pairs (A, D) and (C, B): every picture is in a true pair
and in a false one on the same side, so no rule that sees one picture is right more than half the time.
"both show", "more" and "fewer" cannot be so: a picture without the thing, or with the most of it, decides.
There the best such rule is right of three pairs in four, which is the least that is possible with four.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lab.world.checker import check
from lab.world.contrasts import looked_for, of_kind, relooked, with_number
from lab.world.draw import draw
from lab.world.language import NUMBERS, plural
from lab.world.levels import Level
from lab.world.scene import Scene, compose
from lab.world.sets import World
from lab.world.splits import Source, sources

_NUMBERS = {number: word for word, number in NUMBERS.items()}
Pictures = tuple[Scene, Scene]
_MOST_EACH = 3  # things of a kind that are counted in one picture
_WORDS = {
    "one": ("exactly one picture shows {phrase}", "only one of the pictures shows {phrase}"),
    "both": ("both pictures show {phrase}", "each picture shows {phrase}"),
    "same colour": ("the {kind} has the same colour in both pictures", "both pictures show the {kind} in the same colour"),
    "same number": ("both pictures show the same number of things", "there are as many things in the left picture as in the right"),
    "total": ("there {are} {number} in the two pictures together", "the two pictures together show {number}"),
    "more": ("there are more {kinds} in the left picture than in the right", "the left picture shows more {kinds} than the right"),
    "fewer": ("there are fewer {kinds} in the left picture than in the right", "the left picture shows fewer {kinds} than the right"),
    "same background": ("both pictures have the same background", "the background is the same in both pictures"),
}  # fmt: skip
SINGLE_PICTURE = dict.fromkeys(_WORDS, 0.5) | dict.fromkeys(("both", "more", "fewer"), 0.75)
"""By form: the most that a rule can get right which knows the statement and sees one of its pictures."""


@dataclass(frozen=True)
class Statement:
    """What is said of two pictures: its form and what that speaks of; `text` is how it is said."""

    form: str
    text: str = ""
    phrase: str = ""
    """A caption: what one or both of the pictures show."""
    kind: str = ""
    number: int = 0


@dataclass(frozen=True)
class StatementPair:
    """A statement with two pictures, the left one first, and whether it is true of them."""

    key: str
    statement: Statement
    first: Scene
    second: Scene
    truth: bool

    def pictures(self, px: int, style: str = "flat") -> np.ndarray:
        """The two pictures (2, px, px, 3) uint8."""
        return np.stack([draw(scene, px, style) for scene in (self.first, self.second)])


def statements(world: World, count: int, split: str = "train", start: int = 0) -> list[StatementPair]:
    """Four pairs for each of `count` statements (indices from `start`); every scene is of the split's side."""
    pairs: list[StatementPair] = []
    for i, source in sources(world, "statements", split, count, start):
        statement, shown = _BUILDERS[source.rng.choice(forms(world.level))](source)
        statement = replace(statement, text=_said(statement, source))
        for j, (first, second) in enumerate(source.rng.sample(shown, len(shown))):
            truth = holds(statement, first, second)
            pairs.append(StatementPair(f"{split}-{i:06d}-{j}", statement, first, second, truth))
    return pairs


def forms(level: Level) -> tuple[str, ...]:
    """The forms that are said at a level: what can be told of pairs of its pictures."""
    left_out = {"same background": level.backgrounds > 1, "same number": level.most > 1}
    left_out |= {"more": level.most > 1, "fewer": level.most > 1}
    return tuple(form for form in _WORDS if left_out.get(form, True))


def holds(statement: Statement, first: Scene, second: Scene) -> bool:
    """Whether a statement is true of two pictures, from what it means."""
    shown = [check(statement.phrase, scene).truth == "true" for scene in (first, second)]
    kinds = [[t for t in scene.things if t.kind == statement.kind] for scene in (first, second)]
    left, right = map(len, kinds)
    truths = {
        "one": shown[0] != shown[1],
        "both": all(shown),
        # "the ball" is the only ball of its picture.
        "same colour": left == right == 1 and kinds[0][0].colour == kinds[1][0].colour,
        "same number": len(first.things) == len(second.things),
        "total": left + right == statement.number,
        "more": left > right,
        "fewer": left < right,
        "same background": first.background == second.background,
    }
    return truths[statement.form]


def single_picture(pairs: Sequence[StatementPair]) -> float:
    """The most that a rule can get right of these pairs which knows the statement and sees one picture.

    The rule may know every picture by heart; the better of the two sides is reported.
    """
    right = []
    for side in ("first", "second"):
        truths: dict[tuple[str, Scene], list[bool]] = defaultdict(list)
        for pair in pairs:
            truths[pair.statement.text, getattr(pair, side)].append(pair.truth)
        right.append(sum(max(sum(seen), len(seen) - sum(seen)) for seen in truths.values()))
    return max(right) / max(1, len(pairs))


def _said(statement: Statement, source: Source) -> str:
    number, kinds = statement.number, plural(statement.kind)
    many = f"one {statement.kind}" if number == 1 else f"{_NUMBERS.get(number)} {kinds}"
    words = {"phrase": statement.phrase, "kind": statement.kind, "kinds": kinds, "number": many}
    return source.rng.choice(_WORDS[statement.form]).format(are="is" if number == 1 else "are", **words)


def _crossed(a: Scene, b: Scene, c: Scene, d: Scene) -> list[Pictures]:
    """True pairs (a, b) and (c, d), and the false ones of the same pictures."""
    return [(a, b), (c, d), (a, d), (c, b)]


def _one(source: Source) -> tuple[Statement, list[Pictures]]:
    phrase, make = looked_for(source)
    return Statement("one", phrase=phrase), _crossed(make(True), make(False), make(False), make(True))


def _both(source: Source) -> tuple[Statement, list[Pictures]]:
    phrase, make = looked_for(source)
    a, b = make(True), make(True)
    shown = [(a, b), (make(True), make(True)), (a, make(False)), (make(False), b)]
    return Statement("both", phrase=phrase), shown


def _same_colour(source: Source) -> tuple[Statement, list[Pictures]]:
    kind = source.rng.choice(source.level.kind_names)
    one, other = source.rng.sample(source.level.colour_names, 2)

    def make(colour: str) -> Scene:
        def build() -> Scene | None:
            scene = with_number(source, kind, 1)
            if scene is None:
                return None
            at = next((i for i, t in enumerate(scene.things) if t.kind == kind), None)
            return None if at is None else relooked(scene, at, kind, colour)

        return source.scene(build)

    return Statement("same colour", kind=kind), _crossed(make(one), make(one), make(other), make(other))


def _same_number(source: Source) -> tuple[Statement, list[Pictures]]:
    one, other = source.rng.sample(range(1, source.level.most + 1), 2)
    make = source.scene_of
    return Statement("same number"), _crossed(make(one), make(one), make(other), make(other))


def _total(source: Source) -> tuple[Statement, list[Pictures]]:
    most = min(_MOST_EACH, source.level.most)
    kind = source.rng.choice(source.level.kind_names)
    number = source.rng.randint(1, 2 * most - 1)
    left = source.rng.sample(range(max(0, number - most), min(most, number) + 1), 2)
    one, other = ((of_kind(source, kind, n), of_kind(source, kind, number - n)) for n in left)
    return Statement("total", kind=kind, number=number), _crossed(*one, *other)


def _compared(source: Source) -> tuple[str, list[Pictures]]:
    """Pairs with more of a kind on the left, and the same pairs the other way round."""
    kind = source.rng.choice(source.level.kind_names)
    middle = source.rng.randint(1, min(_MOST_EACH, source.level.most) - 1)
    few, some, many = (of_kind(source, kind, n) for n in (middle - 1, middle, middle + 1))
    return kind, [(some, few), (many, some), (few, some), (some, many)]


def _more(source: Source) -> tuple[Statement, list[Pictures]]:
    kind, shown = _compared(source)
    return Statement("more", kind=kind), shown


def _fewer(source: Source) -> tuple[Statement, list[Pictures]]:
    kind, shown = _compared(source)
    return Statement("fewer", kind=kind), shown


def _same_background(source: Source) -> tuple[Statement, list[Pictures]]:
    one, other = source.rng.sample(source.level.background_names, 2)

    def make(background: str) -> Scene:
        return source.scene(lambda: replace(compose(source.level, source.rng), background=background))

    return Statement("same background"), _crossed(make(one), make(one), make(other), make(other))


_BUILDERS = dict(
    zip(_WORDS, (_one, _both, _same_colour, _same_number, _total, _more, _fewer, _same_background), strict=True)
)
