"""Agreement across devices and precisions: how far scores, verdicts and captions of the same job differ.

Bytes are equal on one device type and precision (see `blip.tiles`). Across them agreement is measured here.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from blip.capfilt.decide import usual
from blip.capfilt.ledger import Ledger
from blip.capfilt.policy import Policy
from blip.capfilt.queries import connected, create_view
from blip.capfilt.tolerance import Measured, Running
from blip.errors import InputError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True)
class Agreement:
    """What two sides have in common, and where they differ."""

    captions: int
    """In both, by row_id: the same text of the same image from the same source."""
    only_here: int
    only_there: int
    columns: dict[str, Measured]
    """Of every score column that both have and in which a caption can be compared, by FILTER.COLUMN here."""
    decided: int
    """Of the captions in both, those that no person decided on either side."""
    flips: int
    """Of those, the ones that the policy keeps on one side only."""


def agree(
    here: Ledger,
    there: Ledger,
    policy: Policy | None = None,
    *,
    rescored: Mapping[str, str] | None = None,
    versions: Mapping[str, str] | None = None,
) -> Agreement:
    """Compare the scores of one job on two devices or in two precisions, in SQL.

    there may be the same ledger. rescored: filter here -> its name there, for captions that were scored again
    under another name; other filters are compared with those of their own name, in two ledgers. versions are
    kept with the measurements. InputError where nothing can be compared, and for filters of other weights.
    """
    policy = policy or usual(here)
    names = _filters(here, there, rescored or {})
    with connected(here, there) as connection:
        create_view(connection, here, policy, "here")
        create_view(connection, there, policy.renamed(names), "there")
        captions, only_here, only_there, decided, flips = _one(connection, _VERDICTS)
        if not captions:
            raise InputError(
                f"{here.folder} and {there.folder} have no caption in common; compare two ledgers of the same job."
            )
        columns: dict[str, Measured] = {}
        for name, other in names.items():
            columns |= _columns(connection, here, there, (name, other), versions or {})
    return Agreement(captions, only_here, only_there, columns, decided, flips)


_VERDICTS = """
WITH rows AS (
    SELECT a.row_id AS one, b.row_id AS other, a.kept <> b.kept AS flips,
        a."by" = 'filter' AND b."by" = 'filter' AS by_filters
    FROM here a FULL JOIN there b ON a.row_id = b.row_id
)
SELECT count(*) FILTER (one IS NOT NULL AND other IS NOT NULL), count(*) FILTER (other IS NULL),
    count(*) FILTER (one IS NULL), count(*) FILTER (by_filters), count(*) FILTER (by_filters AND flips)
FROM rows
"""
# To DuckDB NaN is a value. Equal infinities differ by nothing, any other pair with one by no number.
_DIFFERENCES = """
WITH scored AS (
    SELECT CASE WHEN NOT isnan(a.{column}) THEN a.{column}::DOUBLE END AS x,
        CASE WHEN NOT isnan(b.{column}) THEN b.{column}::DOUBLE END AS y
    FROM read_parquet($here, hive_partitioning = false) a
        JOIN read_parquet($there, hive_partitioning = false) b USING (row_id)
)
SELECT count(difference), max(difference), quantile_disc(difference, 0.999), count(*) FILTER (difference IS NULL AND (x IS NOT NULL OR y IS NOT NULL))
FROM (SELECT *, CASE WHEN x = y THEN 0 WHEN NOT isinf(x) AND NOT isinf(y) THEN abs(x - y) END AS difference FROM scored)
"""


def _filters(here: Ledger, there: Ledger, rescored: Mapping[str, str]) -> dict[str, str]:
    """Filter here -> filter there, all that can be compared."""
    for side, wanted in ((here, rescored.keys()), (there, rescored.values())):
        if unknown := [name for name in wanted if name not in side.filters]:
            known = ", ".join(side.filters) or "none"
            raise InputError(f"The ledger in {side.folder} has no filter {unknown[0]!r}; it has {known}.")
    apart = os.path.realpath(here.folder) != os.path.realpath(there.folder)
    names = {name: name for name in here.filters if apart and name in there.filters} | dict(rescored)
    if not names:
        raise InputError(
            f"There is nothing to compare {here.folder} with: give a second ledger with a filter of the same "
            "name, or the filter that holds the same scores again (--rescored itm=itm-bf16)."
        )
    for name, other in names.items():
        if here.about["filters"].get(name) != there.about["filters"].get(other):
            raise InputError(
                f"{name} of {here.folder} and {other} of {there.folder} are of different weights; "
                "compare scores of the same ones."
            )
    return names


def _columns(
    connection: "DuckDBPyConnection",
    here: Ledger,
    there: Ledger,
    names: tuple[str, str],
    versions: Mapping[str, str],
) -> dict[str, Measured]:
    """What the columns of one filter differ by; those in which no caption can be compared are left out."""
    sides = list(zip((here, there), names, strict=True))
    tables = [(ledger, f"scores/{name}", [e.shard for e in ledger.entries(f"scores/{name}")]) for ledger, name in sides]
    first, second = (ledger.columns(table, shards[0]) for ledger, table, shards in tables)
    paths = [[str(ledger.path(table, shard)) for shard in shards] for ledger, table, shards in tables]
    one, other = (Running.of(ledger, name) for ledger, name in sides)
    found = {}
    for column in (name for name in first if name in second and name != "row_id"):
        quoted = '"' + column.replace('"', '""') + '"'
        asked = dict(zip(("here", "there"), paths, strict=True))
        captions, largest, p999, unscored = _one(connection, _DIFFERENCES.format(column=quoted), asked)
        if captions:
            found[f"{names[0]}.{column}"] = Measured(captions, largest, p999, unscored, one, other, dict(versions))
    return found


def _one(connection: "DuckDBPyConnection", sql: str, asked: Mapping[str, Any] | None = None) -> tuple[Any, ...]:
    (row,) = connection.execute(sql, asked).fetchall()
    return row
