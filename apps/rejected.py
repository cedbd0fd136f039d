"""What a ledger could not use, in words: how many pairs were rejected, and for which reasons."""

from collections import Counter
from dataclasses import dataclass

from blip.capfilt import Ledger
from lab.datacard import plain_reason

_MOST_SAID = 6  # reasons


@dataclass(frozen=True)
class Rejected:
    """Input pairs that were rejected, and the rejects (images, texts and files) by their reasons, the commonest first."""

    pairs: int
    reasons: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, ledger: Ledger) -> "Rejected":
        """Those of a ledger; synthetic captions that failed cost no pair and are left out. InputError where it is damaged."""
        counts: Counter[str] = Counter()
        pairs = 0
        for entry in ledger.entries("rejects"):
            rows = ledger.read("rejects", entry.shard, ["kind", "reason", "pairs"])
            found = rows.group_by(["kind", "reason"]).aggregate([([], "count_all"), ("pairs", "sum")]).to_pylist()
            for row in (own for own in found if own["kind"] != "caption"):
                counts[plain_reason(row["reason"])] += row["count_all"]
                pairs += row["pairs_sum"]
        return cls(pairs, tuple(sorted(counts.items(), key=lambda own: (-own[1], own[0]))))

    def words(self) -> str:
        """The reasons with their counts, those beyond the commonest as one; "" where nothing was rejected."""
        said = [f"{reason} ({count:,})" for reason, count in self.reasons[:_MOST_SAID]]
        left = sum(count for _, count in self.reasons[_MOST_SAID:])
        return "; ".join([*said, f"other reasons ({left:,})"] if left else said)
