"""A policy: which captions are kept, as a value. What it says is carried out by `decide` and by `queries`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from blip.errors import InputError

PROBABILITY = "itm_prob"
"""The score column that is a match probability, of whatever filter."""
THRESHOLDS = "thresholds"
"""What ledger.json keeps of the thresholds of a run: web and synthetic, and its filters. It decides no byte of a table, so
that the same job may have others the next time."""


_PAPERS = float("0.5")
"""A threshold that nobody gave, known by its identity: 0.5 from a command line is another object, and goes before that of a
ledger's run. No type of its own, which JSON writers would not take for a number."""


def single(number: float) -> np.float32:
    """A number in the scores' own precision, so that 0.7 is kept at 0.7; infinite beyond its range."""
    with np.errstate(over="ignore"):
        return np.float32(number)


class Term(NamedTuple):
    """A score column of a filter with a number: its weight in a sum, or the least value of a condition."""

    filter: str
    column: str
    number: float

    @classmethod
    def parse(cls, text: str) -> "Term":
        """From FILTER.COLUMN:NUMBER; InputError for anything else."""
        place, _, number = text.rpartition(":")
        filter, _, column = place.rpartition(".")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not filter or not column or not math.isfinite(value):
            raise InputError(
                f"{text!r} is no score column with a number; write FILTER.COLUMN:NUMBER, as in itm.itc:0.3."
            )
        return cls(filter, column, value)


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Keep a caption whose score reaches its origin's threshold; what people decided goes before.

    The default is the paper's: the filter keeps what it predicts to match (section 3.3). The other fields
    work one after the other, in the order they have here, each on what the ones before it let pass. A score
    that is missing (null or NaN) reaches no threshold and ranks behind every other. Decisions of people
    change their own caption alone: they take and free no place under a cap. Human-annotated captions count
    as web ones.
    """

    filter: str = "itm"
    """The filter that decides, by its name in the ledger."""
    column: str = PROBABILITY
    """Which of its scores is compared with the thresholds."""
    web: float = _PAPERS
    """Threshold of captions that came with the image, human ones too; of itm_prob from 0 to 1, or inf for none of them.
    Left out, it is that of the run (lab capfilt --web-threshold), where its filter decides."""
    synthetic: float = _PAPERS
    """Threshold of generated captions; left out, that of the run too."""
    weighted_sum: tuple[str, ...] = ()
    """Score by a sum of columns in place of --filter and --column, each as FILTER.COLUMN:WEIGHT."""
    union: tuple[str, ...] = ()
    """Let a caption pass too if one of these columns reaches its number, each as FILTER.COLUMN:NUMBER."""
    intersection: tuple[str, ...] = ()
    """Let a caption pass only if all of these columns reach their numbers, each as FILTER.COLUMN:NUMBER."""
    top_fraction: float = 1.0
    """Of the scored captions of each origin only this share, the best by score; ties at the cut stay together."""
    best_synthetic: int | None = None
    """Of an image's synthetic captions at most so many, the best by score, earlier ones first among equals."""
    per_image: int | None = None
    """Of all captions of an image at most so many, the best by score, earlier ones first among equals."""
    per_caption: int | None = None
    """Of captions with the same normalized text at most so many, the first in the ledger's order."""

    def __post_init__(self) -> None:
        for name in ("web", "synthetic"):
            if math.isnan(getattr(self, name)):
                raise InputError(f"The threshold {name} cannot be nan; give a number.")
        if not 0 < self.top_fraction <= 1:
            raise InputError(
                f"top_fraction {self.top_fraction:g} cannot be; give a share above 0 and at most 1."
            )
        for name in ("best_synthetic", "per_image", "per_caption"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} {value} cannot be; give 1 or more, or leave it out for no cap.")
        for text in (*self.weighted_sum, *self.union, *self.intersection):
            Term.parse(text)

    def __str__(self) -> str:
        """What decides, in words; policies that differ in it differ here too, so that runs and exports are told apart."""
        score = " + ".join(f"{_exact(t.number)} {t.filter}.{t.column}" for t in self.summands)
        said = [score if self.weighted_sum else f"{self.filter}.{self.column}"]
        said[0] += f", web >= {_exact(self.web)}, synthetic >= {_exact(self.synthetic)}"
        for word, terms in (("or", self.union), ("and", self.intersection)):
            said += [f"{word} {t.filter}.{t.column} >= {_exact(t.number)}" for t in map(Term.parse, terms)]
        if self.top_fraction < 1:
            said.append(f"top {_exact(self.top_fraction)} of each origin")
        caps = {"synthetic": self.best_synthetic, "captions": self.per_image}
        said += [f"best {cap} {name} an image" for name, cap in caps.items() if cap is not None]
        if self.per_caption is not None:
            said.append(f"first {self.per_caption} of equal captions")
        return ", ".join(said)

    def with_unsaid(self, thresholds: Mapping[str, float]) -> "Policy":
        """The same with these thresholds, by origin, in place of those that nobody gave."""
        web, synthetic = (
            thresholds.get(name, own) if own is _PAPERS else own
            for name, own in (("web", self.web), ("synthetic", self.synthetic))
        )
        return replace(self, web=web, synthetic=synthetic)

    def renamed(self, filters: Mapping[str, str]) -> "Policy":
        """The same policy over other filters: those named in `filters` by the names they have there."""
        other = lambda text: (
            f"{filters.get((term := Term.parse(text)).filter, term.filter)}.{term.column}:{term.number!r}"
        )
        return replace(
            self,
            filter=filters.get(self.filter, self.filter),
            weighted_sum=tuple(map(other, self.weighted_sum)),
            union=tuple(map(other, self.union)),
            intersection=tuple(map(other, self.intersection)),
        )

    def refuse_no_probability(self) -> None:
        """InputError where a match probability is compared with a number below 0 or above 1, such as a percentage.

        Infinite numbers pass: they plainly mean all captions or none.
        """
        terms = [*map(Term.parse, self.union), *map(Term.parse, self.intersection)]
        compared = [(f"{term.number:g} of {term.filter}.{term.column}", term.column, term.number) for term in terms]
        if not self.weighted_sum:
            for name, number in (("web", self.web), ("synthetic", self.synthetic)):
                compared.append((f"{number:g} of {self.filter}.{self.column} for {name} captions", self.column, number))
        for what, column, number in compared:
            if column == PROBABILITY and math.isfinite(number) and not 0 <= number <= 1:
                raise InputError(f"The threshold {what} cannot be; give a probability from 0 to 1.")

    def refuse_unread(self) -> None:
        """InputError where a weighted sum decides, and a filter or a column is named too, which it does not read."""
        named = [own for own, usual in ((self.filter, Policy.filter), (self.column, Policy.column)) if own != usual]
        if self.weighted_sum and named:
            raise InputError(f"A weighted sum stands in place of a filter and its column; leave {named[0]!r} or the sum out.")

    @property
    def summands(self) -> tuple[Term, ...]:
        """The terms of the score; one of weight 1 where it is a column as it stands."""
        return tuple(map(Term.parse, self.weighted_sum)) or (Term(self.filter, self.column, 1.0),)

    @property
    def terms(self) -> tuple[Term, ...]:
        """Every column the policy reads."""
        return (*self.summands, *map(Term.parse, self.union), *map(Term.parse, self.intersection))

    @property
    def columns(self) -> dict[str, list[str]]:
        """The columns it reads of each filter's table, each once."""
        found: dict[str, list[str]] = {}
        for term in self.terms:
            names = found.setdefault(term.filter, [])
            if term.column not in names:
                names.append(term.column)
        return found


def are_thresholds(kept: Mapping[str, Any]) -> bool:
    """Whether this is what `THRESHOLDS` of a ledger.json may hold."""
    numbers, filters = [kept[name] for name in ("web", "synthetic") if name in kept], kept.get("filters", [])
    return isinstance(filters, list) and all(type(number) in (int, float) for number in numbers)


def _exact(number: float) -> str:
    """The shortest text that reads back as this number."""
    short = f"{number:g}"
    return short if float(short) == number else repr(float(number))
