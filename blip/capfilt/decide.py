"""Verdicts: which captions a policy keeps. Derived from scores, never stored (design: scores are facts).

Here with pyarrow, shard by shard, in the memory of three shards; `queries` asks the same in SQL, and tests
hold them equal. What looks at the whole ledger (`top_fraction`, `per_caption`) takes a pass over scores or
hashes first.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from blip.capfilt.ledger import Entry, Ledger
from blip.capfilt.policy import Policy, Term
from blip.capfilt.ranking import Crowd, Ranked, best, crowded, cuts, image_numbers, ranks
from blip.errors import InputError

COLUMNS = ("row_id", "image_key", "origin", "caption")
_HASHES_A_PASS = 2**25  # 256 MiB
_READERS = 2  # threads, and shards in memory beside the one that is decided

Scores = Mapping[str, pa.Table]
"""The tables of the filters a policy reads, by name, each of the same shard."""


def decide(ledger: Ledger, policy: Policy | None = None) -> pa.Table:
    """A row a caption: row_id, image_key, origin, caption, score (float32), kept, by (filter or person)."""
    return pa.concat_tables(verdicts(ledger, policy or Policy()))


def verdicts(ledger: Ledger, policy: Policy, columns: Sequence[str] = COLUMNS) -> Iterator[pa.Table]:
    """The verdicts of one shard after the other, so that a ledger of any size can be decided.

    columns: those of the candidates that stand before score, kept and by. Fewer read faster; that scores
    are aligned with their candidates is checked by row_id where that is among them, else by their number.
    """
    _check(ledger, policy)
    plan = _Plan.of(ledger, policy)
    for shard in _shards(ledger, policy, plan.columns | set(columns)):
        kept = pa.array(plan.passing(shard, policy))
        by = pa.repeat("filter", len(kept))
        if plan.people.any:
            person = plan.people.of(shard.rows)
            kept, by = pc.coalesce(person, kept), pc.if_else(pc.is_valid(person), "person", by)
        rows = shard.rows.select(list(columns)).append_column("score", shard.score)
        yield rows.append_column("kept", kept).append_column("by", by)


def check_scores(ledger: Ledger, policy: Policy) -> None:
    """InputError where the ledger lacks a filter or a column that the policy reads."""
    for name, columns in policy.columns.items():
        entry = next(iter(ledger.entries(f"scores/{name}")), None)
        if entry is None:
            known = ", ".join(ledger.filters) or "none"
            raise InputError(f"The ledger has no filter {name!r}; it has {known}.")
        own = [column for column in ledger.columns(entry.table, entry.shard) if column != "row_id"]
        if unknown := [column for column in columns if column not in own]:
            raise InputError(f"The filter {name} has no column {unknown[0]!r}; use {', '.join(own)}.")


def _check(ledger: Ledger, policy: Policy) -> None:
    if next(iter(ledger.entries("candidates")), None) is None:
        raise InputError(f"The ledger in {ledger.folder} holds no captions yet; run lab capfilt first.")
    check_scores(ledger, policy)


@dataclass(frozen=True)
class _Shard:
    """The columns of one shard that a policy reads."""

    rows: pa.Table
    scores: Scores
    score: pa.ChunkedArray

    @classmethod
    def read(cls, ledger: Ledger, entry: Entry, policy: Policy, columns: AbstractSet[str]) -> "_Shard":
        """The candidates' columns and every score of the policy; InputError where a filter has not come so far."""
        rows = ledger.read("candidates", entry.shard, sorted(columns))
        identity = ["row_id"] if "row_id" in columns else []
        scores = {}
        for name, wanted in policy.columns.items():
            table = f"scores/{name}"
            if not ledger.has(table, entry.shard):
                raise InputError(
                    f"The filter {name} has not scored shard {entry.shard} of {ledger.folder}; "
                    "run lab capfilt again to finish it."
                )
            own = ledger.read(table, entry.shard, [*identity, *wanted])
            if own.num_rows != entry.rows or (identity and own["row_id"] != rows["row_id"]):
                raise InputError(
                    f"Shard {entry.shard} of {table} is not aligned with its candidates; run lab ledger verify."
                )
            scores[name] = own
        return cls(rows, scores, _score(scores, policy))

    @property
    def synthetic(self) -> np.ndarray:
        """Which rows are synthetic (N,) bool."""
        return np.asarray(pc.equal(self.rows["origin"], "synthetic"))


def _shards(ledger: Ledger, policy: Policy, columns: AbstractSet[str]) -> Iterator[_Shard]:
    """Every shard in order, the next ones read by threads meanwhile."""
    ahead: deque[Future[_Shard]] = deque()
    with ThreadPoolExecutor(_READERS) as pool:
        for entry in ledger.entries("candidates"):
            ahead.append(pool.submit(_Shard.read, ledger, entry, policy, columns))
            if len(ahead) > _READERS:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


