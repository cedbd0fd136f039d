"""The shards of a ledger as policies read them: the columns they ask for, ahead of the one that is decided."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from blip.capfilt.ledger import Ledger
from blip.capfilt.manifest import Entry
from blip.capfilt.policy import Policy
from blip.errors import InputError

_READERS = 2  # threads, and shards in memory beside the one that is decided
_Read = TypeVar("_Read")

Scores = Mapping[str, pa.Table]
"""The tables of the filters a policy reads, by name, each of the same shard."""


@dataclass(frozen=True)
class Shard:
    """The columns of one shard that a policy reads; the origin as a dictionary."""

    rows: pa.Table
    scores: Scores
    score: pa.ChunkedArray

    @classmethod
    def read(cls, ledger: Ledger, entry: Entry, policy: Policy, columns: AbstractSet[str]) -> "Shard":
        """The candidates' columns and every score of the policy; InputError where a filter has not come so far."""
        rows = ledger.read("candidates", entry.shard, sorted(columns), coded=["origin"])
        identity = ["row_id"] if "row_id" in columns else []
        scores = {}
        for name, wanted in policy.columns.items():
            table = f"scores/{name}"
            if not ledger.has(table, entry.shard):
                raise InputError(
                    f"The filter {name} has not scored shard {entry.shard} of {ledger.folder}; "
                    "run lab capfilt or lab ledger score again to finish it."
                )
            own = ledger.read(table, entry.shard, [*identity, *wanted])
            if not own.num_rows == rows.num_rows == entry.rows or (identity and own["row_id"] != rows["row_id"]):
                raise InputError(
                    f"Shard {entry.shard} of {table} in {ledger.folder} is not aligned with its candidates; "
                    "run lab ledger verify."
                )
            scores[name] = own
        return cls(rows, scores, _score(scores, policy))

    @property
    def synthetic(self) -> np.ndarray:
        """Which rows are synthetic (N,) bool."""
        parts = [
            np.asarray(pc.equal(chunk.dictionary, "synthetic"))[np.asarray(chunk.indices)]
            for chunk in self.rows["origin"].chunks
        ]
        return np.concatenate([np.empty(0, bool), *parts])

    @property
    def hashes(self) -> np.ndarray:
        """Of the captions (N,) int64."""
        return np.asarray(self.rows["caption_hash"])

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Columns of the candidates, as texts and numbers."""
        rows = self.rows.select(list(names))
        if "origin" not in names:
            return rows
        return rows.set_column(rows.column_names.index("origin"), "origin", self.rows["origin"].cast(pa.string()))


def each_shard(ledger: Ledger, read: Callable[[Entry], _Read]) -> Iterator[_Read]:
    """What is read of every shard in order, the next ones by threads meanwhile."""
    ahead: deque[Future[_Read]] = deque()
    with ThreadPoolExecutor(_READERS) as pool:
        for entry in ledger.entries("candidates"):
            ahead.append(pool.submit(read, entry))
            if len(ahead) > _READERS:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _score(scores: Scores, policy: Policy) -> pa.ChunkedArray:
    if not policy.weighted_sum:
        return scores[policy.filter][policy.column]
    weighed = [
        pc.multiply(pc.cast(scores[term.filter][term.column], pa.float64()), term.number)
        for term in policy.summands
    ]
    return pc.cast(reduce(pc.add, weighed), pa.float32(), safe=False)
