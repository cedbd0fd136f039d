"""Captions under two scores, side by side in SQL: which caption of one is the counterpart of which of the other.

A caption's counterpart is the one with the same text (by its hash) and kind of origin at the same image; equal
texts are paired in the ledger's order. What is left of an image's synthetic captions is paired in that order
too, so that two captioners, two ways of decoding or two rounds stand side by side. Other captions have none.
"""

from dataclasses import dataclass

import duckdb
import pyarrow as pa

from blip.capfilt import Ledger, Policy
from blip.capfilt.override import rewritten
from blip.capfilt.queries import create_view

_SIDE = """
CREATE TABLE {table} AS
SELECT position AS row, image_key, image_ref, image_sha256, origin, origin = 'synthetic' AS synthetic, caption,
    caption_hash, {facts}, "by" = 'person' AS by_person,
    CASE WHEN NOT isnan(score) THEN score END AS score,
    CASE WHEN "by" <> 'person' THEN CASE WHEN score IS NULL OR isnan(score) THEN '-inf' ELSE score END
        WHEN kept THEN 'inf' ELSE '-inf' END::FLOAT AS level
FROM {view}
"""
_AS_READ = "NULL::VARCHAR AS better, truth, noise_kind"
# Of a text that a person wrote nobody knows whether it is true.
_REWRITTEN = """better, CASE WHEN better IS NULL THEN truth END AS truth,
    CASE WHEN better IS NULL THEN noise_kind END AS noise_kind"""
_SAME_ROWS = "SELECT row AS a_row, row AS b_row FROM {a}"
_COUNTERPARTS = """
WITH a AS (SELECT row, {text}, {among_equals} AS place FROM {a} SEMI JOIN {b} USING ({text})),
b AS (SELECT row, {text}, {among_equals} AS place FROM {b} SEMI JOIN {a} USING ({text})),
equal AS (SELECT a.row AS a_row, b.row AS b_row FROM a JOIN b USING ({text}, place)),
a_left AS (
    SELECT row, image_key, {among_left} AS place FROM {a} WHERE synthetic AND row NOT IN (SELECT a_row FROM equal)
),
b_left AS (
    SELECT row, image_key, {among_left} AS place FROM {b} WHERE synthetic AND row NOT IN (SELECT b_row FROM equal)
)
SELECT a_row, b_row FROM equal UNION ALL
SELECT a_left.row, b_left.row FROM a_left JOIN b_left USING (image_key, place)
"""
_TEXT = "image_key, synthetic, caption_hash"
_FRAGMENTS = {
    "text": _TEXT,
    "among_equals": f"row_number() OVER (PARTITION BY {_TEXT} ORDER BY row)",
    "among_left": "row_number() OVER (PARTITION BY image_key ORDER BY row)",
}
_PAIRS = """
CREATE TABLE {table} AS
SELECT row_number() OVER (ORDER BY a_row) AS pair, a_row, b_row, a.synthetic, a.caption_hash = b.caption_hash AS same,
    a.score AS a_score, b.score AS b_score, a.level AS a_level, b.level AS b_level,
    a.truth AS a_truth, b.truth AS b_truth, a.image_sha256 <> b.image_sha256 AS other_bytes
FROM ({rows}) JOIN {a} a ON a.row = a_row JOIN {b} b ON b.row = b_row
"""


@dataclass(frozen=True)
class Column:
    """A score column: the number of its ledger among those that can be compared, its filter, its name."""

    ledger: int
    filter: str
    name: str


def side_table(connection: duckdb.DuckDBPyConnection, ledger: Ledger, column: Column, table: str) -> None:
    """Create a table of every caption with its score under a column, and its level.

    level is the score, or plus or minus infinity where a person decided and minus infinity where there is none:
    the caption is kept if and only if it reaches the threshold. InputError where scores are missing.
    """
    # Nothing is decided by the policy here: it names the score, and marks what people decided.
    policy = Policy(filter=column.filter, column=column.name)
    create_view(connection, ledger, policy, f"{table}_view")
    better = rewritten(ledger)
    facts, view = _AS_READ, f"{table}_view"
    if better:  # else no row_id is read
        connection.register(f"{table}_better", pa.table({"row_id": [*better], "better": [*better.values()]}))
        facts, view = _REWRITTEN, f"{view} LEFT JOIN {table}_better USING (row_id)"
    connection.execute(_SIDE.format(table=table, view=view, facts=facts))


def pair_table(connection: duckdb.DuckDBPyConnection, a: str, b: str, table: str, *, one_ledger: bool) -> None:
    """Create a table of counterparts from two tables of `side_table`, in the order of a's ledger.

    Columns: pair (from 1), a_row, b_row, synthetic, same (the same text), and of either side score, level and
    truth; other_bytes where the picture is not the same file. one_ledger: rows are their own counterparts.
    """
    rows = (_SAME_ROWS if one_ledger else _COUNTERPARTS).format(a=a, b=b, **_FRAGMENTS)
    connection.execute(_PAIRS.format(table=table, rows=rows, a=a, b=b))
