"""A record that is there already: its cells stay in it where they are of the runs that would be done now.

A record is written from the runs of a home. Who goes on in another home, with more seeds or other arms, would
otherwise lose what was measured before.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blip.data.jsons import parse_json
from blip.errors import InputError
from lab.ablation.ground import WORLD, Ground
from lab.ablation.plan import Cell, ids
from lab.ablation.table import Ablation
from lab.recipes import Recipe
from lab.runs import Home

_BY = ("date", "command", "commit", "machine", "versions")


@dataclass(frozen=True)
class Earlier:
    """What the record at a path says of cells; nothing where there is none."""

    path: Path
    record: Mapping[str, Any]

    @classmethod
    def at(cls, path: Path) -> "Earlier":
        """Read it; InputError where it is no record."""
        if not path.exists():
            return cls(path, {})
        try:
            found = cls(path, parse_json(path.read_bytes()))
            if "arms" not in found.record["result"]:
                raise KeyError("arms")
            found.before(())
            for name, seed in found.names:
                _ = [found._result.get(what, {}).get(name, {}).get(str(seed)) for what in ("runs", "budgets")]
            _ = found.looks
        except (ValueError, KeyError, TypeError, AttributeError, IsADirectoryError):
            raise InputError(f"{path} is no record of an ablation, or is damaged; move it away, or give another --out.") from None
        return found

    @property
    def names(self) -> list[tuple[str, int]]:
        """Arm and seed of every cell that it has."""
        return [(name, int(seed)) for name, own in self._result.get("arms", {}).items() for seed in own["seeds"]]

    def cells(self, table: Ablation, ground: Ground = WORLD) -> list[Cell]:
        """Those of the table's arms."""
        arms = {arm.name: arm for arm in table.arms}
        return [Cell(arms[name], seed, ground) for name, seed in self.names if name in arms]

    def found(self, cell: Cell, recipe: Recipe, home: Home) -> dict[str, Any] | None:
        """What a cell found; None where it is not there, or is of other runs than those of now."""
        own = self._of(cell, "runs")
        if own is None or own != ids(cell, recipe, home):
            return None
        return self._result["arms"][cell.arm.name]["seeds"][str(cell.seed)]

    def budget(self, cell: Cell) -> dict[str, Any] | None:
        """What its student saw (lab/ablation/budget.py), None where it has no student."""
        return self._of(cell, "budgets")

    def before(self, cells: Iterable[Cell]) -> list[dict[str, Any]]:
        """Who measured these cells: date, command, commit, machine, versions and `cells`, seeds by arm."""
        wanted = {(cell.arm.name, cell.seed) for cell in cells}
        older = self._result.get("before", [])
        others = {(name, seed) for one in older for name, seeds in one["cells"].items() for seed in seeds}
        own = {name: self.record[name] for name in _BY if name in self.record}
        rows = [(one, {(name, seed) for name, seeds in one["cells"].items() for seed in seeds}) for one in older]
        rows.append((own, set(self.names) - others))
        return [dict(by) | {"cells": _by_arm(have & wanted)} for by, have in rows if have & wanted]

    def set_aside(self, table: Ablation, recipe: Recipe, home: Home, ground: Ground = WORLD) -> tuple[Path, int] | None:
        """Copy the record where it has cells of other runs than those of now, which the next one will not have.

        The copy and the number of those cells; None where all fit.
        """
        fit = [cell for cell in self.cells(table, ground) if self.found(cell, recipe, home) is not None]
        lost = len(self.names) - len(fit)
        if not lost:
            return None
        content = self.path.read_bytes()
        copy = self.path.with_name(f"{self.path.name}.before-{hashlib.sha256(content).hexdigest()[:8]}")
        copy.write_bytes(content)
        return copy, lost

    def tells(self, record: Mapping[str, Any]) -> bool:
        """Whether it already says what this record of the same cells would, whoever measured them."""
        mine, new = (json.loads(json.dumps(one.get("result", {}))) for one in (self.record, record))
        return {**mine, "before": None} == {**new, "before": None}

    @property
    def looks(self) -> dict[str, list[int]]:
        """With how many seeds each claim could be decided so far (`lab.looks`)."""
        return {row["claim"]: row.get("looks", [row["seeds"]]) for row in self._result.get("claims", [])}

    @property
    def _result(self) -> Mapping[str, Any]:
        return self.record.get("result", {})

    def _of(self, cell: Cell, what: str) -> dict[str, Any] | None:
        return self._result.get(what, {}).get(cell.arm.name, {}).get(str(cell.seed))


def _by_arm(cells: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {}
    for name, seed in sorted(cells):
        rows.setdefault(name, []).append(seed)
    return rows
