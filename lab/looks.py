"""Claims that were looked at while seeds were added: how often, and what that does to the chance of a false finding."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.special import stdtrit

from lab.ablation.earlier import Earlier
from lab.ablation.ground import Ground
from lab.ablation.table import Ablation
from lab.claim import Claim
from lab.recipes import Recipe
from lab.runs import Home
from lab.stats import CONFIDENCE

Looks = Mapping[str, Sequence[int]]
"""With how many seeds each claim could be decided, by its id, each time that its ablation was run."""
_DRAWS = 100_000


def looked(earlier: Earlier, table: Ablation, claims: Iterable[Claim], recipe: Recipe, home: Home, ground: Ground) -> Looks:
    """The looks of the record that is there, before any cell is added to it.

    Cells of other runs than those of now say nothing of what comes: a claim that has some begins anew.
    """
    cells = earlier.cells(table, ground)
    other = {cell.arm.name for cell in cells if earlier.found(cell, recipe, home) is None}
    return {one.id: earlier.looks[one.id] for one in claims if one.id in earlier.looks and not other & set(one.value.arms)}


def with_looks(rows: Sequence[Mapping[str, Any]], before: Looks) -> list[dict[str, Any]]:
    """Decided claims, each with `looks`: those before and the one of now; fewer seeds than a verdict needs are none."""
    each = [sorted({*before.get(row["claim"], ()), row["seeds"]}) for row in rows]
    return [{**row, "looks": [n for n in own if n >= row["fewest_seeds"]]} for row, own in zip(rows, each, strict=True)]


def cost_of(each: Sequence[int]) -> str:
    """What several looks cost, in a sentence; "" for one look or none."""
    if len(each) < 2:
        return ""
    first, percent = ", ".join(map(str, each[:-1])), 100 * found_by_chance(tuple(each))
    return (
        f"Tested after {first} and again after {each[-1]} seeds, which raises the false-positive rate from "
        f"{100 * (1 - CONFIDENCE):.0f}% to about {percent:.0f}%."
    )


@lru_cache
def found_by_chance(each: tuple[int, ...]) -> float:
    """The share of claims without an effect whose paired t-interval leaves out 0 at one of these numbers of seeds at least.

    By simulation of normal differences, the same at every call.
    """
    values = np.random.default_rng(0).standard_normal((_DRAWS, max(each)))
    found = np.zeros(_DRAWS, dtype=bool)
    for number in each:
        own = values[:, :number]
        error = own.std(axis=1, ddof=1) / np.sqrt(number)
        found |= np.abs(own.mean(axis=1)) > stdtrit(number - 1, 0.5 + CONFIDENCE / 2) * error
    return float(found.mean())
