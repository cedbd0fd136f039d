"""What a claim is: a number a seed, made of metrics of arms, and what counts as an answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from blip.errors import InputError
from lab import paper
from lab.stats import correlation

Results = Mapping[str, Mapping[str, Any]]
"""What the arms of one seed found, by arm and measure."""
Cells = Mapping[int, Results]
"""The same by seed."""
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

    def each(self, cells: Cells) -> dict[int, float]:
        """Its value by seed, of the seeds for which it could be measured."""
        return _measured({seed: self.of(results) for seed, results in cells.items()})

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

    def each(self, cells: Cells) -> dict[int, float]:
        """Its value by seed, of the seeds for which it could be measured."""
        return _measured({seed: self.of(results) for seed, results in cells.items()})

    def of(self, results: Results) -> float | None:
        """Its value; None where a metric could not be measured."""
        x, y = (_known([value_at(results[arm], metric) for arm in self.arms]) for metric in (self.x, self.y))
        return None if x is None or y is None else correlation(x, y)


@dataclass(frozen=True)
class BestOver:
    """What the best of some arms has over the best of others, as where each way has a learning rate of its own.

    A seed's arms are those that are best on average over the *other* seeds, so that no number is chosen by itself;
    the best of n noisy numbers would be too good, and more so where there are more of them.
    """

    treated: tuple[str, ...]
    control: tuple[str, ...]
    metric: str = R1

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms it needs."""
        return (*self.treated, *self.control)

    @property
    def metrics(self) -> tuple[str, ...]:
        """What it is made of, each metric once."""
        return (self.metric,)

    def each(self, cells: Cells) -> dict[int, float]:
        """Its value by seed; none for fewer than two seeds, or where the metric could not be measured."""
        values = {seed: own for seed, results in cells.items() if (own := self._of(results)) is not None}
        return {
            seed: own[_best(self.treated, others)] - own[_best(self.control, others)]
            for seed, own in values.items()
            if (others := [other for at, other in values.items() if at != seed])
        }

    def _of(self, results: Results) -> dict[str, float] | None:
        values = _known([value_at(results[arm], self.metric) for arm in self.arms])
        return None if values is None else dict(zip(self.arms, values, strict=True))


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim; its value is counted so that what the paper says, or the field supposes, is positive."""

    id: str
    ablation: str
    says: str
    value: Difference | Correlated | BestOver
    margin: float
    """The smallest effect that counts: an interval within it on both sides is equivalence."""
    seeds: int = 3
    """Fewest seeds for a verdict."""
    source: str
    """Where it comes from."""
    published: paper.Row | None = None
    """The same difference in the paper's table, in points, column by column (`paper.COLUMNS`)."""
    note: str = ""
    unequal: str = ""
    """Why its arms may differ in samples; without it only an arm's own field may make them differ."""

    @property
    def in_points(self) -> bool:
        """Whether its value is a difference, told in points; a correlation is not."""
        return not isinstance(self.value, Correlated)

    @property
    def in_recalls(self) -> bool:
        """Whether its value is made of R@1 alone, as the paper's first columns are."""
        return self.in_points and set(self.value.metrics) == {R1}


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


def _measured(values: Mapping[int, float | None]) -> dict[int, float]:
    return {seed: value for seed, value in values.items() if value is not None}


def _best(arms: Sequence[str], others: Sequence[Mapping[str, float]]) -> str:
    return max(arms, key=lambda arm: fmean(own[arm] for own in others))


def over(treated: str, control: str, metric: str = R1) -> Difference:
    """What one arm has over another."""
    return Difference(((treated, metric, 1.0), (control, metric, -1.0)))
