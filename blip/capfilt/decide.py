"""Verdicts: which captions a policy keeps. Derived from scores, never stored (design: scores are facts).

`decide` reads the ledger with pyarrow, `decide_duckdb` asks the same question in SQL; tests hold them equal.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from blip.capfilt.ledger import Ledger
from blip.errors import InputError

_COLUMNS = ["row_id", "image_key", "origin", "caption"]


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Keep a caption whose score reaches its origin's threshold; what people decided goes before.

    The default is the paper's: the filter keeps what it predicts to match (section 3.3).
    """

    filter: str = "itm"
    """The filter that decides, by its name in the ledger."""
    column: str = "itm_prob"
    """Which of its scores is compared with the thresholds."""
    web: float = 0.5
    """Threshold of captions that came with the image, human ones too."""
    synthetic: float = 0.5
    """Threshold of generated captions."""

    def __str__(self) -> str:
        return f"{self.filter}.{self.column}, web >= {self.web:g}, synthetic >= {self.synthetic:g}"


def decide(ledger: Ledger, policy: Policy | None = None) -> pa.Table:
    """A row a caption: row_id, image_key, origin, caption, score (float32), kept, by (filter or person)."""
    parts = list(verdicts(ledger, policy or Policy()))
    if not parts:
        raise InputError(f"The ledger in {ledger.folder} holds no captions yet; run lab capfilt first.")
    return pa.concat_tables(parts)


def verdicts(ledger: Ledger, policy: Policy) -> Iterator[pa.Table]:
    """The verdicts of one shard after the other, so that a ledger of any size can be decided."""
    table = _scores(ledger, policy)
    decided = _overrides(ledger)
    for entry in ledger.entries("candidates"):
        if not ledger.has(table, entry.shard):
            raise InputError(
                f"The filter {policy.filter} has not scored shard {entry.shard} of {ledger.folder}; "
                "run lab capfilt again to finish it."
            )
        rows = ledger.read("candidates", entry.shard, _COLUMNS)
        scores = ledger.read(table, entry.shard, ["row_id", policy.column])
        if rows["row_id"] != scores["row_id"]:
            raise InputError(
                f"Shard {entry.shard} of {table} is not aligned with its candidates; run lab ledger verify."
            )
        yield _verdicts(rows, scores[policy.column], policy, decided)


def decide_duckdb(ledger: Ledger, policy: Policy | None = None) -> pa.Table:
    """The same verdicts by SQL: for ledgers larger than memory, and as a witness of `decide`."""
    import duckdb

    policy = policy or Policy()
    table = _scores(ledger, policy)
    shards = [entry.shard for entry in ledger.entries("candidates")]
    files = {name: [str(ledger.path(name, shard)) for shard in shards] for name in ("candidates", table)}
    with duckdb.connect() as connection:
        connection.register("overrides", ledger.table("overrides", ["row_id", "kept"]))
        values = {"web": policy.web, "synthetic": policy.synthetic}
        paths = {"candidates": files["candidates"], "scores": files[table]}
        return connection.sql(_SQL.format(column=policy.column), params=values | paths).to_arrow_table()


_SQL = """
WITH last AS (
    SELECT row_id, last(kept ORDER BY position) AS kept
    FROM (SELECT *, row_number() OVER () AS position FROM overrides) GROUP BY row_id
)
SELECT c.row_id, c.image_key, c.origin, c.caption, s.{column} AS score,
    coalesce(
        o.kept,
        NOT isnan(s.{column}) -- DuckDB takes NaN for the largest value
        AND s.{column} >= CASE WHEN c.origin = 'synthetic' THEN $synthetic ELSE $web END::FLOAT,
        false
    ) AS kept,
    CASE WHEN o.kept IS NULL THEN 'filter' ELSE 'person' END AS by
FROM read_parquet($candidates, file_row_number = true, filename = true) c
JOIN read_parquet($scores) s USING (row_id)
LEFT JOIN last o USING (row_id)
ORDER BY c.filename, c.file_row_number
"""


def _scores(ledger: Ledger, policy: Policy) -> str:
    table = f"scores/{policy.filter}"
    entry = next(iter(ledger.entries(table)), None)
    if entry is None:
        known = ", ".join(ledger.filters) or "none"
        raise InputError(f"The ledger has no filter {policy.filter!r}; it has {known}.")
    columns = [name for name in ledger.read(table, entry.shard).column_names if name != "row_id"]
    if policy.column not in columns:
        raise InputError(f"The filter {policy.filter} has no column {policy.column!r}; use {', '.join(columns)}.")
    return table


def _overrides(ledger: Ledger) -> dict[str, bool]:
    rows = ledger.table("overrides", ["row_id", "kept"])
    return dict(zip(rows["row_id"].to_pylist(), rows["kept"].to_pylist(), strict=True))


def _verdicts(rows: pa.Table, scores: pa.ChunkedArray, policy: Policy, decided: dict[str, bool]) -> pa.Table:
    synthetic = pc.equal(rows["origin"], "synthetic")
    # Thresholds have the scores' own precision: 0.7 is kept at 0.7.
    limits = (pa.scalar(value, pa.float32()) for value in (policy.synthetic, policy.web))
    kept = pc.fill_null(pc.greater_equal(scores, pc.if_else(synthetic, *limits)), False)
    person = pa.array([decided.get(row) for row in rows["row_id"].to_pylist()], pa.bool_())
    by = pc.if_else(pc.is_valid(person), "person", "filter")
    rows = rows.append_column("score", scores).append_column("kept", pc.coalesce(person, kept))
    return rows.append_column("by", by)
