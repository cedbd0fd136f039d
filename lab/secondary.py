"""Secondary outcomes: what else the arms of a claim differ in, besides the one number that decides it.

The same difference of the same arms and seeds, in other measures of the same students. None was stated before the
runs, so none gives a verdict: they help to understand one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.ablation.own_table import Table
from lab.claim import R1, Claim, Difference
from lab.claim_records import Measured, best
from lab.page_parts import markdown
from lab.stats import Effect, paired_effect
from lab.whose_record import OWN_PAIRS


@dataclass(frozen=True)
class Outcome:
    """A measure of a student: its name, its path in the records, and the factor by which it is told."""

    name: str
    path: str
    factor: float = 100.0


Outcomes = tuple[Claim, list[Effect | None]]
"""A claim with its effect in every outcome; None where one is missing."""
OUTCOMES = (
    Outcome("R@1 (decides)", R1),
    Outcome("R@1 by ITC alone", "worth.retrieval.all.itc_r1"),
    Outcome("R@1, other style", "worth.retrieval.sketch.r1"),
    Outcome("strictly true captions", "worth.captions.all.strictly_true"),
    Outcome("strictly true, out of domain", "worth.captions.out.strictly_true"),
    Outcome("CIDEr-D", "worth.captions.all.cider"),
    Outcome("AUC of near misses", "worth.filter.auc.near_miss"),
)
"""Shares and AUC in points; CIDEr-D, which goes from 0 to 10, in hundredths."""
HOW = (
    "Effects in points, CIDEr-D in hundredths, with 95% intervals over the same seeds; bold where the interval leaves out 0. "
    "Only the first column was stated before the runs and decides. The others give no verdict: of twenty such intervals "
    "about one leaves out 0 by chance."
)


def secondary(shown: Measured) -> list[Outcomes]:
    """The claims of an ablation that a difference in R@1 decides, each with its effect in every outcome."""
    claims = [one.claim for one in shown.decided if one.claim.in_recalls and isinstance(one.claim.value, Difference)]
    return [(claim, [_effect(shown, claim, outcome) for outcome in OUTCOMES]) for claim in claims]


def secondary_markdown(records: Sequence[Mapping[str, Any]], own: Table | None = None) -> str:
    """A table of all claims that R@1 decides by their outcomes, from the best record of each ablation; own as in `best`.

    Own pairs have rows of their own, which say so.
    """
    each = [one for own_pairs in (False, True) for one in best(records, own, own_pairs=own_pairs).values()]
    rows = [_row(shown, claim, effects) for shown in each for claim, effects in secondary(shown)]
    return f"{HOW}\n\n{markdown(['claim', *(one.name for one in OUTCOMES)], rows)}"


def leaves_out_0(effect: Effect) -> bool:
    """Whether the interval lies on one side of 0."""
    return effect.interval.low > 0 or effect.interval.high < 0


def told(effect: Effect, outcome: Outcome) -> tuple[str, str]:
    """An effect and its interval as people read them."""
    if effect.n == 1:
        return f"{outcome.factor * effect.interval.mean:+.1f}", "one seed"
    mean, low, high = (f"{outcome.factor * one:+.1f}" for one in (effect.interval.mean, effect.interval.low, effect.interval.high))
    return mean, f"{low} to {high}"


def _effect(shown: Measured, claim: Claim, outcome: Outcome) -> Effect | None:
    if not isinstance(claim.value, Difference):
        return None
    values, terms = shown.of(outcome.path), claim.value.terms
    seeds = set.intersection(*(set(values.get(arm, {})) for arm in claim.value.arms)) - set(map(str, claim.chosen_on))
    differences = [sum(weight * values[arm][seed] for arm, _, weight in terms) for seed in sorted(seeds, key=int)]
    return paired_effect(differences) if differences else None


def _row(shown: Measured, claim: Claim, effects: Iterable[Effect | None]) -> list[str]:
    return [f"{claim.says} ({OWN_PAIRS})" if shown.own_pairs else claim.says, *(_cell(effect, one) for effect, one in zip(effects, OUTCOMES, strict=True))]


def _cell(effect: Effect | None, outcome: Outcome) -> str:
    if effect is None:
        return "-"
    mean, bounds = told(effect, outcome)
    return f"{f'**{mean}**' if leaves_out_0(effect) else mean} ({bounds})"
