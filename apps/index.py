"""A ledger as tables that answer in milliseconds: `captions` and `images`, in a DuckDB file of their own.

Every caption gets a `level`: its score, or plus or minus infinity where a person decided. It is kept if
and only if its level reaches the threshold, so that a threshold is one comparison a row.
"""

from pathlib import Path

import duckdb
import pyarrow as pa

from blip.capfilt import Ledger, Policy, usual
from blip.capfilt.queries import refusing
from blip.capfilt.schema import OVERRIDES
from blip.errors import InputError

_PROBABILITY = Policy.column
_FILES = "read_parquet(${}, hive_partitioning = false)"  # else a folder named a=b is a column a
_GIVEN = """
CREATE TABLE given AS
SELECT row_number() OVER () AS row, c.*, s.row_id AS scored_id,
    CASE WHEN NOT isnan(s.{column}) THEN s.{column} END AS score, {itc} AS itc, [{others}]::FLOAT[] AS others
FROM {candidates} c POSITIONAL JOIN {scores} s {joined}
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
SELECT k.image, c.row, c.row_id, c.origin, c.origin = 'synthetic' AS synthetic, c.caption, c.score, c.itc,
    c.mean_logprob, c.truth, c.noise_kind, NULL::BOOLEAN AS decided, NULL::VARCHAR AS better,
    coalesce(c.score, '-inf')::FLOAT AS level, {opinions} AS opinions
FROM given c JOIN keys k ON k.key = c.image_key ORDER BY c.row
"""
_PLACE = """
CASE WHEN c.others[{n}] IS NOT NULL AND NOT isnan(c.others[{n}]) THEN
    (rank() OVER (PARTITION BY c.origin = 'synthetic', c.others[{n}] IS NULL OR isnan(c.others[{n}])
        ORDER BY c.others[{n}] DESC) - 1)
    / count(*) OVER (PARTITION BY c.origin = 'synthetic', c.others[{n}] IS NULL OR isnan(c.others[{n}]))
END"""
_DECIDED = """
BEGIN;
UPDATE captions SET decided = NULL, better = NULL, level = coalesce(score, '-inf') WHERE decided IS NOT NULL;
UPDATE captions SET decided = o.kept, better = CASE WHEN o.kept THEN o.caption END,
    level = CASE WHEN o.kept THEN 'inf' WHEN NOT o.kept THEN '-inf' ELSE coalesce(score, '-inf') END::FLOAT
FROM (
    SELECT row_id, last(kept ORDER BY position) AS kept, last(caption ORDER BY position) AS caption
    FROM (SELECT *, row_number() OVER () AS position FROM overrides) GROUP BY row_id
) o WHERE o.row_id = captions.row_id;
UPDATE images SET web = b.web, synthetic = b.synthetic FROM (
    SELECT image, max(level) FILTER (NOT synthetic) AS web, max(level) FILTER (synthetic) AS synthetic
    FROM captions GROUP BY image
) b WHERE b.image = images.image;
COMMIT;
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
    noise_kind, decided (by a person), better (the text that a person wants in place of caption), level,
    opinions (the place of each second opinion's score among those of its origin, from 0, the best, to 1).
    images: image (0, 1, ... in ledger order), key, ref, sha256, and the highest level and score of its web and
    synthetic captions. InputError where scores are missing.
    """
    with refusing(ledger):
        return _built(ledger, file)


def _built(ledger: Ledger, file: Path) -> duckdb.DuckDBPyConnection:
    deciding = usual(ledger)
    scores = f"scores/{deciding.filter}"
    shards = _scored_shards(ledger, deciding)
    columns = ledger.columns(scores, shards[0])
    paths = lambda table: [str(ledger.path(table, shard)) for shard in shards]
    opinions = second_opinions(ledger, deciding.filter)
    tables = {name: f"f{number}" for number, name in enumerate(dict.fromkeys(filter for filter, _ in opinions))}
    connection = duckdb.connect(str(file))
    given = _GIVEN.format(
        column=deciding.column,
        itc="s.itc" if "itc" in columns else "NULL::FLOAT",
        others=", ".join(f"{tables[filter]}.{_quoted(column)}" for filter, column in opinions),
        candidates=_FILES.format("candidates"),
        scores=_FILES.format("scores"),
        joined=" ".join(f"POSITIONAL JOIN {_FILES.format(alias)} {alias}" for alias in tables.values()),
    )
    others = {alias: paths(f"scores/{name}") for name, alias in tables.items()}
    connection.execute(given, {"candidates": paths("candidates"), "scores": paths(scores)} | others)
    _check_aligned(ledger, connection)
    connection.execute(_IMAGES)
    places = ", ".join(_PLACE.format(n=number) for number in range(1, len(opinions) + 1))
    connection.execute(_CAPTIONS.format(opinions=f"[{places}]::DOUBLE[]"))
    connection.execute(_BEST)
    decide_again(connection, ledger)
    connection.execute("DROP TABLE given; DROP TABLE keys; CHECKPOINT")
    return connection


def decide_again(connection: duckdb.DuckDBPyConnection, ledger: Ledger) -> None:
    """Take in what people decided: the last word on each caption, nothing where it was taken back."""
    columns = ["row_id", "kept", "caption"]
    people = ledger.table("overrides", columns)
    # Earlier ledgers have no better texts.
    people = pa.concat_tables([OVERRIDES.empty_table().select(columns), people], promote_options="default")
    with connection.cursor() as cursor:
        cursor.register("overrides", people)
        cursor.execute(_DECIDED)


def second_opinions(ledger: Ledger, deciding: str) -> list[tuple[str, str]]:
    """(filter, column) of every score of all captions beside the deciding filter's, those of other filters first.

    The logit is left out: it orders captions as the probability does.
    """
    shards = [entry.shard for entry in ledger.entries("candidates")]
    found = []
    for name in sorted(ledger.filters, key=lambda name: name == deciding):
        if shards and ledger.whole(f"scores/{name}") >= set(shards):
            found += [(name, column) for column in ledger.columns(f"scores/{name}", shards[0])]
    known = {(deciding, _PROBABILITY), (deciding, "itm_logit")}
    return [own for own in found if own[1] != "row_id" and own not in known]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _scored_shards(ledger: Ledger, deciding: Policy) -> list[str]:
    """The names of the shards; InputError where there are none or no filter with a match probability has scored them."""
    shards = [entry.shard for entry in ledger.entries("candidates")]
    if not shards:
        raise InputError(f"The ledger in {ledger.folder} holds no captions yet; run lab capfilt first.")
    if deciding.column != _PROBABILITY or deciding.filter not in ledger.filters:
        known = ", ".join(ledger.filters) or "none"
        raise InputError(
            f"The ledger in {ledger.folder} has no match probability (its filters: {known}), by which the studio shows "
            f"decisions; add one with lab ledger score {ledger.folder} --filter WEIGHTS."
        )
    for shard in shards:
        if not ledger.has("candidates", shard) or not ledger.has(f"scores/{deciding.filter}", shard):
            raise InputError(f"Shard {shard} of {ledger.folder} is not finished; run lab capfilt again.")
    return shards


def _check_aligned(ledger: Ledger, connection: duckdb.DuckDBPyConnection) -> None:
    sql = "SELECT count(*) FROM given WHERE row_id IS DISTINCT FROM scored_id"
    if connection.execute(sql).fetchall() != [(0,)]:
        raise InputError(
            f"The scores in {ledger.folder} are not aligned with its captions; run lab ledger verify."
        )
