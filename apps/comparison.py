"""Two score columns over the captions that both have: counts, parts, density and pages, as queries.

Plain Python, no Gradio. The tables come from apps/pairing.py; thresholds, areas and pages are bound to the queries.
"""

from functools import cached_property
from typing import Any

import duckdb

from apps.compared import ORDERS, PARTS, Axis, Counts, Facts, Pair, PairPage, Selection
from apps.pairing import Column
from blip.capfilt import Policy

BINS = 50
"""Bins of the density of two scores along each axis."""

_ORIGIN = "($origin IS NULL OR synthetic = $origin)"
_SELECTED = "{part} AND " + _ORIGIN + " AND {box}"
_BOX = "a_score BETWEEN $left AND $right AND b_score BETWEEN $low AND $high"
_DENSITY = f"""
SELECT {{x}} AS x, {{y}} AS y, count(*) AS n FROM {{table}}
WHERE a_score IS NOT NULL AND b_score IS NOT NULL AND {_ORIGIN} GROUP BY ALL ORDER BY ALL
"""
_PAGE = """
SELECT p.pair, p.same, a.image_key, a.image_ref, a.image_sha256,
    p.a_level >= $a::FLOAT AS a_kept, p.b_level >= $b::FLOAT AS b_kept, {of_a}, {of_b}
FROM (SELECT * FROM {table} WHERE {condition} ORDER BY {order}, pair LIMIT $n OFFSET $at) p
JOIN {a} a ON a.row = p.a_row JOIN {b} b ON b.row = p.b_row ORDER BY {order}, pair
"""
_FACTS = ("origin", "caption", "better", "score", "truth", "noise_kind", "by_person")


