"""Outcomes of students: the same difference of a claim's arms and seeds, in other measures than the one that decides."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lab.arm_metrics import at
from lab.claim import R1, Claim, Difference
from lab.stats import Effect, paired_effect

CIDER = "worth.captions.all.cider"
Arms = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""What was measured, by arm and seed, as a record has it."""


@dataclass(frozen=True)
class Outcome:
    """A measure of a student: its name, its path in the records, and the factor and unit by which it is told."""

    name: str
    path: str
    factor: float = 100.0
    unit: str = ""


Contrary = tuple[Outcome, Effect]
"""An outcome with an effect that goes the other way."""
OUTCOMES = (
    Outcome("R@1 (decides)", R1),
    Outcome("R@1 by ITC alone", "worth.retrieval.all.itc_r1"),
    Outcome("R@1, other style", "worth.retrieval.sketch.r1"),
    Outcome("strictly true captions", "worth.captions.all.strictly_true"),
    Outcome("strictly true, out of domain", "worth.captions.out.strictly_true"),
    Outcome("CIDEr-D", CIDER, unit=" hundredths"),
    Outcome("AUC of near misses", "worth.filter.auc.near_miss"),
)
"""Shares and AUC in points; CIDEr-D, which goes from 0 to 10, in hundredths."""


def effect_in(outcome: Outcome, claim: Claim, arms: Arms) -> Effect | None:
    """A claim's effect in an outcome, over the seeds that have it and that count; None where there is none."""
    if not isinstance(claim.value, Difference):
        return None
    values = {arm: {seed: at(found, outcome.path) for seed, found in arms.get(arm, {}).items()} for arm in claim.value.arms}
    known = {arm: {seed: value for seed, value in own.items() if value is not None} for arm, own in values.items()}
    seeds = set.intersection(*map(set, known.values())) - set(map(str, claim.chosen_on))
    differences = [sum(weight * known[arm][seed] for arm, _, weight in claim.value.terms) for seed in sorted(seeds, key=int)]
    return paired_effect(differences) if differences else None


def contrary(claim: Claim, effect: float, arms: Arms) -> list[Contrary]:
    """Of a claim that R@1 decides: the other outcomes whose whole interval lies on the other side of 0 than its effect."""
    each = [(outcome, effect_in(outcome, claim, arms)) for outcome in OUTCOMES[1:]] if claim.in_recalls else []
    return [(outcome, one) for outcome, one in each if one is not None and leaves_out_0(one) and one.interval.mean * effect < 0]


def leaves_out_0(effect: Effect) -> bool:
    """Whether the interval lies on one side of 0."""
    return effect.interval.low > 0 or effect.interval.high < 0


def told(effect: Effect, outcome: Outcome) -> tuple[str, str]:
    """An effect and its interval as people read them, or why it has none."""
    if None in effect.interval.bounds:
        return f"{outcome.factor * effect.interval.mean:+.1f}", "one seed" if effect.n == 1 else "equal at all seeds"
    mean, low, high = (f"{outcome.factor * one:+.1f}" for one in (effect.interval.mean, effect.interval.low, effect.interval.high))
    return mean, f"{low} to {high}"
