"""What a comparison is asked and answers, as values: selections, axes, counts and pairs of captions."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from apps.answers import Tally
from blip.errors import InputError

_A, _B = "(a_level >= $a::FLOAT)", "(b_level >= $b::FLOAT)"
DIFFER = "Verdicts differ"
ONLY_A, ONLY_B, BOTH, NEITHER, ALL = "Only A keeps", "Only B keeps", "Both keep", "Neither keeps", "All"
PARTS = {
    DIFFER: f"{_A} <> {_B}",
    ONLY_A: f"{_A} AND NOT {_B}",
    ONLY_B: f"{_B} AND NOT {_A}",
    BOTH: f"{_A} AND {_B}",
    NEITHER: f"NOT {_A} AND NOT {_B}",
    ALL: "true",
}
"""Parts of the pairs by name, as conditions in SQL."""

QUADRANTS = {(True, True): BOTH, (True, False): ONLY_A, (False, True): ONLY_B, (False, False): NEITHER}
"""The part where A keeps and where B keeps."""

AS_WRITTEN = "As in the ledger"
ORDERS = {
    "Farthest apart first": "abs({a} - {b}) DESC NULLS LAST",
    "A above B, most first": "{a} - {b} DESC NULLS LAST",
    "B above A, most first": "{b} - {a} DESC NULLS LAST",
    AS_WRITTEN: "pair",
}
"""Orders by name; scores are taken as shares of their axes, so that two scales can be compared."""

ORIGINS = {"Web and synthetic": None, "Web": False, "Synthetic": True}
"""Which captions are compared, by name: whether synthetic ones, None for all."""

Box = tuple[float, float, float, float]
"""Least score of A and of B, highest score of A and of B."""

_STEPS = 100  # of a threshold along an axis, at least half so many


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Pairs under two thresholds: of an origin, in a part, inside a box of scores; a page from 0, a size in pairs."""

    a: float
    b: float
    synthetic: bool | None = None
    part: str = DIFFER
    box: Box | None = None
    order: str = AS_WRITTEN
    page: int = 0
    size: int = 12


@dataclass(frozen=True)
class Axis:
    """The range of a side's scores, and the steps of its threshold."""

    low: float
    high: float
    step: float

    @classmethod
    def around(cls, low: float | None, high: float | None) -> "Axis":
        """Around the least and the highest score: [0, 1] where they are inside it, else to round numbers."""
        if low is None or high is None or (low >= 0 and high <= 1):
            return cls(0.0, 1.0, 0.01)
        unit = 10.0 ** math.floor(math.log10(high - low or 1.0))
        ends = (math.floor(low / unit * 2) / 2 * unit, math.ceil(high / unit * 2) / 2 * unit)
        step = unit / _STEPS
        start, end = (_round(value, step) for value in ends)
        return cls(start, end if end > start else _round(start + unit, step), step)

    @property
    def ticks(self) -> list[float]:
        """Round numbers on the axis, four to eight of them."""
        wanted = (self.high - self.low) / 6
        unit = 10.0 ** math.floor(math.log10(wanted))
        apart = next(unit * size for size in (1, 2, 5, 10) if unit * size >= wanted)
        first, last = math.ceil(self.low / apart - 1e-9), math.floor(self.high / apart + 1e-9)
        return [_round(number * apart, apart / 10) for number in range(first, last + 1)]

    def at(self, share: float) -> float:
        """The score at a share of the axis; 0 is its low end. Shares beyond the ends are the ends."""
        return self.low + min(1.0, max(0.0, share)) * (self.high - self.low)

    def place(self, score: float) -> float:
        """The share of the axis at which a score lies, within [0, 1]."""
        return min(1.0, max(0.0, (score - self.low) / (self.high - self.low)))

    def within(self, score: float) -> float:
        """The nearest score on the axis."""
        return min(self.high, max(self.low, score))

    def step_below(self, score: float) -> float:
        """The highest step that is not above a score."""
        # Scores have seven digits: one that stands on a step must not fall to the one before.
        steps = math.floor((self.within(score) - self.low) / self.step + 1e-4)
        below = _round(self.low + steps * self.step, self.step)
        return below if below <= self.within(score) else _round(below - self.step, self.step)


