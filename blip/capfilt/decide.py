"""Verdicts: which captions a policy keeps. Derived from scores, never stored (design: scores are facts).

Here with pyarrow, shard by shard, in the memory of three shards; `queries` asks the same in SQL, and tests
hold them equal. What looks at the whole ledger (`top_fraction`, `per_caption`) takes a pass over scores or
hashes first; `per_caption` then holds up to 3 bytes a caption, and more for texts that pass too often.
"""

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from blip.capfilt.duplicates import Buckets, Cap
from blip.capfilt.ledger import Ledger
from blip.capfilt.manifest import Entry
from blip.capfilt.policy import PROBABILITY, THRESHOLDS, Policy, Term, single
from blip.capfilt.ranking import Ranked, best, cuts, image_numbers, ranks
from blip.capfilt.reading import Scores, Shard, each_shard
from blip.capfilt.tolerance import Margins
from blip.capfilt.unfinished import shards_of
from blip.errors import InputError

COLUMNS = ("row_id", "image_key", "origin", "caption")


def decide(ledger: Ledger, policy: Policy | None = None) -> pa.Table:
    """A row a caption: row_id, image_key, origin, caption, score (float32), kept, by (filter or person) and
    borderline: by the filter, and within the measured tolerance of a number that the score is compared with
    (see `tolerance.Margins`), so that another device or precision may decide otherwise.
    """
    return pa.concat_tables(verdicts(ledger, policy or usual(ledger)))


def usual(ledger: Ledger, policy: Policy | None = None) -> Policy:
    """What decides over a ledger where nobody says more: the paper's policy (section 3.3), or another's thresholds; those
    that nobody gave are the ones of the run, where one of its filters decides by the score that decided then.

    A policy by the filter itm is decided by the column that it names: of itm where that has it, else of the first filter
    that has. Where nobody named a column and no filter gives a match probability, the first score decides. Of a
    ledger that is finished, filters that have not scored all of it decide only where no other has.

    InputError where a match probability is compared with what cannot be one, such as a percentage, and where a
    policy says two things of its score.
    """
    asked = policy or Policy()
    asked.refuse_unread()
    found = _usual(ledger, asked)
    own = ledger.about.get(THRESHOLDS, {})
    by_usual = (asked.filter, asked.column, asked.weighted_sum) == (Policy.filter, Policy.column, ())
    if by_usual and found.filter in own.get("filters", ()):
        found = found.with_unsaid(own)
    found.refuse_no_probability()
    return found


def _usual(ledger: Ledger, policy: Policy) -> Policy:
    paper = Policy()
    if policy.weighted_sum or policy.filter != paper.filter:
        return policy
    columns = {name: _columns(ledger, name, shard) for name, shard in _deciders(ledger, paper.filter).items()}
    first = next((name for name, own in columns.items() if policy.column in own), None)
    if first is not None:
        return replace(policy, filter=first)
    if policy.column != paper.column or not columns:
        return policy  # which is refused, by the columns that there are
    first = next(iter(columns))
    return replace(policy, filter=first, column=deciding_column(columns[first]))


def _deciders(ledger: Ledger, usual: str) -> dict[str, str]:
    """The filters that may decide, the usual one first, then in the order in which they were given; a shard of each."""
    scored: dict[str, list[str]] = {}
    for entry in ledger.entries("scores/*"):
        scored.setdefault(entry.table.removeprefix("scores/"), []).append(entry.shard)
    shards = sum(1 for _ in ledger.entries("candidates"))
    whole = [name for name, own in scored.items() if len(own) >= shards]
    # One that does not tell its size, as in a damaged ledger.json, counts as finished.
    finished = shards >= (shards_of(ledger.about) or 0)
    named = list(ledger.about.get("filters", {})) + sorted(scored)
    found = sorted(whole if finished and whole else scored, key=lambda name: (name != usual, named.index(name)))
    return {name: scored[name][0] for name in found}


def deciding_column(columns: Sequence[str]) -> str:
    """The score that thresholds are compared with: the match probability, or a filter's first column."""
    return PROBABILITY if PROBABILITY in columns else columns[0]


def _columns(ledger: Ledger, filter: str, shard: str) -> list[str]:
    """The scores of a filter, as a shard of it has them."""
    return [column for column in ledger.columns(f"scores/{filter}", shard) if column != "row_id"]


def verdicts(ledger: Ledger, policy: Policy, columns: Sequence[str] = COLUMNS) -> Iterator[pa.Table]:
    """The verdicts of one shard after the other, so that a ledger of any size can be decided.

    columns: those of the candidates that stand before score, kept, by and borderline. Fewer read faster; that
    scores are aligned with their candidates is checked by row_id where that is among them, else by their number.
    """
    _check(ledger, policy)
    plan, margins = _Plan.of(ledger, policy), Margins.of(ledger, policy)
    read = plan.reader(ledger, policy, plan.columns | set(columns))
    for shard, passing in each_shard(ledger, read):
        kept = pa.array(plan.capped(shard, passing))
        by, borderline = pa.repeat("filter", len(kept)), _borderline(shard, policy, margins)
        if plan.people.any:
            person = plan.people.of(shard.rows)
            kept, by = pc.coalesce(person, kept), pc.if_else(pc.is_valid(person), "person", by)
            borderline = pc.and_(borderline, pc.is_null(person))
        rows = shard.columns(columns).append_column("score", shard.score)
        yield rows.append_column("kept", kept).append_column("by", by).append_column("borderline", borderline)


