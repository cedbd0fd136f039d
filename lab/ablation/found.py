"""What is known of an ablation's cells: from the runs of a home, and from the record that is there already."""

from dataclasses import dataclass
from typing import Any

from lab.ablation.earlier import Earlier
from lab.ablation.engine import cells_of, gathered
from lab.ablation.ground import WORLD, Ground
from lab.ablation.noted import Budgets, budgets_of
from lab.ablation.plan import Cell, ids, results
from lab.ablation.table import Ablation
from lab.recipes import Recipe
from lab.runs import Home


@dataclass(frozen=True)
class Found:
    """All arms of a table, with every seed that is known."""

    results: dict[str, dict[int, dict[str, Any]]]
    """By arm and seed what each measure found."""
    budgets: Budgets
    runs: dict[str, dict[str, dict[str, str]]]
    """By arm and seed the runs that found it, by measure."""
    before: list[dict[str, Any]]
    """Who measured what is the record's, see `Earlier.before`."""

    @property
    def seeds(self) -> list[int]:
        """Every seed that an arm has."""
        return sorted({seed for own in self.results.values() for seed in own})


def found(
    table: Ablation, seeds: int, recipe: Recipe, home: Home, earlier: Earlier, ground: Ground = WORLD, *, add: bool = False
) -> Found:
    """Of all arms, and of seeds beyond those asked for: what is done counts, so that no record loses a cell.

    What both the home and the record have is the home's. add: the record's, so that arms that were trained together,
    on one machine, are compared with one another.
    """
    while any(results(Cell(arm, seeds, ground), recipe, home) for arm in table.arms):
        seeds += 1
    here = gathered(cells_of(table, seeds, ground=ground), recipe, home)
    budgets = budgets_of(table, here, recipe, home, ground)
    theirs = []
    for cell in earlier.cells(table, ground):
        one = earlier.found(cell, recipe, home) if add or cell.seed not in here[cell.arm.name] else None
        if one is not None:
            here[cell.arm.name][cell.seed] = one
            budgets = _with(budgets, cell, earlier.budget(cell))
            theirs.append(cell)
    cells = [Cell(arm, seed, ground) for arm in table.arms for seed in sorted(here[arm.name])]
    runs: dict[str, dict[str, dict[str, str]]] = {arm.name: {} for arm in table.arms}
    for cell in cells:
        runs[cell.arm.name][str(cell.seed)] = ids(cell, recipe, home)
    return Found(
        {name: {seed: own[seed] for seed in sorted(own)} for name, own in here.items()},
        {name: {seed: own[seed] for seed in sorted(own, key=int)} for name, own in budgets.items()},
        runs,
        earlier.before(theirs),
    )


def _with(budgets: Budgets, cell: Cell, own: dict[str, Any] | None) -> Budgets:
    if own is None:
        return budgets
    return budgets | {cell.arm.name: budgets.get(cell.arm.name, {}) | {str(cell.seed): own}}
