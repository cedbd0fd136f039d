"""Statistics of claims: paired intervals over seeds, intervals over items, and verdicts.

A run of another seed is another sample of what training gives, so the interval that decides is a paired t-interval
over seeds. Evaluation items say how sure we are of the models at hand and of no other: a second column.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from blip.errors import InputError

CONFIDENCE = 0.95
FEWEST_ITEMS = 30
_ROUNDING = 1e-12  # what float64 makes of sums and differences of shares is far less
REPRODUCED, OPPOSITE, EQUIVALENT, UNDECIDED = "reproduced", "opposite", "equivalent", "undecided"


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval; the bounds are infinite where the values say nothing of their spread."""

    mean: float
    low: float
    high: float

    @property
    def bounds(self) -> list[float | None]:
        """low and high as JSON values: None for what is infinite."""
        return [bound if math.isfinite(bound) else None for bound in (self.low, self.high)]


@dataclass(frozen=True)
class Effect:
    """The paired differences of n seeds: interval, and size = mean over standard deviation (Cohen's d_z).

    size is None where the differences do not vary or there is only one.
    """

    interval: Interval
    size: float | None
    n: int


def paired_effect(differences: Sequence[float], confidence: float = CONFIDENCE) -> Effect:
    """The t-interval of the mean of paired differences, one a seed (design: no bootstrap over few seeds).

    It covers the true mean as often as it says if the differences are about normal. Of one difference, and of several
    that are all equal, it has no bounds: metrics are counts over a few hundred items, so that a few seeds agree by chance,
    and a spread that was not seen is not known to be none. That holds for differences of 0 as well: equal counts do not
    show that two arms are equivalent. InputError for no difference, or one that is no number.
    """
    values = np.asarray(differences, dtype=float)
    if not len(values) or not np.isfinite(values).all():
        raise InputError("An effect needs the difference of at least one seed, and numbers only; run the cells first.")
    mean, spread, n = _mean(values), _spread(values), len(values)
    if not spread:
        return Effect(Interval(mean, -np.inf, np.inf), None, n)
    half = float(stdtrit(n - 1, 0.5 + confidence / 2)) * spread / np.sqrt(n)
    return Effect(Interval(mean, mean - half, mean + half), mean / spread, n)


def _mean(values: np.ndarray) -> float:
    """Their mean; 0 where only rounding is left of it."""
    mean = float(values.mean())
    return mean if abs(mean) > _ROUNDING else 0.0


def _spread(values: np.ndarray) -> float:
    """Their standard deviation; 0 of one, and where they differ by rounding alone, which is no spread that training has."""
    if len(values) < 2:
        return 0.0
    spread = float(values.std(ddof=1))
    return spread if spread > _ROUNDING * max(1.0, float(np.abs(values).max())) else 0.0


def verdict(effect: Effect, *, margin: float, least: int) -> str:
    """What an effect says, counted so that the paper's direction is positive.

    equivalent: the whole interval lies inside the margin, the smallest effect that counts, whatever its sign.
    reproduced, opposite: it lies above, below 0. undecided: it does neither, as where it has no bounds (all differences
    are equal, be they 0), or fewer seeds than `least` were run.
    """
    if margin < 0 or least < 2:
        raise InputError(f"A verdict with margin {margin} and {least} seeds cannot be; give 0 or more, and 2 or more.")
    low, high = effect.interval.low, effect.interval.high
    if effect.n < least:
        return UNDECIDED
    if -margin < low and high < margin:
        return EQUIVALENT
    if low > 0:
        return REPRODUCED
    return OPPOSITE if high < 0 else UNDECIDED


def p_value(differences: Sequence[float]) -> float:
    """The two-sided p of the paired t-test that the mean difference is 0; 1 where one seed, equal differences, or what is
    no number says nothing of spread."""
    values = np.asarray(differences, dtype=float)
    if not np.isfinite(values).all() or not (spread := _spread(values)):
        return 1.0
    return float(2 * stdtr(len(values) - 1, -abs(_mean(values)) / (spread / np.sqrt(len(values)))))


def all_true(each: Sequence[float], level: float = 1 - CONFIDENCE) -> list[bool]:
    """Which of several tests hold, by their p values, so that at most with chance `level` any of these is false (Holm 1979).

    Whatever their dependence.
    """
    held = [False] * len(each)
    for left, at in zip(range(len(each), 0, -1), np.argsort(each, kind="stable"), strict=True):
        if each[at] > level / left:
            break
        held[at] = True
    return held


