"""Which texts a model is pre-trained on: raw ones, synthetic ones, and how they are mixed, as a value."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from blip.capfilt import Ledger, Policy
from blip.capfilt.decide import verdicts
from blip.data.pairs import Pair
from blip.data.text import hash64
from blip.errors import InputError
from lab.world.sets import WorldPair

_ALL, _NONE = 0.0, 2.0  # thresholds of a match probability that every caption reaches, and none
_COLUMNS = ("image_key", "origin", "caption", "truth")
Item = TypeVar("Item", WorldPair, Pair)


@dataclass(frozen=True, kw_only=True)
class Mix:
    """The texts of a ledger that are trained on; the default is the paper's choice (section 3.3).

    The fields work one after the other, in the order they have here, each on what the ones before it left.
    """

    policy: Policy = field(default_factory=Policy)
    as_many_as: Policy | None = None
    """Of each origin as many as this other policy keeps, those that score best under `policy`."""
    ranked_with: Policy | None = None
    """Best are those of the highest mean of ranks under `policy` and this one. Ranks, not a sum of scores: match
    probabilities crowd at 0 and 1 and cosines lie close together, so that one of them would decide a sum alone."""
    by_truth: bool = False
    """Truth decides in place of every score: a perfect filter, which only a generated world has."""
    where_raw_fails: bool = False
    """Synthetic captions only of images none of whose web texts is kept."""
    synthetic_share: float | None = None
    """Of each image either the synthetic captions, with this probability, or the web texts."""

    def __post_init__(self) -> None:
        if self.synthetic_share is not None and not 0 <= self.synthetic_share <= 1:
            raise InputError(f"A synthetic share of {self.synthetic_share} cannot be; give 0 to 1.")
        if self.ranked_with is not None and self.as_many_as is None:
            raise InputError("Ranks reach no threshold; give as_many_as with ranked_with.")

    def to_json(self) -> dict[str, Any]:
        """What decides the texts, as plain values; a field at its default is left out."""
        more = {
            "as_many_as": self.as_many_as and str(self.as_many_as),
            "ranked_with": self.ranked_with and str(self.ranked_with),
            "by_truth": self.by_truth,
            "where_raw_fails": self.where_raw_fails,
            "synthetic_share": self.synthetic_share,
        }
        return {"policy": str(self.policy)} | {k: v for k, v in more.items() if v is not None and v is not False}


BOTH = Mix()
FILTERED_WEB = Mix(policy=Policy(synthetic=_NONE))
UNFILTERED = Mix(policy=Policy(web=_ALL, synthetic=_ALL))
RAW = Mix(policy=Policy(web=_ALL, synthetic=_NONE))
SYNTHETIC = Mix(policy=Policy(web=_NONE))


def selected(ledger: Ledger, mix: Mix, items: Sequence[Item]) -> list[Item]:
    """The texts of a mix in the ledger's order, as pairs with the images of `items`, one for each image."""
    rows = pa.concat_tables(verdicts(ledger, mix.policy, _COLUMNS))
    keys = np.array(rows["image_key"].to_pylist())
    synthetic = np.array(rows["origin"].to_pylist()) == "synthetic"
    kept = np.array(rows["kept"].to_pylist())
    if mix.as_many_as is not None:
        wanted = pa.concat_tables(verdicts(ledger, mix.as_many_as, ("origin",)))["kept"]
        scores = np.array(rows["score"].to_pylist(), dtype=float)
        if mix.ranked_with is not None:
            other = pa.concat_tables(verdicts(ledger, mix.ranked_with, ("origin",)))["score"]
            scores = mean_ranks(scores, np.array(other.to_pylist(), dtype=float), synthetic)
        kept = _best(scores, synthetic, np.array(wanted.to_pylist()))
    if mix.by_truth:
        kept = np.array(rows["truth"].to_pylist()) == "true"
    if mix.where_raw_fails:
        kept &= ~(synthetic & np.isin(keys, keys[kept & ~synthetic]))
    if mix.synthetic_share is not None:
        draws = np.array([hash64(f"mix/{key}") % 2**32 / 2**32 for key in keys])
        kept &= synthetic == (draws < mix.synthetic_share)
    pairs, texts, chosen = {item.key: item for item in items}, rows["caption"].to_pylist(), rows["origin"].to_pylist()
    return [replace(pairs[keys[row]], caption=texts[row], origin=chosen[row]) for row in np.flatnonzero(kept)]


def mean_ranks(first: np.ndarray, second: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The mean (N,) of the ranks of two scores (N,), each counted from the lowest within its group (N,); ties share.

    A score that is missing (NaN) ranks behind every other.
    """
    found = np.empty(len(first))
    for group in np.unique(groups):
        own = groups == group
        found[own] = (_ranks(first[own]) + _ranks(second[own])) / 2
    return found


def _ranks(scores: np.ndarray) -> np.ndarray:
    """Ranks (N,) from 1 for the lowest score; equal scores have the mean of their places."""
    known = np.where(np.isnan(scores), -np.inf, scores)
    _, places, counts = np.unique(known, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]


def _best(scores: np.ndarray, synthetic: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Rows (N,) bool: of each origin as many as `wanted` has, those with the highest scores."""
    kept = np.zeros(len(scores), dtype=bool)
    for origin in (synthetic, ~synthetic):
        rows = np.flatnonzero(origin)
        order = rows[np.argsort(-scores[rows], kind="stable")]
        kept[order[: int((wanted & origin).sum())]] = True
    return kept
