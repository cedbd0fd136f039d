"""Claims decided by what the cells of an ablation found: an effect a seed, intervals, a verdict."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from lab.ablation.arms import Arm
from lab.ablation.budget import MORE_SAMPLES, OTHER_WEB
from lab.ablation.table import Ablation
from lab.ablations import ablation
from lab.claim import R1, Claim, Difference, value_at
from lab.claims import CLAIMS
from lab.stats import FEWEST_ITEMS, item_interval, paired_effect, verdict

Budgets = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""What students' pre-trainings saw, by arm and seed, as `lab.ablation.noted` has it."""
Noted = tuple[str, Any]
"""An arm, and what is noted of it."""
Found = Mapping[str, Mapping[int, Mapping[str, Any]]]
"""What was measured, by arm and seed."""
_ITEMS = {R1: "r1"}  # metrics that are the mean of digits, one an evaluation item


def decided(name: str, found: Found, claims: Sequence[Claim] = CLAIMS) -> list[dict[str, Any]]:
    """Those of the claims that are of an ablation, each with its values a seed, effect, intervals and verdict, as plain values.

    A claim whose arms are not all done for at least one seed is left out; bounds that are not finite are None.
    """
    own = [claim for claim in claims if claim.ablation == name]
    return [row for claim in own if (row := _decided(claim, found)) is not None]


def seeds_of(claim: Claim, found: Found) -> list[int]:
    """The seeds for which all arms of a claim are done, without those by which the arms were chosen."""
    each = [set(found.get(arm, {})) for arm in claim.value.arms]
    return sorted(set.intersection(*each) - set(claim.chosen_on))


def undeclared(claim: Claim, budgets: Budgets, seeds: Sequence[str], table: Ablation | None = None) -> str | None:
    """Why the claim is refused: two of its arms saw unequally many samples, or read other words, at one of these seeds,
    and neither the claim nor a field of these arms says so. None where it stands, or where it is not noted.

    table: the claim's ablation, where it is none of the lab's own.
    """
    table = table or ablation(claim.ablation)
    for what, fields in (("samples", MORE_SAMPLES), ("vocabulary", OTHER_WEB)):
        for seed in seeds if not claim.unequal else ():
            if (pair := _unlike(claim, table, budgets, seed, what, fields)) is not None:
                return (
                    f"The claim {claim.id} is refused: at seed {seed} {_differ(*pair, what)}, and no field of theirs declares "
                    f"it; run lab ablate {claim.ablation} again with equal {_EQUAL[what]}."
                )
    return None


def read_own_words(claim: Claim, budgets: Budgets, table: Ablation | None = None) -> bool:
    """Whether students of the claim were trained on CapFilt's texts when arms had no common vocabulary.

    Records from then say nothing of vocabularies. table: the claim's ablation, where it is none of the lab's own.
    """
    table = table or ablation(claim.ablation)
    arms = [arm for name in claim.value.arms if isinstance(arm := table.arm(name), Arm) and arm.mix is not None]
    said = [one.get("vocabulary") for arm in arms for one in budgets.get(arm.name, {}).values()]
    return claim.of_students and bool(said) and None in said


