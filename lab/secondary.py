"""Secondary outcomes: what else the arms of a claim differ in, besides the one number that decides it.

The same difference of the same arms and seeds, in other measures of the same students. None was stated before the
runs, so none gives a verdict: they help to understand one.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lab.ablation.own_table import Table
from lab.claim import Claim, Difference
from lab.claim_records import Measured, best
from lab.outcomes import OUTCOMES, Outcome, effect_in, leaves_out_0, told
from lab.page_parts import markdown
from lab.stats import Effect
from lab.whose_record import OWN_PAIRS

Outcomes = tuple[Claim, list[Effect | None]]
"""A claim with its effect in every outcome; None where one is missing."""
HOW = (
    "Effects in points, CIDEr-D in hundredths, with 95% intervals over the same seeds; bold where the interval leaves out 0. "
    "Only the first column was stated before the runs and decides. The others give no verdict: of twenty such intervals "
    "about one leaves out 0 by chance."
)


def secondary(shown: Measured) -> list[Outcomes]:
    """The claims of an ablation that a difference in R@1 decides, each with its effect in every outcome."""
    claims = [one.claim for one in shown.decided if one.claim.in_recalls and isinstance(one.claim.value, Difference)]
    return [(claim, [effect_in(outcome, claim, shown.arms) for outcome in OUTCOMES]) for claim in claims]


def secondary_markdown(records: Sequence[Mapping[str, Any]], own: Table | None = None) -> str:
    """A table of all claims that R@1 decides by their outcomes, from the best record of each ablation; own as in `best`.

    Own pairs have rows of their own, which say so.
    """
    each = [one for own_pairs in (False, True) for one in best(records, own, own_pairs=own_pairs).values()]
    rows = [_row(shown, claim, effects) for shown in each for claim, effects in secondary(shown)]
    return f"{HOW}\n\n{markdown(['claim', *(one.name for one in OUTCOMES)], rows)}"


def _row(shown: Measured, claim: Claim, effects: Iterable[Effect | None]) -> list[str]:
    return [f"{claim.says} ({OWN_PAIRS})" if shown.own_pairs else claim.says, *(_cell(effect, one) for effect, one in zip(effects, OUTCOMES, strict=True))]


def _cell(effect: Effect | None, outcome: Outcome) -> str:
    if effect is None:
        return "-"
    mean, bounds = told(effect, outcome)
    return f"{f'**{mean}**' if leaves_out_0(effect) else mean} ({bounds})"