@dataclass(frozen=True)
class _Plan:
    """What a policy must know of the whole ledger before it looks at a shard."""

    people: "_People"
    columns: frozenset[str]
    """Columns of the candidates that the policy reads."""
    cuts: tuple[int, int] | None = None
    crowd: Crowd | None = None

    @classmethod
    def of(cls, ledger: Ledger, policy: Policy) -> "_Plan":
        """Take the passes over scores and hashes that the policy needs."""
        people = _People(ledger)
        columns = {"origin"} | ({"row_id"} if people.any else set())
        if policy.best_synthetic is not None or policy.per_image is not None:
            columns.add("image_key")
        ends = None
        if policy.top_fraction < 1:
            ends = cuts(_ranked(ledger, policy), policy.top_fraction)
        plan = cls(people, frozenset(columns), ends)
        if policy.per_caption is None:
            return plan
        crowd = Crowd(_crowded(ledger, policy, plan, policy.per_caption), policy.per_caption)
        return cls(people, frozenset(columns | {"caption_hash"}), ends, crowd)

    def passing(self, shard: _Shard, policy: Policy) -> np.ndarray:
        """Which rows (N,) bool the policy keeps, whatever people say."""
        kept = _conditions(shard, policy)
        if self.cuts is not None:
            kept &= ranks(shard.score) <= np.where(shard.synthetic, self.cuts[1], self.cuts[0])
        if policy.best_synthetic is not None or policy.per_image is not None:
            kept = _few_an_image(shard, policy, kept)
        if self.crowd is not None:
            kept = self.crowd.first(kept, np.asarray(shard.rows["caption_hash"]))
        return kept


class _People:
    """What people decided, by row_id; the last word counts."""

    def __init__(self, ledger: Ledger) -> None:
        rows = ledger.table("overrides", ["row_id", "kept"])
        last = dict(zip(rows["row_id"].to_pylist(), rows["kept"].to_pylist(), strict=True))
        self.any = bool(last)
        self._ids, self._kept = pa.array(last, pa.string()), pa.array(last.values(), pa.bool_())

    def of(self, rows: pa.Table) -> pa.Array:
        """The verdict (N,) of a person on each row, null where there is none."""
        return self._kept.take(pc.index_in(rows["row_id"].combine_chunks(), self._ids))


def _ranked(ledger: Ledger, policy: Policy) -> Callable[[], Iterator[Ranked]]:
    def shards() -> Iterator[Ranked]:
        for shard in _shards(ledger, policy, {"origin"}):
            yield shard.synthetic, ranks(shard.score)

    return shards


def _crowded(ledger: Ledger, policy: Policy, plan: _Plan, most: int) -> np.ndarray:
    """Hashes of the texts that pass more than `most` times: one part of all hashes a pass."""
    parts = -(-sum(entry.rows for entry in ledger.entries("candidates")) // _HASHES_A_PASS)

    def hashes(part: int) -> Iterator[np.ndarray]:
        for shard in _shards(ledger, policy, plan.columns | {"caption_hash"}):
            own = np.asarray(shard.rows["caption_hash"])[plan.passing(shard, policy)]
            yield own[own % parts == part] if parts > 1 else own

    found = [crowded(hashes(part), most) for part in range(parts)]
    return np.sort(np.concatenate([np.empty(0, np.int64), *found]))


def _score(scores: Scores, policy: Policy) -> pa.ChunkedArray:
    if not policy.weighted_sum:
        return scores[policy.filter][policy.column]
    weighed = [
        pc.multiply(pc.cast(scores[term.filter][term.column], pa.float64()), term.number)
        for term in policy.summands
    ]
    return pc.cast(reduce(pc.add, weighed), pa.float32(), safe=False)


def _conditions(shard: _Shard, policy: Policy) -> np.ndarray:
    """Rows (N,) bool that pass threshold or union, and intersection."""
    # Thresholds have the scores' own precision: 0.7 is kept at 0.7.
    limits = np.where(shard.synthetic, np.float32(policy.synthetic), np.float32(policy.web))
    kept = _reaches(shard.score, pa.array(limits))
    for text in policy.union:
        kept |= _reaches_number(shard.scores, Term.parse(text))
    for text in policy.intersection:
        kept &= _reaches_number(shard.scores, Term.parse(text))
    return kept


def _few_an_image(shard: _Shard, policy: Policy, kept: np.ndarray) -> np.ndarray:
    """Of the rows kept so far (N,) bool the best ones of each image."""
    images, found = image_numbers(shard.rows["image_key"]), ranks(shard.score)
    if policy.best_synthetic is not None:
        synthetic = shard.synthetic
        kept = best(kept & synthetic, images, found, policy.best_synthetic) | (kept & ~synthetic)
    if policy.per_image is not None:
        kept = best(kept, images, found, policy.per_image)
    return kept


def _reaches_number(scores: Scores, term: Term) -> np.ndarray:
    return _reaches(scores[term.filter][term.column], pa.scalar(term.number, pa.float32()))


def _reaches(scores: pa.ChunkedArray, limit: pa.Array | pa.Scalar) -> np.ndarray:
    return np.array(pc.fill_null(pc.greater_equal(scores, limit), False))