def mostly_true(each: Sequence[float], level: float = 1 - CONFIDENCE, *, whatever: bool = False) -> list[bool]:
    """Which of several tests hold so that of these at most the share `level` is expected to be false.

    For tests that are independent or rise together (Benjamini and Hochberg 1995), or whatever their dependence (Benjamini
    and Yekutieli 2001).
    """
    from scipy.stats import false_discovery_control  # takes longer to import than all else here

    method = "by" if whatever else "bh"
    return [bool(one <= level) for one in false_discovery_control(each, method=method)] if len(each) else []


def seeds_wanted(differences: Sequence[float], *, margin: float, least: int, most: int = 100) -> int | None:
    """How many seeds would give a verdict if mean and spread of the differences stayed what they are.

    A plan, not a promise: both move with further seeds, and who adds seeds after a look is somewhat too sure of the
    interval. None beyond `most`, and where one seed, or equal differences, say nothing of spread.
    """
    values = np.asarray(differences, dtype=float)
    mean, spread = abs(_mean(values)), _spread(values)
    if not spread:
        return None
    for n in range(max(len(values), least), most + 1):
        half = float(stdtrit(n - 1, 0.5 + CONFIDENCE / 2)) * spread / np.sqrt(n)
        if half < mean or mean + half < margin:
            return n
    return None


def item_interval(
    differences: np.ndarray, *, draws: int = 2_000, seed: int = 0, confidence: float = CONFIDENCE
) -> Interval:
    """The percentile bootstrap over evaluation items of their mean paired difference (items,).

    It speaks of these models and other items. InputError for fewer than 30 items, where percentiles cover less
    than they say; seeds are fewer, so they never come here.
    """
    values = np.asarray(differences, dtype=float)
    if len(values) < FEWEST_ITEMS:
        raise InputError(
            f"A bootstrap over {len(values)} values covers less than it says; give at least {FEWEST_ITEMS} "
            "items, and for seeds take the paired t-interval."
        )
    return _resampled(values[None], np.ones(len(values)), draws, seed, confidence)[0]


def grouped_intervals(
    values: np.ndarray, groups: np.ndarray, *, draws: int = 2_000, seed: int = 0, confidence: float = CONFIDENCE
) -> list[Interval]:
    """The percentile bootstrap of each mean of values (M, N) over groups (N,) of items, numbered from 0.

    Groups are drawn with all that is theirs: ten questions about one picture are less than ten pictures. InputError
    for fewer than 30 groups.
    """
    sizes = np.bincount(groups)
    if len(sizes) < FEWEST_ITEMS:
        raise InputError(f"A bootstrap over {len(sizes)} groups covers less than it says; give at least {FEWEST_ITEMS}.")
    sums = np.stack([np.bincount(groups, weights=one) for one in values])
    return _resampled(sums, sizes, draws, seed, confidence)


def _resampled(sums: np.ndarray, sizes: np.ndarray, draws: int, seed: int, confidence: float) -> list[Interval]:
    """Means of M kinds of values by what G groups, of so many items each, sum up to: (M, G) and (G,)."""
    rng, count = np.random.default_rng(seed), len(sizes)
    # In parts, so that thousands of groups do not make a table of draws times groups.
    part = max(1, min(100, 2_000_000 // count))
    means = []
    for _ in range(-(-draws // part)):
        drawn = rng.integers(count, size=(part, count))
        means.append(np.take(sums, drawn, axis=1).sum(2) / sizes[drawn].sum(1))
    low, high = np.quantile(np.concatenate(means, axis=1), [0.5 - confidence / 2, 0.5 + confidence / 2], axis=1)
    middle = sums.sum(1) / sizes.sum()
    return [Interval(*map(float, one)) for one in zip(middle, low, high, strict=True)]


def correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Pearson's correlation in [-1, 1] of two lists; 0 where one of them does not vary."""
    if len(x) != len(y) or len(x) < 3:
        raise InputError(f"A correlation of {len(x)} and {len(y)} values cannot be; give two lists of 3 or more.")
    a, b = (np.asarray(values, dtype=float) - np.mean(values) for values in (x, y))
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm else 0.0