def check_scores(ledger: Ledger, policy: Policy) -> None:
    """InputError where the ledger lacks a filter or a column that the policy reads."""
    for name, columns in policy.columns.items():
        entry = next(iter(ledger.entries(f"scores/{name}")), None)
        if entry is None:
            known = ", ".join(ledger.filters) or "none"
            raise InputError(f"The ledger has no filter {name!r}; it has {known} (in {ledger.folder}).")
        own = [column for column in ledger.columns(entry.table, entry.shard) if column != "row_id"]
        if unknown := [column for column in columns if column not in own]:
            raise InputError(f"The filter {name} has no column {unknown[0]!r}; use {', '.join(own)} (in {ledger.folder}).")


def _check(ledger: Ledger, policy: Policy) -> None:
    if next(iter(ledger.entries("candidates")), None) is None:
        raise InputError(f"The ledger in {ledger.folder} holds no captions yet; run lab capfilt first.")
    check_scores(ledger, policy)


@dataclass(frozen=True)
class _Plan:
    """What a policy must know of the whole ledger before it looks at a shard."""

    people: "_People"
    columns: frozenset[str]
    """Columns of the candidates that the policy reads."""
    cuts: tuple[int, int] | None = None
    cap: Cap | None = None

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
        cap = _cap(ledger, policy, plan, policy.per_caption)
        return cls(people, frozenset(columns | {"caption_hash"}), ends, cap)

    def reader(
        self, ledger: Ledger, policy: Policy, columns: AbstractSet[str]
    ) -> Callable[[Entry], tuple[Shard, np.ndarray]]:
        """Reads a shard and which of its rows pass; shards may be read at the same time, in any order."""

        def read(entry: Entry) -> tuple[Shard, np.ndarray]:
            shard = Shard.read(ledger, entry, policy, columns)
            return shard, self._passing(shard, policy)

        return read

    def capped(self, shard: Shard, passing: np.ndarray) -> np.ndarray:
        """Which rows (N,) bool the policy keeps, whatever people say; shards come in the ledger's order."""
        return passing if self.cap is None else self.cap.first(passing, shard.hashes)

    def _passing(self, shard: Shard, policy: Policy) -> np.ndarray:
        kept = _conditions(shard, policy)
        if self.cuts is not None:
            kept &= ranks(shard.score) <= np.where(shard.synthetic, self.cuts[1], self.cuts[0])
        if policy.best_synthetic is not None or policy.per_image is not None:
            kept = _few_an_image(shard, policy, kept)
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
    def read(entry: Entry) -> Ranked:
        shard = Shard.read(ledger, entry, policy, {"origin"})
        return shard.synthetic, ranks(shard.score)

    return lambda: each_shard(ledger, read)


def _cap(ledger: Ledger, policy: Policy, plan: _Plan, most: int) -> Cap | None:
    """The cap on equal captions, by a pass over the hashes of those that pass; None where nothing can reach it."""
    rows = sum(entry.rows for entry in ledger.entries("candidates"))
    if rows <= most:
        return None
    buckets, shards = Buckets(rows, most), plan.reader(ledger, policy, plan.columns | {"caption_hash"})

    def read(entry: Entry) -> np.ndarray:
        shard, passing = shards(entry)
        return shard.hashes[passing]

    for hashes in each_shard(ledger, read):
        buckets.add(hashes)
    return Cap(buckets.crowded(), most)


def _conditions(shard: Shard, policy: Policy) -> np.ndarray:
    """Rows (N,) bool that pass threshold or union, and intersection."""
    kept = _reaches(shard.score, pa.array(_limits(shard, policy)))
    for text in policy.union:
        kept |= _reaches_number(shard.scores, Term.parse(text))
    for text in policy.intersection:
        kept &= _reaches_number(shard.scores, Term.parse(text))
    return kept


def _limits(shard: Shard, policy: Policy) -> np.ndarray:
    """The thresholds (N,) float32 of the rows."""
    return np.where(shard.synthetic, single(policy.synthetic), single(policy.web))


def _borderline(shard: Shard, policy: Policy, margins: Margins) -> pa.Array:
    if not margins.any:
        return pa.repeat(False, len(shard.score))
    return pa.array(margins.reached(shard.score, _limits(shard, policy), shard.scores))


def _few_an_image(shard: Shard, policy: Policy, kept: np.ndarray) -> np.ndarray:
    """Of the rows kept so far (N,) bool the best ones of each image."""
    images, found = image_numbers(shard.rows["image_key"]), ranks(shard.score)
    if policy.best_synthetic is not None:
        synthetic = shard.synthetic
        kept = best(kept & synthetic, images, found, policy.best_synthetic) | (kept & ~synthetic)
    if policy.per_image is not None:
        kept = best(kept, images, found, policy.per_image)
    return kept


def _reaches_number(scores: Scores, term: Term) -> np.ndarray:
    return _reaches(scores[term.filter][term.column], pa.scalar(single(term.number)))


def _reaches(scores: pa.ChunkedArray, limit: pa.Array | pa.Scalar) -> np.ndarray:
    return np.array(pc.fill_null(pc.greater_equal(scores, limit), False))
