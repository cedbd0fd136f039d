"""The sample of an audit: drawn from a ledger of any size, stratified by origin and score, with known chances.

Two passes over the scores, shard by shard. Memory is that of a few shards, of four histograms (32 MiB) and of
the sample.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from blip.capfilt import Ledger, Policy
from blip.capfilt.decide import verdicts
from blip.capfilt.ranking import MISSING, ranks
from blip.errors import InputError
from lab.audit import Stratum

ORIGINS = ("web", "synthetic")
_BINS_A_SIDE = 4
_SHIFT = 12  # quantiles are found among the upper 20 bits of a rank: a score to 1 in 2,000 of itself
_COARSE = 2 ** (32 - _SHIFT)
_MOST = 2 * _BINS_A_SIDE + 1  # strata an origin: both sides of the threshold, and no score


@dataclass(frozen=True)
class Drawn:
    """A sampled caption: where it stands (shard and row), its stratum, score (None without one) and verdict."""

    shard: str
    row: int
    stratum: int
    score: float | None
    kept: bool


def draw(ledger: Ledger, policy: Policy, size: int, seed: int) -> tuple[list[Stratum], list[Drawn]]:
    """Strata and a simple random sample without replacement of each, in the ledger's order.

    Strata of an origin (human captions count as web): four of about equal count below and four from its
    threshold on, and the captions without a score. Each origin gets the same share of `size`; the two strata
    beside the threshold get twice that of another, where verdicts are least sure. The same ledger, policy and
    seed give the same sample. InputError where size is too small for two captions a stratum.
    """
    edges = _edges(ledger, policy)
    found = _smallest(ledger, policy, edges, size, seed)
    numbers = [number for number in found if found[number].captions]
    if not numbers:
        raise InputError(f"The ledger in {ledger.folder} holds no caption to judge; run lab capfilt on other data.")
    captions = np.array([found[number].captions for number in numbers])
    least = int(np.minimum(captions, 2).sum())
    if size < least:
        raise InputError(f"--size {size} is too few for {len(numbers)} strata; give {least} or more.")
    counts = allocated(captions, _weights(numbers), size)
    strata, rows = [], []
    for new, (number, count) in enumerate(zip(numbers, counts.tolist(), strict=True)):
        strata.append(Stratum(ORIGINS[number // _MOST], found[number].captions, count))
        rows += found[number].rows(new, count)
    return strata, sorted(rows, key=lambda drawn: (drawn.shard, drawn.row))


def allocated(captions: np.ndarray, weight: np.ndarray, size: int) -> np.ndarray:
    """How many to draw of each stratum (H,): two at least, more in proportion to weight, at most all of it."""
    counts = np.minimum(captions, 2)
    for _ in range(min(size, int(captions.sum())) - int(counts.sum())):
        claim = np.where(counts < captions, weight / (counts + 1), -1.0)
        counts[np.argmax(claim)] += 1
    return counts


def identity(ledger: Ledger) -> str:
    """What names a ledger's captions: SHA-256 over the hashes of its candidate shards."""
    digest = hashlib.sha256()
    for entry in ledger.entries("candidates"):
        digest.update(f"{entry.shard} {entry.sha256}\n".encode())
    return digest.hexdigest()


def _shards(ledger: Ledger, policy: Policy) -> Iterator[tuple[str, pa.Table, np.ndarray, np.ndarray]]:
    """Each shard's name and verdicts, with its rows' (N,) origins (numbers) and ranks."""
    shards = zip(ledger.entries("candidates"), verdicts(ledger, policy, ("origin",)), strict=True)
    for entry, rows in shards:
        yield entry.shard, rows, np.asarray(pc.equal(rows["origin"], "synthetic"), np.int64), ranks(rows["score"])


def _edges(ledger: Ledger, policy: Policy) -> list[np.ndarray]:
    """For each origin the last rank of every stratum but the one without scores."""
    limits = np.array([policy.web, policy.synthetic], np.float32)
    cuts = ranks(pa.chunked_array([pa.array(limits)])).astype(np.int64)
    total = np.zeros((2, 2, _COARSE), np.int64)
    for _, _, origin, found in _shards(ledger, policy):
        known = found != MISSING
        origin, found = origin[known], found[known].astype(np.int64)
        places = (2 * origin + (found > cuts[origin])) * _COARSE + (found >> _SHIFT)
        values, counts = np.unique(places, return_counts=True)
        total.reshape(-1)[values] += counts
    return [_origin_edges(own, int(cut)) for own, cut in zip(total, cuts, strict=True)]


def _origin_edges(counts: np.ndarray, cut: int) -> np.ndarray:
    """Quantiles of the captions that reach the threshold, its rank, quantiles of those below it."""
    shares = np.arange(1, _BINS_A_SIDE) / _BINS_A_SIDE
    sides = []
    for own in counts:
        running = np.cumsum(own)
        sides.append((np.searchsorted(running, shares * running[-1]) + 1 << _SHIFT) - 1)
    return np.concatenate([np.minimum(sides[0], cut), [cut], np.clip(sides[1], cut, int(MISSING) - 1), [int(MISSING) - 1]])


def _weights(numbers: Sequence[int]) -> np.ndarray:
    """Each stratum's claim on the sample (H,): those of an origin add up to 1."""
    beside = np.isin(np.array(numbers) % _MOST, (_BINS_A_SIDE - 1, _BINS_A_SIDE))
    claim, origin = np.where(beside, 2.0, 1.0), np.array(numbers) // _MOST
    return claim / np.bincount(origin, claim)[origin]


class _Reservoir:
    """The rows of a stratum that drew the smallest random numbers: a simple random sample of it."""

    def __init__(self, most: int) -> None:
        self.captions, self._most = 0, most
        self._kept: list[tuple[float, str, int, dict[str, Any]]] = []

    def add(self, shard: str, numbers: np.ndarray, rows: np.ndarray, table: pa.Table) -> None:
        """Rows (n,) of a shard with their random numbers (n,)."""
        self.captions += len(rows)
        if len(self._kept) == self._most:
            fits = numbers < self._kept[-1][0]
            numbers, rows = numbers[fits], rows[fits]
        best = np.argsort(numbers)[: self._most]
        chosen = table.select(["score", "kept"]).take(pa.array(rows[best])).to_pylist()
        new = zip(numbers[best].tolist(), rows[best].tolist(), chosen, strict=True)
        self._kept = sorted([*self._kept, *((u, shard, row, own) for u, row, own in new)], key=lambda one: one[:3])
        del self._kept[self._most :]

    def rows(self, stratum: int, count: int) -> list[Drawn]:
        """The first so many of them."""
        return [Drawn(shard, row, stratum, _score(own["score"]), own["kept"]) for _, shard, row, own in self._kept[:count]]


def _score(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _smallest(ledger: Ledger, policy: Policy, edges: list[np.ndarray], size: int, seed: int) -> dict[int, _Reservoir]:
    """Every possible stratum by number: its captions counted, and its smallest draws."""
    found = {number: _Reservoir(size) for number in range(2 * _MOST)}
    for at, (shard, table, origin, own) in enumerate(_shards(ledger, policy)):
        numbers = np.random.default_rng([seed, at]).random(len(own))
        stratum = np.where(origin == 1, *(np.searchsorted(edges[side], own, "left") + _MOST * side for side in (1, 0)))
        for number in np.unique(stratum).tolist():
            rows = np.flatnonzero(stratum == number)
            found[number].add(shard, numbers[rows], rows, table)
    return found
