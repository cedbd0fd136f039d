"""What changed between two ledgers of the same images, as between two rounds of bootstrapping."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from blip.capfilt.decide import usual
from blip.capfilt.ledger import Ledger
from blip.capfilt.policy import Policy
from blip.capfilt.queries import WORD, connected, create_view

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

EXAMPLES = 5
"""Examples of each kind of change."""


@dataclass(frozen=True)
class Side:
    """One of the two ledgers. Shares and means are None where there is nothing to count."""

    captions: int
    kept: int
    vocabulary: int
    """Different words of the kept captions, cleaned as the model reads them."""
    distinct: float | None
    """Share of different texts among the kept captions, normalized: their diversity."""
    mean_score: dict[str, float | None]
    """Over all scored captions, by origin: web (human ones too) and synthetic."""


@dataclass(frozen=True)
class Change:
    """Texts of images that changed in one way: how many, and the first by image key and text."""

    count: int
    examples: list[dict[str, str]]


@dataclass(frozen=True)
class Difference:
    """Two ledgers under one policy. A text of an image is one thing however often it stands there, and kept
    if any of its rows is.
    """

    before: Side
    after: Side
    added: Change
    dropped: Change
    now_kept: Change
    now_filtered: Change
    unchanged: int
    score_drift: float | None
    """Mean change of the score over the texts that both have a score for; None too where the scores are unlike."""


def diff(before: Ledger, after: Ledger, policy: Policy | None = None) -> Difference:
    """Compare two ledgers; in SQL, so that they may be larger than memory.

    Each is decided by its own `usual` filter, where the policy names no other. InputError where one of them lacks a
    score that the policy needs.
    """
    policies = {"before": usual(before, policy), "after": usual(after, policy)}
    with connected(before, after) as connection:
        for name, ledger in (("before", before), ("after", after)):
            create_view(connection, ledger, policies[name], f"{name}_rows")
            connection.execute(_TEXTS.format(name=name))
        connection.execute(_CHANGES)
        unchanged, drift = _one(connection, _REST)
        return Difference(
            before=_side(connection, "before_rows"),
            after=_side(connection, "after_rows"),
            added=_change(connection, "added"),
            dropped=_change(connection, "dropped"),
            now_kept=_change(connection, "now_kept"),
            now_filtered=_change(connection, "now_filtered"),
            unchanged=unchanged,
            score_drift=drift if policies["before"].column == policies["after"].column else None,
        )


# NaN is no score: max and avg would spread it.
_TEXTS = """
CREATE TEMP TABLE {name} AS
SELECT image_key, caption, bool_or(kept) AS kept, max(CASE WHEN NOT isnan(score) THEN score END) AS score
FROM {name}_rows GROUP BY image_key, caption
"""
_CHANGES = """
CREATE TEMP TABLE changes AS
SELECT image_key, caption, a.score AS score, b.score AS was, CASE
    WHEN b.kept IS NULL THEN 'added' WHEN a.kept IS NULL THEN 'dropped'
    WHEN a.kept AND NOT b.kept THEN 'now_kept' WHEN b.kept AND NOT a.kept THEN 'now_filtered'
    ELSE 'unchanged' END AS change
FROM before b FULL JOIN after a USING (image_key, caption)
"""
_REST = "SELECT count(*) FILTER (change = 'unchanged'), avg(score::DOUBLE - was::DOUBLE) FROM changes"
_COUNTS = """
SELECT count(*), count(*) FILTER (kept), count(DISTINCT caption_hash) FILTER (kept),
    avg(score::DOUBLE) FILTER (NOT isnan(score) AND origin <> 'synthetic'),
    avg(score::DOUBLE) FILTER (NOT isnan(score) AND origin = 'synthetic')
FROM {rows}
"""
_WORDS = """
SELECT count(DISTINCT word)
FROM (SELECT unnest(regexp_extract_all(lower(caption), '{word}')) AS word FROM {rows} WHERE kept)
"""


def _change(connection: "DuckDBPyConnection", name: str) -> Change:
    (count,) = _one(connection, f"SELECT count(*) FROM changes WHERE change = '{name}'")
    found = connection.execute(
        f"SELECT image_key, caption FROM changes WHERE change = '{name}' ORDER BY ALL LIMIT {EXAMPLES}"
    ).fetchall()
    return Change(count, [{"image_key": key, "caption": caption} for key, caption in found])


def _side(connection: "DuckDBPyConnection", rows: str) -> Side:
    captions, kept, distinct, web, synthetic = _one(connection, _COUNTS.format(rows=rows))
    (words,) = _one(connection, _WORDS.format(word=WORD, rows=rows))
    return Side(captions, kept, words, distinct / kept if kept else None, {"web": web, "synthetic": synthetic})


def _one(connection: "DuckDBPyConnection", sql: str) -> tuple[Any, ...]:
    (row,) = connection.execute(sql).fetchall()
    return row
