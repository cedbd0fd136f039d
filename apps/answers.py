"""What the studio's service answers with: captions, cards, pages and counts, as plain values."""

from dataclasses import dataclass

from blip.capfilt.quality import Kept


@dataclass(frozen=True)
class Caption:
    """A caption with everything the ledger knows of it. score is None where the filter gave none.

    text is what the filter has read; better: what a person wants in its place, whose truth is not known.
    borderline: another device or precision may decide otherwise (see blip.capfilt.tolerance).
    """

    row_id: str
    origin: str
    text: str
    better: str | None
    score: float | None
    itc: float | None
    mean_logprob: float | None
    truth: str | None
    noise_kind: str | None
    kept: bool
    by_person: bool
    borderline: bool


@dataclass(frozen=True)
class Card:
    """An image of a page, by number and key, with its captions: given ones first, then synthetic ones."""

    number: int
    key: str
    captions: tuple[Caption, ...]


@dataclass(frozen=True)
class Page:
    """The cards of a page, its number from 0, and how many images and pages the question has."""

    cards: tuple[Card, ...]
    number: int
    size: int
    images: int

    @property
    def pages(self) -> int:
        """Pages in all, at least one."""
        return max(1, -(-self.images // self.size))


@dataclass(frozen=True)
class Tally:
    """Captions of one origin under a policy: kept and filtered ones, counted by truth (None: unknown)."""

    kept_by_truth: dict[str | None, int]
    filtered_by_truth: dict[str | None, int]

    @property
    def kept(self) -> int:
        """Captions kept."""
        return sum(self.kept_by_truth.values())

    @property
    def filtered(self) -> int:
        """Captions filtered."""
        return sum(self.filtered_by_truth.values())

    @property
    def rates(self) -> dict[str, float | None]:
        """precision and recall of what is kept, true_before; among captions whose truth is known."""
        kept, filtered = (
            {truth: n for truth, n in side.items() if truth is not None}
            for side in (self.kept_by_truth, self.filtered_by_truth)
        )
        true = kept.get("true", 0)
        everything = sum(kept.values()) + sum(filtered.values())
        known_true = true + filtered.get("true", 0)
        return Kept(true, sum(kept.values()) - true, known_true, everything - known_true).rates()

    @property
    def false_share(self) -> float | None:
        """Share of false captions among the kept ones whose truth is known."""
        known = sum(n for truth, n in self.kept_by_truth.items() if truth is not None)
        return self.kept_by_truth.get("false", 0) / known if known else None