@dataclass(frozen=True)
class Facts:
    """One side of a pair. score is None where the filter gave none; truth and noise_kind where they are not known.

    better: what a person wants in place of the caption.
    """

    origin: str
    caption: str
    better: str | None
    score: float | None
    truth: str | None
    noise_kind: str | None
    by_person: bool
    kept: bool


@dataclass(frozen=True)
class Pair:
    """Two captions of one image; same: with the same text. ref and sha256 are those of A's ledger."""

    key: str
    ref: str
    sha256: str
    same: bool
    a: Facts
    b: Facts


@dataclass(frozen=True)
class PairPage:
    """The pairs of a page, its number from 0, and how many pairs are selected."""

    pairs: tuple[Pair, ...]
    number: int
    size: int
    selected: int

    @property
    def pages(self) -> int:
        """Pages in all, at least one."""
        return max(1, -(-self.selected // self.size))


@dataclass(frozen=True)
class Counts:
    """Pairs by what A and B keep and by the truth of A's and B's caption (None: unknown)."""

    found: dict[tuple[bool, bool, str | None, str | None], int]

    def of(self, a: bool, b: bool) -> int:
        """Pairs of a quadrant: where A keeps (a) and where B keeps (b)."""
        return self._sum(lambda key: key[:2] == (a, b))

    def true(self, side: int, a: bool, b: bool) -> int:
        """Captions of a side (0 is A) in a quadrant that are true of their image."""
        return self._sum(lambda key: key[:2] == (a, b) and key[2 + side] == "true")

    def known(self, side: int, a: bool, b: bool) -> int:
        """Captions of a side (0 is A) in a quadrant whose truth is known."""
        return self._sum(lambda key: key[:2] == (a, b) and key[2 + side] is not None)

    @cached_property
    def truth_known(self) -> bool:
        """Whether any caption's truth is known."""
        return any(key[2] or key[3] for key in self.found)

    @cached_property
    def same_truth(self) -> bool:
        """Whether A's and B's captions are equally true throughout, as where they are the same texts."""
        return all(key[2] == key[3] for key in self.found)

    def tally(self, side: int) -> Tally:
        """What a side (0 is A) keeps and filters, by truth."""
        kept: dict[str | None, int] = {}
        filtered: dict[str | None, int] = {}
        for (a, b, truth_a, truth_b), n in self.found.items():
            keeps, truth = ((a, truth_a), (b, truth_b))[side]
            own = kept if keeps else filtered
            own[truth] = own.get(truth, 0) + n
        return Tally(kept, filtered)

    def _sum(self, where: Callable[[tuple[bool, bool, str | None, str | None]], bool]) -> int:
        return sum(n for key, n in self.found.items() if where(key))


def area(pointed: str, axes: tuple[Axis, Axis], limits: tuple[float, float]) -> tuple[str, Box | None]:
    """The part and the box that a person points at, from shares of the axes as text.

    Two shares (of A's axis, of B's) are a point, and mean its quadrant; four (both of one corner, both of the
    opposite one) a box, and mean everything in it. InputError for anything else.
    """
    try:
        shares = [float(word) for word in pointed.split()]
    except ValueError:
        shares = []
    if len(shares) not in (2, 4) or not all(map(math.isfinite, shares)):
        raise InputError(f"{pointed[:50]!r} is no area; give two or four numbers from 0 to 1.")
    scores = [axes[place % 2].at(share) for place, share in enumerate(shares)]
    if len(scores) == 2:
        a, b = (score >= limit for score, limit in zip(scores, limits, strict=True))
        return QUADRANTS[a, b], None
    (left, right), (low, high) = sorted(scores[::2]), sorted(scores[1::2])
    return ALL, (left, low, right, high)


def _round(value: float, step: float) -> float:
    return round(value, max(0, -math.floor(math.log10(step))))
