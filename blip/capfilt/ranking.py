"""Ranks of scores as policies need them: exact, in bounded memory, without sorting a ledger.

A rank is a uint32 that falls as the float32 score rises, so that smaller is better. Ties go by row order.
"""

from collections.abc import Callable, Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

MISSING = np.uint32(2**32 - 1)
"""The rank of a score that is null or NaN: behind every other."""
_BIN = 2**16

Ranked = tuple[np.ndarray, np.ndarray]
"""Rows of a shard: synthetic (N,) bool and ranks (N,) uint32."""


def ranks(scores: pa.ChunkedArray) -> np.ndarray:
    """Ranks (N,) uint32 of float32 scores (N,)."""
    values = np.asarray(pc.fill_null(scores, float("nan")), np.float32) + np.float32(0)  # -0 becomes 0
    bits = values.view(np.uint32)
    # Floats order as their bits do, the negative ones backwards.
    rising = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
    return np.where(np.isnan(values), MISSING, ~rising)


def image_numbers(keys: pa.ChunkedArray) -> np.ndarray:
    """A number (N,) int64 for each image key, from 0 in order of first appearance."""
    keys = keys.combine_chunks()
    # Captions of an image mostly stand together: only the first of each run is looked up.
    changes = np.asarray(pc.not_equal(keys[1:], keys[:-1]))
    heads = np.flatnonzero(np.concatenate([np.ones(min(1, len(keys)), bool), changes]))
    numbers = np.asarray(pc.dictionary_encode(keys.take(pa.array(heads))).indices, np.int64)
    return np.repeat(numbers, np.diff(np.append(heads, len(keys))))


def best(chosen: np.ndarray, images: np.ndarray, found: np.ndarray, most: int) -> np.ndarray:
    """Of chosen rows (N,) bool the `most` best of each image; images and ranks are (N,)."""
    rows = np.flatnonzero(chosen)
    crowded = np.bincount(images[rows])[images[rows]] > most
    rows = rows[crowded]
    order = np.argsort((images[rows].astype(np.uint64) << np.uint64(32)) | found[rows], kind="stable")
    rows = rows[order]
    kept = chosen.copy()
    kept[rows[places(images[rows]) >= most]] = False
    return kept


def cuts(shards: Callable[[], Iterable[Ranked]], share: float) -> tuple[int, int]:
    """The last rank within the best `share` of the scored web and synthetic captions; -1 where that is none.

    `shards` is gone through twice: to count the upper halves of the ranks, then the lower halves in the
    bin of the cut, so that memory is that of two histograms.
    """
    high = np.zeros((2, _BIN), np.int64)
    for synthetic, found in shards():
        known = found != MISSING
        high += _histogram(synthetic[known], found[known] >> 16)
    wanted = [round(share * int(counts.sum())) for counts in high]
    bins = [int(np.searchsorted(np.cumsum(counts), most)) for counts, most in zip(high, wanted, strict=True)]
    low = np.zeros((2, _BIN), np.int64)
    for synthetic, found in shards():
        inside = (found >> 16 == np.where(synthetic, bins[1], bins[0])) & (found != MISSING)
        low += _histogram(synthetic[inside], found[inside] & (_BIN - 1))
    web, made = (
        bins[side] * _BIN + int(np.searchsorted(np.cumsum(low[side]), wanted[side] - high[side][: bins[side]].sum()))
        if wanted[side]
        else -1
        for side in (0, 1)
    )
    return web, made


def places(groups: np.ndarray) -> np.ndarray:
    """The place (N,) of each row within its run of equal values, from 0."""
    heads = np.concatenate([np.ones(min(1, len(groups)), bool), groups[1:] != groups[:-1]])
    starts = np.flatnonzero(heads)
    lengths = np.diff(np.append(starts, len(groups)))
    return np.arange(len(groups)) - np.repeat(starts, lengths)


def _histogram(synthetic: np.ndarray, bins: np.ndarray) -> np.ndarray:
    return np.bincount(synthetic * _BIN + bins.astype(np.int64), minlength=2 * _BIN).reshape(2, _BIN)
