"""What a claim is: a number a seed, made of metrics of arms, and what counts as an answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from blip.errors import InputError
from lab import paper
from lab.stats import correlation

Results = Mapping[str, Mapping[str, Any]]
"""What the arms of one seed found, by arm and measure."""
R1 = "worth.retrieval.all.r1"
"""Mean of TR@1 and IR@1 among held-out scenes: what the first columns of the paper's tables show."""
POINT = 0.01


@dataclass(frozen=True)
class Difference:
    """A weighted sum of metrics, as (arm, metric, weight)."""

    terms: tuple[tuple[str, str, float], ...]

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms it needs."""
        return tuple(dict.fromkeys(arm for arm, _, _ in self.terms))

    @property
    def metrics(self) -> tuple[str, ...]:
        """What it is made of, each metric once."""
        return tuple(dict.fromkeys(metric for _, metric, _ in self.terms))

    def of(self, results: Results) -> float | None:
        """Its value; None where a metric could not be measured."""
        values = _known([value_at(results[arm], metric) for arm, metric, _ in self.terms])
        if values is None:
            return None
        return sum(weight * value for (_, _, weight), value in zip(self.terms, values, strict=True))


@dataclass(frozen=True)
class Correlated:
    """Pearson's correlation of two metrics over arms."""

    arms: tuple[str, ...]
    x: str
    y: str

    @property
    def metrics(self) -> tuple[str, ...]:
        """What it is made of, each metric once."""
        return (self.x, self.y)

    def of(self, results: Results) -> float | None:
        """Its value; None where a metric could not be measured."""
        x, y = (_known([value_at(results[arm], metric) for arm in self.arms]) for metric in (self.x, self.y))
        return None if x is None or y is None else correlation(x, y)


@dataclass(frozen=True)
class OfTheRest:
    """A weighted sum of what treated arms take of the rest that their controls leave of R@1: (treated, control, weight).

    Where controls leave unequally much, points alone would compare their rooms.
    """

    pairs: tuple[tuple[str, str, float], ...]

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms it needs."""
        return tuple(dict.fromkeys(arm for treated, control, _ in self.pairs for arm in (treated, control)))

    @property
    def metrics(self) -> tuple[str, ...]:
        """What it is made of."""
        return (R1,)

    def of(self, results: Results) -> float | None:
        """Its value; None where a metric could not be measured, or a control leaves nothing."""
        total = 0.0
        for treated, control, weight in self.pairs:
            values = _known([value_at(results[arm], R1) for arm in (treated, control)])
            if values is None or values[1] >= 1:
                return None
            total += weight * (values[0] - values[1]) / (1 - values[1])
        return total


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim; its value is counted so that what the paper says, or the field supposes, is positive."""

    id: str
    ablation: str
    says: str
    value: Difference | Correlated | OfTheRest
    margin: float
    """The smallest effect that counts: an interval within it on both sides is equivalence."""
    seeds: int = 3
    """Fewest seeds for a verdict."""
    source: str
    """Where it comes from."""
    published: paper.Row | None = None
    """The same difference in the paper's table, in points, column by column (`paper.COLUMNS`)."""
    note: str = ""
    chosen_on: tuple[int, ...] = ()
    """Seeds by which its arms were chosen among others, and which therefore do not count."""
    chose: str = "the arms"
    """What these seeds chose, as figures say it."""
    beside: str = ""
    """An arm of the same ablation that its control may be worse than by itself: then a part of the effect may lie in that."""
    unequal: str = ""
    """Why its arms may differ in samples; without it only an arm's own field may make them differ."""

    @property
    def first_seeds(self) -> list[int]:
        """The first seeds that count, as many as a verdict needs."""
        counting = [seed for seed in range(self.seeds + len(self.chosen_on)) if seed not in self.chosen_on]
        return counting[: self.seeds]

    @property
    def in_points(self) -> bool:
        """Whether its value is told in points; a correlation is not."""
        return not isinstance(self.value, Correlated)

    def told(self, number: float, *, signed: bool = True, named: bool = False) -> str:
        """A value of its metric: a share in points, a correlation as it is, with an r before it where it is to be `named`."""
        factor, form, name = (100, ".1f", "") if self.in_points else (1, ".2f", "r ")
        return f"{name if named else ''}{factor * number:{'+' if signed else ''}{form}}"

    @property
    def of_students(self) -> bool:
        """Whether its value is of pre-trained students, rather than of captioner, filter and their captions."""
        return any(path.startswith(("worth.", "nlvr.", "binding.", "kinds.", "dialog.", "questions.")) for path in self.value.metrics)

    @property
    def in_recalls(self) -> bool:
        """Whether its value is a difference of R@1 alone, as in the paper's first columns."""
        return isinstance(self.value, Difference) and set(self.value.metrics) == {R1}


def value_at(found: Mapping[str, Any], metric: str) -> float | None:
    """A metric by its path, as in worth.retrieval.all.r1; InputError where there is none."""
    value: Any = found
    for name in metric.split("."):
        if not isinstance(value, Mapping) or name not in value:
            raise InputError(f"The results have no {metric}; run lab ablate again.")
        value = value[name]
    return value


def _known(values: Sequence[float | None]) -> list[float] | None:
    """The values, or None where one of them is None."""
    known = [value for value in values if value is not None]
    return known if len(known) == len(values) else None


def over(treated: str, control: str, metric: str = R1) -> Difference:
    """What one arm has over another."""
    return Difference(((treated, metric, 1.0), (control, metric, -1.0)))
