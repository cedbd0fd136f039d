"""The cap on captions of the same text: exact, in two passes and bounded memory, without sorting a ledger.

The first pass counts texts in buckets by some bits of their hashes (a counting filter), which can only count
too many: a text whose bucket stays within the cap is within it too. The second pass counts the texts of the
other buckets one by one, in a hash table.
"""

import numpy as np

from blip.capfilt.ranking import places

_SMALL = 2**15


class Buckets:
    """Counts of texts by the upper bits of their hashes, until they are above `most`.

    rows: captions that will come at most. Memory is at most 2 bytes for each of them.
    """

    def __init__(self, rows: int, most: int) -> None:
        self._most = most
        kind = np.uint16 if most < _SMALL else np.uint64
        size = max(2, 2 * rows // np.dtype(kind).itemsize)
        self._counts: np.ndarray = np.zeros(1 << (size.bit_length() - 1), kind)

    def add(self, hashes: np.ndarray) -> None:
        """Count texts by their hashes (N,) int64."""
        # A count above `most` stays, and a part adds _SMALL at most, so that no count runs over.
        for start in range(0, len(hashes), _SMALL):
            at = _bucket(hashes[start : start + _SMALL], len(self._counts))
            at = at[self._counts[at] <= self._most]
            np.add.at(self._counts, at, self._counts.dtype.type(1))

    def crowded(self) -> np.ndarray:
        """Which buckets (a power of 2,) bool hold more than `most`: a text outside them is within the cap."""
        return self._counts > self._most


class Cap:
    """Lets the first `most` captions of each text through, shard after shard.

    crowded: what `Buckets` found in all shards. Memory is at most 128 bytes for each text in those buckets.
    """

    def __init__(self, crowded: np.ndarray, most: int) -> None:
        self._crowded, self._most = crowded, most
        self._reserve(np.empty(0, np.int64), np.empty(0, np.int64), 4 * int(np.count_nonzero(crowded)))

    def first(self, chosen: np.ndarray, hashes: np.ndarray) -> np.ndarray:
        """Of chosen rows (N,) bool those still within the cap; hashes (N,) int64. Counts them."""
        rows = np.flatnonzero(chosen)
        rows = rows[self._crowded[_bucket(hashes[rows], len(self._crowded))]]
        at = self._slots(hashes[rows])
        before = self._seen[at]
        full = before > self._most
        kept = chosen.copy()
        kept[rows[full]] = False
        rows, at, before = rows[~full], at[~full], before[~full]
        np.add.at(self._seen, at, 1)
        over = self._seen[at] > self._most + 1  # only these have to be put in order
        rows, at, before = rows[over], at[over], before[over]
        order = np.argsort(at, kind="stable")
        kept[rows[order][places(at[order]) + before[order] > self._most]] = False
        return kept

    def _reserve(self, texts: np.ndarray, seen: np.ndarray, slots: int) -> None:
        """An open-addressing table of at least so many slots with these texts in it."""
        size = 1 << max(4, slots - 1).bit_length()
        self._texts, self._seen = np.zeros(size, np.int64), np.zeros(size, np.int64)
        self._taken = 0  # slots, or more: a slot that several rows want counts for each
        self._seen[self._probed(texts)] = seen

    def _slots(self, hashes: np.ndarray) -> np.ndarray:
        """The slot (N,) of each text; new ones are entered."""
        if 2 * (self._taken + len(hashes)) > len(self._texts):
            self._taken = int(np.count_nonzero(self._seen))
        if 2 * (self._taken + len(hashes)) > len(self._texts):
            used = self._seen > 0
            self._reserve(self._texts[used], self._seen[used], 4 * (self._taken + len(hashes)))
        return self._probed(hashes)

    def _probed(self, hashes: np.ndarray) -> np.ndarray:
        last = len(self._texts) - 1
        slots, waiting = hashes & last, np.arange(len(hashes))
        while len(waiting):
            own, at = hashes[waiting], slots[waiting]
            free = self._seen[at] == 0
            self._texts[at[free]] = own[free]  # where several texts want it, one stays
            self._seen[at[free]] = 1  # one more than were seen: 0 is an empty slot
            self._taken += int(np.count_nonzero(free))
            waiting = waiting[self._texts[at] != own]
            slots[waiting] = (slots[waiting] + 1) & last
        return slots


def _bucket(hashes: np.ndarray, buckets: int) -> np.ndarray:
    # The upper bits: those below are the place in the table.
    return (hashes.view(np.uint64) >> np.uint64(65 - buckets.bit_length())).view(np.int64)
