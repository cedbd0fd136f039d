"""A ledger as tables that answer in milliseconds: `captions` and `images`, in a DuckDB file of their own.

Every caption gets a `level`: its score, or plus or minus infinity where a person decided. It is kept if
and only if its level reaches the threshold, so that a threshold is one comparison a row.
"""

from pathlib import Path

import duckdb

from blip.capfilt import Ledger, Policy
from blip.errors import InputError

_POLICY = Policy()
_SCORES = f"scores/{_POLICY.filter}"
_GIVEN = """
CREATE TABLE given AS
SELECT row_number() OVER () AS row, c.*, s.row_id AS scored_id,
    CASE WHEN NOT isnan(s.{column}) THEN s.{column} END AS score, {itc} AS itc
FROM read_parquet($candidates) c POSITIONAL JOIN read_parquet($scores) s
"""
_IMAGES = """
CREATE TABLE keys AS
SELECT row_number() OVER (ORDER BY first) - 1 AS image, key, ref, sha256 FROM (
    SELECT image_key AS key, min(row) AS first, any_value(image_ref) AS ref, any_value(image_sha256) AS sha256
    FROM given GROUP BY image_key
)
"""
_CAPTIONS = """
CREATE TABLE captions AS
WITH last AS (
    SELECT row_id, last(kept ORDER BY position) AS kept
    FROM (SELECT *, row_number() OVER () AS position FROM overrides) GROUP BY row_id
)
SELECT k.image, c.row, c.row_id, c.origin, c.origin = 'synthetic' AS synthetic, c.caption, c.score, c.itc,
    c.mean_logprob, c.truth, c.noise_kind, o.kept AS decided,
    CASE WHEN o.kept THEN 'inf' WHEN NOT o.kept THEN '-inf' ELSE coalesce(c.score, '-inf') END::FLOAT AS level
FROM given c JOIN keys k ON k.key = c.image_key LEFT JOIN last o ON o.row_id = c.row_id
ORDER BY c.row
"""
_BEST = """
CREATE TABLE images AS
SELECT k.*, b.* EXCLUDE (image) FROM keys k JOIN (
    SELECT image,
        max(level) FILTER (NOT synthetic) AS web, max(score) FILTER (NOT synthetic) AS web_score,
        max(level) FILTER (synthetic) AS synthetic, max(score) FILTER (synthetic) AS synthetic_score
    FROM captions GROUP BY image
) b USING (image) ORDER BY k.image
"""


def build(ledger: Ledger, file: Path) -> duckdb.DuckDBPyConnection:
    """Index a ledger into a new DuckDB file, under the default policy's filter and column.

    captions: image, row (ledger order), row_id, origin, synthetic, caption, score, itc, mean_logprob, truth,
    noise_kind, decided (by a person), level. images: image (0, 1, ... in ledger order), key, ref, sha256, and
    the highest level and score of its web and synthetic captions. InputError where scores are missing.
    """
    shards = _scored_shards(ledger)
    columns = ledger.read(_SCORES, shards[0]).column_names
    paths = {name: [str(ledger.path(name, shard)) for shard in shards] for name in ("candidates", _SCORES)}
    connection = duckdb.connect(str(file))
    given = _GIVEN.format(column=_POLICY.column, itc="s.itc" if "itc" in columns else "NULL::FLOAT")
    connection.execute(given, {"candidates": paths["candidates"], "scores": paths[_SCORES]})
    _check_aligned(ledger, connection)
    connection.execute(_IMAGES)
    connection.register("overrides", ledger.table("overrides", ["row_id", "kept"]))
    connection.execute(_CAPTIONS)
    connection.execute(_BEST)
    connection.execute("DROP TABLE given; DROP TABLE keys; CHECKPOINT")
    return connection


def _scored_shards(ledger: Ledger) -> list[str]:
    """The names of the shards; InputError where there are none or the filter has not scored one."""
    shards = [entry.shard for entry in ledger.entries("candidates")]
    if not shards:
        raise InputError(f"The ledger in {ledger.folder} holds no captions yet; run lab capfilt first.")
    if _POLICY.filter not in ledger.filters:
        known = ", ".join(ledger.filters) or "none"
        raise InputError(
            f"The ledger in {ledger.folder} has no scores of the filter {_POLICY.filter!r} (it has {known}); "
            "run lab capfilt with it."
        )
    for shard in shards:
        if not ledger.has("candidates", shard) or not ledger.has(_SCORES, shard):
            raise InputError(f"Shard {shard} of {ledger.folder} is not finished; run lab capfilt again.")
    return shards


def _check_aligned(ledger: Ledger, connection: duckdb.DuckDBPyConnection) -> None:
    sql = "SELECT count(*) FROM given WHERE row_id IS DISTINCT FROM scored_id"
    if connection.execute(sql).fetchone()[0]:
        raise InputError(
            f"The scores in {ledger.folder} are not aligned with its captions; run lab ledger verify."
        )
