"""Claims that were looked at while seeds were added: how often, and what that does to the chance of a false finding."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.special import stdtrit

from lab.claim import Claim
from lab.stats import CONFIDENCE

_DRAWS = 100_000


def looks(claim: Claim, result: Mapping[str, Any]) -> tuple[int, ...]:
    """With how many seeds the claim could have been decided, each time that its ablation was run.

    result: a record's, whose `before` says which cells were there earlier. Fewer seeds than a verdict needs are no look.
    """
    earlier = [{(name, seed) for name, seeds in one["cells"].items() for seed in seeds} for one in result.get("before", [])]
    now = {(name, int(seed)) for name, own in result["arms"].items() for seed in own["seeds"]}
    stages = [set[tuple[str, int]]().union(*earlier[:number]) for number in range(1, len(earlier) + 1)]
    found = {_seeds(claim, cells) for cells in (*stages, now)}
    return tuple(sorted(number for number in found if number >= claim.seeds))


def cost_of(each: tuple[int, ...]) -> str:
    """What several looks cost, in a sentence; "" for one look or none."""
    if len(each) < 2:
        return ""
    first = ", ".join(map(str, each[:-1]))
    percent = 100 * found_by_chance(each)
    return f"Decided with {first} and again with {each[-1]} seeds: so looked at, of 100 effects that are none {percent:.0f} would be found, not {100 * (1 - CONFIDENCE):.0f}."


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


def _seeds(claim: Claim, cells: set[tuple[str, int]]) -> int:
    each = [{seed for name, seed in cells if name == arm} for arm in claim.value.arms]
    return len(set.intersection(*each) - set(claim.chosen_on))
