"""An audit's estimates: from people's answers on a stratified sample to precision and recall of a whole ledger.

Every caption of stratum h stands for N_h / n_h captions of the ledger (Horvitz and Thompson 1952). Shares are
ratios of such sums: precision among the kept captions, recall among the matching ones. Their variance is that
of the linearised ratio under stratified sampling without replacement (Särndal, Swensson and Wretman, Model
Assisted Survey Sampling, 1992, section 5.6). The interval is Wilson's with the sample size that gives this
variance in a simple sample, as Franco, Little, Louis and Slud recommend for shares near 0 and 1, where a filter's
precision lies (Comparative Study of Confidence Intervals for Proportions in Complex Sample Surveys, J. Survey
Statistics and Methodology, 2019): Wald's interval, or a bootstrap, of answers that are all yes has no width at all.
Where the answers of one stratum are all yes or all no, its variance is not 0 but unknown. It counts as if its share
were that of one answer more, half yes and half no (Jeffreys' prior); otherwise a few answers elsewhere would make
twenty yes speak for a large stratum as surely as all its captions. Recall has one more unknown: a large stratum below the
threshold in which no answer matched may hold matching captions all the same, and then recall is lower. Its lower end counts
one answer more there, half matching; without that, intervals of a policy that keeps few covered the truth in half of the
audits. A test simulates audits with known truth, of
good filters above all: intervals cover it about as often as they say, or more often.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_Z = 1.959963984540054  # of a 95% interval
GROUPS = ("web", "synthetic", "all")


@dataclass(frozen=True)
class Stratum:
    """Captions of one origin (web: all that came with the image) with scores of one range."""

    origin: str
    captions: int
    drawn: int


@dataclass(frozen=True)
class Sample:
    """Answered captions, row-aligned arrays (n,): origin "web" or "synthetic", stratum (its number), score
    (NaN where there is none), kept (the policy's verdict), match and unsure (of the image, by a person)."""

    strata: Sequence[Stratum]
    origin: np.ndarray
    stratum: np.ndarray
    score: np.ndarray
    kept: np.ndarray
    match: np.ndarray
    unsure: np.ndarray

    def of(self, group: str) -> "Sample":
        """The rows of one origin, or of "all"."""
        mine = np.ones(len(self.origin), bool) if group == "all" else self.origin == group
        rows = (self.origin, self.stratum, self.score, self.kept, self.match, self.unsure)
        return Sample(self.strata, *(values[mine] for values in rows))


@dataclass(frozen=True)
class Shares:
    """Estimated shares (T,) with the ends of their 95% intervals; NaN where nothing was sampled."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def at(self, row: int) -> dict[str, float | None]:
        """One of them as plain numbers, None for NaN."""
        found = {name: float(getattr(self, name)[row]) for name in ("value", "low", "high")}
        return {name: None if math.isnan(value) else value for name, value in found.items()}


def shares(holds: np.ndarray, domain: np.ndarray, stratum: np.ndarray, captions: np.ndarray, *, answered: bool = False) -> Shares:
    """In how much of a domain of the population something holds.

    holds, domain: (T, n) bool, T questions about n sampled rows. stratum: (n,) numbers from 0. captions: (H,)
    size of each stratum in the population, which must have at least one row. answered: whether the answers alone say
    what is in the domain, so that a stratum in which none of them is may hold some of it all the same (`_unseen`).
    """
    member = (stratum[:, None] == np.arange(len(captions))).astype(float)
    drawn = member.sum(0)
    weight = (captions / drawn)[stratum]
    inside = domain * weight
    total = inside.sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = (inside * holds).sum(1) / total
        residual = domain * (holds - value[:, None]) / total[:, None]
        spread = ((residual**2) @ member - (residual @ member) ** 2 / drawn) / np.maximum(drawn - 1, 1)
        likely, moved = _alike(holds, domain, member, captions)
        spread = np.maximum(spread, likely / total[:, None] ** 2)
        variance = (spread * captions**2 * (1 - drawn / captions) / drawn).sum(1)
        middle = value + moved / total
        (below, fewer), (above, more) = _unseen(holds, domain, member, captions, value) if answered else ((0.0, 0.0), (0.0, 0.0))
        low = _size(middle * total / (total + fewer), variance + below / total**2)
        high = _size((middle * total + more) / (total + more), variance + above / total**2)
    return Shares(value, _wilson(value, low)[0], _wilson(value, high)[1])


def _size(share: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Of a simple sample with this variance; what was drawn whole is known, and its is infinite."""
    return np.where(variance > 1e-18, share * (1 - share) / variance, np.inf)


_End = tuple[np.ndarray | float, np.ndarray | float]


def _unseen(
    holds: np.ndarray, domain: np.ndarray, member: np.ndarray, captions: np.ndarray, value: np.ndarray
) -> tuple[_End, _End]:
    """Of strata in which no answer is in the domain, by the end of the interval that they may move, lower and higher: what they
    add to the variance of the sums, and how many captions (T,) they may hold: one more answer, half in it, as in `_alike`.

    Of those in it as much holds as of the stratum's rows.
    """
    drawn = member.sum(0)
    empty = ((domain @ member) == 0) & (drawn < captions)
    inside, share = 0.5 / (drawn + 1), (holds @ member) / drawn
    spread = captions**2 / drawn * inside * (1 - inside) * (share - value[:, None]) ** 2
    sides = (empty & (share < value[:, None]), empty & (share > value[:, None]))
    low, high = ((np.where(side, spread, 0.0).sum(1), (side * captions * inside).sum(1)) for side in sides)
    return low, high


def _alike(holds: np.ndarray, domain: np.ndarray, member: np.ndarray, captions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What Jeffreys' prior says of strata whose answers in the domain are all alike and that were not drawn whole.

    Their variances (T, H), 0 for other strata, and by how many captions (T,) it moves what holds in all of them.
    """
    answers, yes, drawn = domain @ member, (domain & holds) @ member, member.sum(0)
    alike = (answers > 0) & ((yes == 0) | (yes == answers)) & (drawn < captions)
    share = (yes + 0.5) / (answers + 1)
    variance = np.where(alike, answers / drawn * share * (1 - share), 0.0)
    return variance, np.where(alike, (share * answers - yes) * captions / drawn, 0.0).sum(1)


def _wilson(value: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with np.errstate(divide="ignore", invalid="ignore"):
        middle = (value + _Z**2 / (2 * size)) / (1 + _Z**2 / size)
        half = _Z / (1 + _Z**2 / size) * np.sqrt(value * (1 - value) / size + (_Z / (2 * size)) ** 2)
    return np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)


def joined(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Strata fit for `shares`: (n,) their new numbers and (H,) their captions.

    A stratum with fewer than two answers (unless it was drawn whole) is joined with the next one of its
    origin, or the last one: its captions count as like those.
    """
    answers = np.bincount(sample.stratum, minlength=len(sample.strata))
    new = np.zeros(len(sample.strata), np.int64)
    groups: list[list[int]] = []
    for origin in dict.fromkeys(stratum.origin for stratum in sample.strata):
        own = [number for number, stratum in enumerate(sample.strata) if stratum.origin == origin]
        if answers[own].sum():
            groups += _grouped(own, sample.strata, answers)
    for number, members in enumerate(groups):
        new[members] = number
    captions = [sum(sample.strata[member].captions for member in members) for members in groups]
    return new[sample.stratum], np.array(captions, float)


def _grouped(own: Sequence[int], strata: Sequence[Stratum], answers: np.ndarray) -> list[list[int]]:
    groups: list[list[int]] = [[]]
    for number in own:
        groups[-1].append(number)
        found, captions = answers[groups[-1]].sum(), sum(strata[member].captions for member in groups[-1])
        if found >= 2 or found == captions:
            groups.append([])
    left = groups.pop()
    if left and groups:
        groups[-1] += left
    return groups or [left]


def estimate(sample: Sample, match: np.ndarray, precision: float) -> dict[str, Any]:
    """What the answers say of one group: shares matching, of the policy's verdicts, and at every threshold.

    match: (n,) bool, which rows count as matching. Thresholds are the sampled scores: between two of them
    no estimate changes. precision: what the suggested threshold's lower bound shall reach.
    """
    stratum, captions = joined(sample)
    thresholds = np.unique(sample.score[~np.isnan(sample.score)])
    reached = sample.score >= thresholds[:, None]
    kept = np.vstack([sample.kept, reached])
    matching = np.broadcast_to(match, kept.shape)
    everything = np.ones((1, len(match)), bool)
    before = shares(match[None], everything, stratum, captions)
    found = {
        "precision": shares(matching, kept, stratum, captions),
        "recall": shares(kept, matching, stratum, captions, answered=True),
        "kept": shares(kept, np.broadcast_to(everything, kept.shape), stratum, captions),
    }
    rows = [{name: own.at(row) for name, own in found.items()} for row in range(len(kept))]
    curve = [{"threshold": float(t)} | row for t, row in zip(thresholds, rows[1:], strict=True)]
    answered = {"answers": len(match), "captions": int(captions.sum())}
    return answered | {
        "matching": before.at(0),
        "policy": rows[0],
        "suggested": suggested(curve, precision),
        "curve": curve,
    }


def suggested(curve: Sequence[dict[str, Any]], precision: float) -> dict[str, Any] | None:
    """The lowest threshold whose precision's lower bound reaches `precision`, else the one with the best F1.

    The bound holds at one threshold; that the lowest of many was chosen makes it a little too hopeful.
    """
    known = [row for row in curve if row["recall"]["value"] is not None]
    if not known:
        return None
    reaching = [row for row in known if row["precision"]["low"] >= precision]
    chosen = reaching[0] if reaching else max(known, key=f1)
    rule = f"precision at least {precision:g} with 95% confidence" if reaching else "best F1"
    below = [row["threshold"] for row in curve if row["threshold"] < chosen["threshold"]]
    rounded = _shortest(max(below, default=-math.inf), chosen["threshold"])
    return {"rule": rule} | chosen | {"threshold": rounded}


def f1(row: dict[str, Any]) -> float:
    """Harmonic mean of precision and recall; 0 where both are."""
    precision, recall = row["precision"]["value"], row["recall"]["value"]
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _shortest(low: float, high: float) -> float:
    """The number with the fewest decimals above `low` and at most `high`: nothing was sampled between."""
    if not math.isfinite(high):
        return high
    for digits in range(9):
        number = math.floor(high * 10**digits) / 10**digits
        if low < number:
            return number
    return high
