"""A claim as a record decides it, and the words in which pages, notebooks, figures and the studio say so."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lab import paper
from lab.claim import Claim
from lab.outcomes import CIDER, Contrary, told
from lab.stats import OPPOSITE, REPRODUCED, UNDECIDED
from lab.whose_record import OWN_PAIRS

HOLDS = "holds"
"""The word for a claim that is reproduced where the paper has no number that could be."""
SHOWN = (0, 1, 6)
"""Of the paper's columns: COCO TR@1, COCO IR@1, NoCaps CIDEr."""
_SMALL = {REPRODUCED: "above 0, and smaller than what counts", OPPOSITE: "below 0, and smaller than what counts"}


@dataclass(frozen=True)
class Decided:
    """A claim with what a record says of it, and the scale at which that was measured."""

    claim: Claim
    row: dict[str, Any]
    scale: str
    doubt: str = ""
    """What is known against this measurement."""
    own_pairs: bool = False
    """Whether it was measured on own pairs, and not in the generated world."""
    contrary: Sequence[Contrary] = ()
    """The other outcomes of its arms that go the other way."""

    @property
    def where(self) -> str:
        """Where it was measured, as rows tell it: the scale, and that it is of own pairs."""
        return f"{OWN_PAIRS}, {self.scale}" if self.own_pairs else self.scale

    @property
    def note(self) -> str:
        """What the claim says of itself, and what is known against its measurement."""
        return " ".join(one for one in (self.claim.note, self.doubt, self.other_way) if one)

    @property
    def word(self) -> str:
        """The verdict in a word."""
        return word_of(self.claim, self.row["verdict"])

    @property
    def short(self) -> str:
        """The verdict as a figure has it, where the band is what is too small to count."""
        return f"{self.word}, too small to count" if self.is_small else self.word

    @property
    def is_small(self) -> bool:
        """Whether an interval beyond 0 has a mean that is smaller than the smallest effect that counts."""
        return self.row["verdict"] in _SMALL and abs(self.row["effect"]) < self.row["margin"]

    @property
    def judged(self) -> str:
        """The verdict, and that a mean beyond 0 is smaller than what counts."""
        return f"{self.word} ({_SMALL[self.row['verdict']]})" if self.is_small else self.word

    @property
    def cell(self) -> str:
        """The verdict as a table has it: with the names of the outcomes that go the other way."""
        names = "; ".join(outcome.name for outcome, _ in self.contrary)
        return f"{self.judged}; the other way: {names}" if names else self.judged

    @property
    def other_way(self) -> str:
        """The outcomes that go the other way, in a sentence; "" where none does."""
        if not self.contrary:
            return ""
        each = [f"{outcome.name} {mean}{outcome.unit} ({bounds})" for outcome, effect in self.contrary for mean, bounds in [told(effect, outcome)]]
        by = "Judged" if self.row["verdict"] == UNDECIDED else "Decided"
        go = "other outcomes go" if len(each) > 1 else "another outcome goes"
        return f"{by} by R@1 alone, while {go} the other way: {'; '.join(each)}{self._papers_cider()}."

    def _papers_cider(self) -> str:
        """That the paper's CIDEr goes the way of the claim, where CIDEr-D here does not."""
        effects = [effect.interval.mean for outcome, effect in self.contrary if outcome.path == CIDER]
        if not effects or self.claim.published is None or self.claim.published[SHOWN[-1]] * effects[0] >= 0:
            return ""
        gained = self.claim.published[SHOWN[-1]]
        return f", where the paper's CIDEr {'rises' if gained > 0 else 'falls'} (NoCaps {gained:+.1f})"


def word_of(claim: Claim, verdict: str) -> str:
    """A verdict of the records as it is said of a claim: what the paper has no number for holds, it is not reproduced."""
    return HOLDS if verdict == REPRODUCED and claim.published is None else verdict


def published(claim: Claim) -> str:
    """The paper's own differences in the columns shown, in points."""
    return "-" if claim.published is None else " / ".join(f"{claim.published[at]:+.1f}" for at in SHOWN)


PAPERS_COLUMNS = ", ".join(paper.COLUMNS[at] for at in SHOWN)