class Comparison:
    """Two score columns over the captions that both have; made by `Comparing.compare`."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, columns: tuple[Column, Column], tables: tuple[str, str, str]
    ) -> None:
        self.columns = columns
        self._connection, (self._a, self._b, self._pairs) = connection, tables
        self.axes = (self._axis("a_score"), self._axis("b_score"))
        """The range of either side's scores."""
        self._densities: dict[bool | None, list[tuple[int, int, int]]] = {}

    @cached_property
    def pairs(self) -> int:
        """Captions that have a counterpart."""
        return self._ask(f"SELECT count(*) AS n FROM {self._pairs}")[0]["n"]

    @cached_property
    def alone(self) -> tuple[int, int]:
        """Captions of either side without a counterpart."""
        sizes = [self._ask(f"SELECT count(*) AS n FROM {table}")[0]["n"] for table in (self._a, self._b)]
        return sizes[0] - self.pairs, sizes[1] - self.pairs

    @cached_property
    def other_bytes(self) -> int:
        """Pairs whose picture is not the same file in the two ledgers."""
        return self._ask(f"SELECT count(*) AS n FROM {self._pairs} WHERE other_bytes")[0]["n"]

    @cached_property
    def thresholds(self) -> tuple[float, float]:
        """Where to begin: 0.5 of a match probability; of any other score what keeps as many as the other side."""
        start = Policy().web
        a = start if self.columns[0].name == Policy().column else self.threshold_of("a", self.pairs // 2)
        if self.columns[1].name == Policy().column:
            return a, start
        return a, self.threshold_of("b", self.kept("a", a))

    def kept(self, side: str, threshold: float, synthetic: bool | None = None) -> int:
        """Captions that a side (a or b) keeps; synthetic ones, given ones, or (None) both."""
        sql = f"SELECT count(*) AS n FROM {self._pairs} WHERE {side}_level >= $t::FLOAT AND {_ORIGIN}"
        return self._ask(sql, t=threshold, origin=synthetic)[0]["n"]

    def threshold_of(self, side: str, keep: int, synthetic: bool | None = None) -> float:
        """The highest threshold on its axis's steps at which a side keeps at least so many captions."""
        axis = self.axes["ab".index(side)]
        if keep < 1:
            return axis.high
        sql = f"SELECT {side}_level AS level FROM {self._pairs} WHERE {_ORIGIN} ORDER BY level DESC LIMIT 1 OFFSET $at"
        found = self._ask(sql, origin=synthetic, at=keep - 1)
        return axis.step_below(found[0]["level"] if found else axis.low)

    def counts(self, chosen: Selection) -> Counts:
        """What both, one or neither keeps, by the truth of either side's caption; the box and the part aside."""
        sql = f"""
            SELECT a_level >= $a::FLOAT AS a, b_level >= $b::FLOAT AS b, a_truth, b_truth, count(*) AS n
            FROM {self._pairs} WHERE {_ORIGIN} GROUP BY ALL
        """
        rows = self._ask(sql, a=chosen.a, b=chosen.b, origin=chosen.synthetic)
        return Counts({(r["a"], r["b"], r["a_truth"], r["b_truth"]): r["n"] for r in rows})

    def part_counts(self, chosen: Selection) -> dict[str, int]:
        """How many pairs each part holds inside the selected box."""
        counts = ", ".join(f'count(*) FILTER ({condition}) AS "{part}"' for part, condition in PARTS.items())
        sql = f"SELECT {counts} FROM {self._pairs} WHERE {_condition(chosen, 'true')}"
        return self._ask(sql, **self._bound(chosen))[0]

    def density(self, synthetic: bool | None = None) -> list[tuple[int, int, int]]:
        """Bins (x, y, captions) of the pairs that both sides have a score for; BINS along each axis, from 0."""
        if synthetic not in self._densities:
            x, y = (_bin(side, axis) for side, axis in zip("ab", self.axes, strict=True))
            rows = self._ask(_DENSITY.format(x=x, y=y, table=self._pairs), origin=synthetic)
            self._densities[synthetic] = [(row["x"], row["y"], row["n"]) for row in rows]
        return self._densities[synthetic]

    def page(self, chosen: Selection, pairs: int) -> PairPage:
        """The pairs of a page; one after the last is the last. pairs: how many are selected, from `part_counts`."""
        condition = _condition(chosen, PARTS[chosen.part])
        number = min(max(chosen.page, 0), max(0, -(-pairs // chosen.size) - 1))
        facts = {f"of_{s}": ", ".join(f"{s}.{name} AS {s}_{name}" for name in _FACTS) for s in "ab"}
        order = ORDERS[chosen.order].format(a=_share("a", self.axes[0]), b=_share("b", self.axes[1]))
        sql = _PAGE.format(table=self._pairs, a=self._a, b=self._b, condition=condition, order=order, **facts)
        rows = self._ask(sql, **self._bound(chosen), n=chosen.size, at=number * chosen.size)
        return PairPage(tuple(map(_pair, rows)), number, chosen.size, pairs)

    def _axis(self, column: str) -> Axis:
        sql = f"SELECT min({column}) AS low, max({column}) AS high FROM {self._pairs} WHERE isfinite({column})"
        row = self._ask(sql)[0]
        return Axis.around(row["low"], row["high"])

    def _bound(self, chosen: Selection) -> dict[str, Any]:
        values = {"a": chosen.a, "b": chosen.b, "origin": chosen.synthetic}
        if chosen.box is not None:
            left, low, right, high = chosen.box
            values |= {"left": left, "right": right, "low": low, "high": high}
        return values

    def _ask(self, sql: str, **values: Any) -> list[dict[str, Any]]:
        used = {name: value for name, value in values.items() if f"${name}" in sql}
        with self._connection.cursor() as cursor:
            cursor.execute(sql, used)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _condition(chosen: Selection, part: str) -> str:
    return _SELECTED.format(part=part, box="true" if chosen.box is None else _BOX)


def _share(side: str, axis: Axis) -> str:
    return f"({side}_score::DOUBLE - {axis.low!r}) / {axis.high - axis.low!r}"


def _bin(side: str, axis: Axis) -> str:
    return f"greatest(0, least({BINS - 1}, floor({_share(side, axis)} * {BINS})))::INT"


def _pair(row: dict[str, Any]) -> Pair:
    a, b = (Facts(**{name: row[f"{side}_{name}"] for name in (*_FACTS, "kept")}) for side in "ab")
    return Pair(row["image_key"], row["image_ref"], row["image_sha256"], row["same"], a, b)
