"""The ledger in SQL: DuckDB views of every caption with its score and verdict, and the twin of `decide`.

A view reads only the columns a query asks for, streams where the policy looks at one caption at a time, and
spills to disk where it ranks, within the connection's memory_limit.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa

from blip.capfilt.decide import check_scores, usual
from blip.capfilt.ledger import Ledger
from blip.capfilt.manifest import Entry
from blip.capfilt.policy import Policy, Term, single
from blip.capfilt.tolerance import Margins
from blip.errors import InputError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

WORD = r"""[^.!"()*#:;~\s\x0B\x1C-\x1F\x{85}\p{Z}]+"""
"""What `clean_caption` leaves between marks and spaces, as a regular expression of DuckDB's."""

_BY_SCORE = "ORDER BY CASE WHEN NOT isnan(score) THEN score END DESC NULLS LAST, position"
_LAST = """
CREATE TEMP TABLE {people} AS SELECT row_id, last(kept ORDER BY position) AS decided
FROM (SELECT *, row_number() OVER () AS position FROM {overrides}) GROUP BY row_id
"""
_VERDICTS = """
CREATE TEMP VIEW {name} AS SELECT d.* EXCLUDE (passes, is_synthetic, near),
    coalesce({decided}, passes) AS kept, CASE WHEN {decided} IS NULL THEN 'filter' ELSE 'person' END AS "by",
    near AND {decided} IS NULL AS borderline
FROM {decisions} d {people}
"""


def decide_duckdb(ledger: Ledger, policy: Policy | None = None) -> pa.Table:
    """The same verdicts as `decide`, by SQL: a witness of it."""
    with connected(ledger) as connection:
        create_view(connection, ledger, policy or usual(ledger))
        sql = 'SELECT row_id, image_key, origin, caption, score, kept, "by", borderline FROM verdicts ORDER BY position'
        return connection.sql(sql).to_arrow_table()


@contextmanager
def connected(*ledgers: Ledger) -> Iterator["DuckDBPyConnection"]:
    """A DuckDB connection in memory; InputError where it cannot read one of these ledgers."""
    import duckdb

    with refusing(*ledgers), duckdb.connect() as connection:
        yield connection


@contextmanager
def refusing(*ledgers: Ledger) -> Iterator[None]:
    """Within it, what DuckDB cannot read of these ledgers is an InputError."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        places = " or ".join(str(one.folder) for one in ledgers)
        raise InputError(f"{places} cannot be read ({error}); lab ledger verify says what is damaged.") from error


def create_view(
    connection: "DuckDBPyConnection", ledger: Ledger, policy: Policy, name: str = "verdicts"
) -> None:
    """A view of that name: the candidates' columns, position (ledger order, from 1), score, kept, by, borderline.

    InputError where a score that the policy needs is missing. A ledger in an object store is read by fsspec.
    """
    register_store(connection, ledger)
    check_scores(ledger, policy)
    scored = f"{name}_scored"
    connection.execute(f"CREATE TEMP VIEW {scored} AS {_scored(ledger, policy)}")
    sql = f"SELECT * FROM {scored}"
    for condition in _stages(connection, scored, policy):
        sql = f"SELECT * REPLACE (passes AND ({condition}) AS passes) FROM ({sql})"
    overrides = ledger.table("overrides", ["row_id", "kept"])
    people, decided = "", "NULL::BOOLEAN"
    if overrides.num_rows:  # else nothing is joined, and a query reads no row_id
        connection.register(f"{name}_overrides", overrides)
        connection.execute(_LAST.format(people=f"{name}_people", overrides=f"{name}_overrides"))
        people, decided = f"LEFT JOIN {name}_people USING (row_id)", "decided"
    view = _VERDICTS.format(name=name, decisions=f"({sql})", people=people, decided=decided)
    connection.execute(view)


def register_store(connection: "DuckDBPyConnection", ledger: Ledger) -> None:
    """Let a connection read the paths of a ledger that lies in an object store."""
    store = ledger.store.filesystem
    if store is None:
        return
    names = (store.protocol,) if isinstance(store.protocol, str) else store.protocol
    if not any(connection.filesystem_is_registered(name) for name in names):
        connection.register_filesystem(store)


def _scored(ledger: Ledger, policy: Policy) -> str:
    """Candidates with position and score, whether they pass the conditions, and whether they are synthetic."""
    entries = list(ledger.entries("candidates"))
    if not entries:
        raise InputError(f"The ledger in {ledger.folder} holds no captions yet; run lab capfilt first.")
    tables = {name: f"scores/{name}" for name in policy.columns}
    for name, table in tables.items():
        for entry in entries:
            own = ledger.entry(table, entry.shard)
            if own is None or own.rows != entry.rows:
                raise InputError(
                    f"The filter {name} has not scored shard {entry.shard} of {ledger.folder}; "
                    "run lab capfilt or lab ledger score again to finish it."
                )
    places = {name: f"s{number}" for number, name in enumerate(tables)}
    joined = " ".join(
        f"POSITIONAL JOIN {_files(ledger, table, entries)} {places[name]}" for name, table in tables.items()
    )
    score = _score(policy, places)
    near = _near(policy, Margins.of(ledger, policy), score, places)
    return f"""
        SELECT row_number() OVER () AS position, c.*, {score} AS score, {_passes(policy, score, places)} AS passes,
            {near} AS near, c.origin = 'synthetic' AS is_synthetic
        FROM {_files(ledger, "candidates", entries)} c {joined}"""


def _files(ledger: Ledger, table: str, entries: list[Entry]) -> str:
    paths = ", ".join(_quoted(str(ledger.path(table, entry.shard))) for entry in entries)
    return f"read_parquet([{paths}], hive_partitioning = false)"  # else a folder named a=b is a column a


def _score(policy: Policy, places: dict[str, str]) -> str:
    if not policy.weighted_sum:
        return _column(policy.summands[0], places)
    weighed = [f"{_column(term, places)}::DOUBLE * {_number(term.number)}" for term in policy.summands]
    total = f"({' + '.join(weighed)})"
    # DuckDB refuses a number beyond a float's range, where pyarrow's cast is infinite.
    beyond = f"CASE WHEN {total} > 0 THEN 'inf'::FLOAT WHEN {total} < 0 THEN '-inf'::FLOAT END"
    return f"coalesce(TRY_CAST({total} AS FLOAT), {beyond})"


def _passes(policy: Policy, score: str, places: dict[str, str]) -> str:
    union, intersection = (
        [_reaches(_column(term, places), _single(term.number)) for term in map(Term.parse, texts)]
        for texts in (policy.union, policy.intersection)
    )
    either = " OR ".join([_reaches(score, _limit(policy)), *union])
    return " AND ".join([f"({either})", *intersection])


def _limit(policy: Policy) -> str:
    limits = (_single(policy.synthetic), _single(policy.web))
    return "(CASE WHEN c.origin = 'synthetic' THEN {} ELSE {} END)".format(*limits)


def _near(policy: Policy, margins: Margins, score: str, places: dict[str, str]) -> str:
    """Whether a score is within its margin of a number that the policy compares it with."""
    compared = [(score, _limit(policy), margins.score)] if margins.score else []
    compared += [(_column(term, places), _single(term.number), margin) for term, margin in margins.terms]
    # NaN, also that of infinity less infinity, is the largest value here and within no margin.
    near = [f"abs({own}::DOUBLE - ({limit})::DOUBLE) <= {_number(m)}" for own, limit, m in compared]
    return f"coalesce({' OR '.join(near)}, false)" if near else "false"


def _reaches(score: str, limit: str) -> str:
    # DuckDB takes NaN for the largest value.
    return f"coalesce(NOT isnan({score}) AND {score} >= {limit}, false)"


def _stages(connection: "DuckDBPyConnection", scored: str, policy: Policy) -> list[str]:
    """What must hold beyond the conditions, one after the other: each looks at rows that still pass."""
    stages = []
    if policy.top_fraction < 1:
        cut = {origin: _cut(connection, scored, origin, policy.top_fraction) for origin in (True, False)}
        stages.append(f"coalesce(score >= CASE WHEN is_synthetic THEN {cut[True]} ELSE {cut[False]} END, false)")
        stages.append("NOT isnan(score)")
    if policy.best_synthetic is not None:
        place = f"row_number() OVER (PARTITION BY image_key, is_synthetic, passes {_BY_SCORE})"
        stages.append(f"NOT is_synthetic OR {place} <= {policy.best_synthetic}")
    if policy.per_image is not None:
        stages.append(f"row_number() OVER (PARTITION BY image_key, passes {_BY_SCORE}) <= {policy.per_image}")
    if policy.per_caption is not None:
        place = "row_number() OVER (PARTITION BY caption_hash, passes ORDER BY position)"
        stages.append(f"{place} <= {policy.per_caption}")
    return stages


def _cut(connection: "DuckDBPyConnection", scored: str, synthetic: bool, share: float) -> str:
    """The score, in SQL, that ends the best share of an origin's scored captions."""
    those = f"FROM {scored} WHERE is_synthetic = {synthetic} AND score IS NOT NULL AND NOT isnan(score)"
    ((scored_captions,),) = connection.execute(f"SELECT count(*) {those}").fetchall()
    wanted = round(share * scored_captions)
    if not wanted:
        return "'nan'::FLOAT"  # which only NaN reaches
    sql = f"SELECT score {those} ORDER BY score DESC LIMIT 1 OFFSET {wanted - 1}"
    ((score,),) = connection.execute(sql).fetchall()
    return f"{_number(score)}::FLOAT"


def _column(term: Term, places: dict[str, str]) -> str:
    name = term.column.replace('"', '""')
    return f'{places[term.filter]}."{name}"'


def _number(value: float) -> str:
    return f"'{float(value)!r}'::DOUBLE"  # every digit, and infinity


def _single(value: float) -> str:
    return f"'{float(single(value))!r}'::FLOAT"  # DuckDB refuses a double beyond a float's range


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
