"""Claims decided by what the cells of an ablation found: an effect a seed, intervals, a verdict."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from lab.ablations import ablation
from lab.claim import R1, Claim, Difference
from lab.claims import CLAIMS
from lab.stats import FEWEST_ITEMS, Interval, item_interval, paired_effect, verdict

Budgets = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""What students' pre-trainings saw, by arm and seed, as `lab.ablation.noted` has it."""
Found = Mapping[str, Mapping[int, Mapping[str, Any]]]
"""What was measured, by arm and seed."""
_ITEMS = {R1: "r1"}  # metrics that are the mean of digits, one an evaluation item


def decided(name: str, found: Found) -> list[dict[str, Any]]:
    """The claims of an ablation, each with its values a seed, effect, intervals and verdict, as plain values.

    A claim whose arms are not all done for at least one seed is left out; bounds that are not finite are None.
    """
    claims = [claim for claim in CLAIMS if claim.ablation == name]
    return [row for claim in claims if (row := _decided(claim, found)) is not None]


def seeds_of(claim: Claim, found: Found) -> list[int]:
    """The seeds for which all arms of a claim are done."""
    each = [set(found.get(arm, {})) for arm in claim.value.arms]
    return sorted(set.intersection(*each))


def undeclared(claim: Claim, budgets: Budgets, seeds: Sequence[str]) -> str | None:
    """Why the claim is refused: two of its arms saw unequally many samples at one of these seeds, and neither the
    claim nor a field of these arms says so. None where it stands, or where samples are not noted.
    """
    arms = ablation(claim.ablation)
    for seed in seeds if not claim.unequal else ():
        known = {name: budgets[name][seed]["samples"] for name in claim.value.arms if seed in budgets.get(name, {})}
        for one, other in combinations(known, 2):
            if known[one] != known[other] and not (arms.arm(one).declared or arms.arm(other).declared):
                return (
                    f"The claim {claim.id} is refused: at seed {seed} the arm {one!r} saw {known[one]:,} samples and "
                    f"{other!r} {known[other]:,}, and no field of theirs declares it; run lab ablate {claim.ablation} "
                    "again with equal samples."
                )
    return None


def _decided(claim: Claim, found: Found) -> dict[str, Any] | None:
    values = claim.value.each({seed: {arm: found[arm][seed] for arm in claim.value.arms} for seed in seeds_of(claim, found)})
    if not values:
        return None
    effect = paired_effect(list(values.values()))
    return {
        "claim": claim.id,
        "says": claim.says,
        "values": {str(seed): value for seed, value in values.items()},
        "effect": effect.interval.mean,
        "interval": _bounds(effect.interval),
        "size": effect.size,
        "seeds": effect.n,
        "fewest_seeds": claim.seeds,
        "margin": claim.margin,
        "items_interval": _items(claim, found, list(values)),
        "verdict": verdict(effect, margin=claim.margin, least=claim.seeds),
    }


def _items(claim: Claim, found: Found, seeds: Sequence[int]) -> list[float | None] | None:
    """The interval over evaluation items of the mean difference of these seeds' models; None where none are kept.

    TR@1 and IR@1 count as much as each other, so an item's hit is weighed by how many its side has.
    """
    value = claim.value
    if not isinstance(value, Difference) or any(metric not in _ITEMS for _, metric, _ in value.terms):
        return None
    rows = [
        sum((weight * _hits(found[arm][seed], _ITEMS[metric]) for arm, metric, weight in value.terms), np.zeros(()))
        for seed in seeds
    ]
    differences = np.mean(rows, axis=0)
    return _bounds(item_interval(differences)) if len(differences) >= FEWEST_ITEMS else None


def _hits(found: Mapping[str, Any], name: str) -> np.ndarray:
    """What each query adds to the mean of both directions (Q,): images first, then their texts."""
    hits = np.array([int(digit) for digit in found["worth"]["items"][name]], dtype=float)
    images = found["worth"]["retrieval"]["all"]["images"]
    texts = len(hits) - images
    return hits * np.where(np.arange(len(hits)) < images, len(hits) / images, len(hits) / texts) / 2


def _bounds(interval: Interval) -> list[float | None]:
    return [bound if math.isfinite(bound) else None for bound in (interval.low, interval.high)]