def at_ceiling(claim: Claim, found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> bool:
    """Whether every arm of a claim about shares is, on average over its seeds, so near 1 that no difference that counts
    could show. found: results by arm and seed, as a record has them.
    """
    value = claim.value
    if not isinstance(value, Difference) or not claim.of_students:
        return False
    means = [np.mean([value_at(one, metric) for one in found[arm].values()]) for arm, metric, _ in value.terms if found.get(arm)]
    return bool(means) and bool(min(means) >= 1 - claim.margin)


def to_be_gained(claim: Claim, found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> tuple[str, float] | None:
    """The arm to beat (with its metric, where a claim has arms by several), and what it leaves of a share to be gained, by
    its mean over the seeds of all arms.

    Of a claim about two gains (terms: treated, control, treated, control) the one to beat that leaves less. None where the claim compares no arms
    two by two by a share. found as in `at_ceiling`.
    """
    value = claim.value
    if not isinstance(value, Difference) or not claim.of_students:
        return None
    pairs = list(zip(value.terms[::2], value.terms[1::2], strict=False))
    if len(value.terms) % 2 or any(abs(one) != 1 or one + other for (*_, one), (*_, other) in pairs):
        return None
    shared = set[str].intersection(*(set(found.get(arm, {})) for arm in value.arms))
    seeds = [seed for seed in shared if int(seed) not in claim.chosen_on]
    several = len(value.metrics) > 1
    left = [(f"{arm} ({metric})" if several else arm, 1 - share) for _, (arm, metric, _) in pairs if (share := _mean_of(found, arm, metric, seeds)) is not None]
    return min(left, key=lambda one: one[1], default=None)


def worse_alone(claim: Claim, found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> tuple[float, float] | None:
    """Means of the control and of the arm `beside` it, over the seeds of both, where the control is worse by what counts."""
    value = claim.value
    if not claim.beside or not isinstance(value, Difference) or claim.beside not in found:
        return None
    (control, metric), *_ = [(arm, metric) for arm, metric, weight in value.terms if weight < 0]
    seeds = [seed for seed in found.get(control, {}) if seed in found[claim.beside] and int(seed) not in claim.chosen_on]
    own, other = (_mean_of(found, arm, metric, seeds) for arm in (control, claim.beside))
    return (own, other) if own is not None and other is not None and other - own >= claim.margin else None


def _mean_of(found: Mapping[str, Mapping[str, Mapping[str, Any]]], arm: str, metric: str, seeds: Sequence[str]) -> float | None:
    known = [share for seed in seeds if (share := value_at(found[arm][seed], metric)) is not None]
    return float(np.mean(known)) if known else None


def samples_told(claim: Claim, budgets: Budgets, seeds: Sequence[str]) -> str:
    """How many samples the students of a claim's arms saw, where these differ, as times those of the arm with fewest; else "".
    """
    seen = {arm: [budgets.get(arm, {}).get(seed, {}).get("samples") for seed in seeds] for arm in claim.value.arms}
    known = {arm: np.array(own, dtype=float) for arm, own in seen.items() if own and None not in own}
    if len(known) < len(seen) or len(known) < 2:
        return ""
    base = min(known, key=lambda arm: known[arm].mean())
    times = {arm: own / known[base] for arm, own in known.items() if not np.array_equal(own, known[base])}
    ranges = {arm: dict.fromkeys(f"{one:.2f}" for one in (own.min(), own.max())) for arm, own in times.items()}
    told = [f"{arm!r} sees {' to '.join(each)} times the samples of {base!r}" for arm, each in ranges.items()]
    return f"{'; '.join(told)}." if told else ""


_EQUAL = {"samples": "samples", "vocabulary": "vocabularies"}


def _unlike(
    claim: Claim, table: Ablation, budgets: Budgets, seed: str, what: str, fields: Sequence[str]
) -> tuple[Noted, Noted] | None:
    """Two arms that differ in what is noted of them, of which none declares one of the fields."""
    noted = {name: budgets[name][seed].get(what) for name in claim.value.arms if seed in budgets.get(name, {})}
    known = [(name, value) for name, value in noted.items() if value is not None]
    for one, other in combinations(known, 2):
        declared = {*table.arm(one[0]).declared, *table.arm(other[0]).declared}
        if one[1] != other[1] and not declared & set(fields):
            return one, other
    return None


def _differ(one: Noted, other: Noted, what: str) -> str:
    if what == "samples":
        return f"the arm {one[0]!r} saw {one[1]:,} samples and {other[0]!r} {other[1]:,}"
    return f"the arms {one[0]!r} and {other[0]!r} have other vocabularies, and so other initial weights"


def _decided(claim: Claim, found: Found) -> dict[str, Any] | None:
    by_seed = {seed: claim.value.of({arm: found[arm][seed] for arm in claim.value.arms}) for seed in seeds_of(claim, found)}
    values = {seed: value for seed, value in by_seed.items() if value is not None}
    if not values:
        return None
    effect = paired_effect(list(values.values()))
    return {
        "claim": claim.id,
        "says": claim.says,
        "values": {str(seed): value for seed, value in values.items()},
        "effect": effect.interval.mean,
        "interval": effect.interval.bounds,
        "size": effect.size,
        "seeds": effect.n,
        "fewest_seeds": claim.seeds,
        "margin": claim.margin,
        "items_interval": _items(claim, found, list(values)),
        "verdict": verdict(effect, margin=claim.margin, least=claim.seeds),
    }


def _items(claim: Claim, found: Found, seeds: Sequence[int]) -> list[float | None] | None:
    """The interval over evaluation images of the mean difference of these seeds' models; None where none are kept.

    An image and its texts come and go together: what is hard about one is hard about the others.
    """
    value = claim.value
    if not isinstance(value, Difference) or any(metric not in _ITEMS for _, metric, _ in value.terms):
        return None
    rows = [
        sum((weight * _hits(found[arm][seed], _ITEMS[metric]) for arm, metric, weight in value.terms), np.zeros(()))
        for seed in seeds
    ]
    differences = np.mean(rows, axis=0)
    return item_interval(differences).bounds if len(differences) >= FEWEST_ITEMS else None


def _hits(found: Mapping[str, Any], name: str) -> np.ndarray:
    """What each image with its texts adds to the mean of TR@1 and IR@1 (I,): of its own query, and of its texts'.

    Digits are of images first, then of texts image by image; where it is not noted, each image has as many.
    """
    items, images = found["worth"]["items"], found["worth"]["retrieval"]["all"]["images"]
    hits = np.array([int(digit) for digit in items[name]], dtype=float)
    texts = len(hits) - images
    each = np.broadcast_to(items.get("texts", texts // images), images)
    of_texts = np.bincount(np.repeat(np.arange(images), each), weights=hits[images:], minlength=images)
    return (hits[:images] + of_texts * images / texts) / 2
