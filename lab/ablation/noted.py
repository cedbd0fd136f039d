"""What a record says of budgets: the samples, texts and epochs of each arm's student, by seed.

Records from before budgets were noted say them too where recipe and arm tell.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from blip.capfilt import Policy
from blip.tasks.pretrain import ObjectiveConfig
from lab.ablation.arms import Arm, Lab
from lab.ablation.budget import Budget
from lab.ablation.ground import WORLD, Ground
from lab.ablation.plan import Plan
from lab.ablation.scales import SCALES
from lab.ablation.table import Ablation, HasRuns
from lab.ablations import ABLATIONS
from lab.mixes import BOTH, FILTERED_WEB, RAW, SYNTHETIC, UNFILTERED, Mix
from lab.recipes import Recipe
from lab.runs import Home

Budgets = dict[str, dict[str, dict[str, Any]]]
"""Budgets as plain values, by arm and seed; an arm that trains no student, and a seed that is not known, is left out."""


def budgets_of(
    table: Ablation, found: Mapping[str, Mapping[int, Any]], recipe: Recipe, home: Home, ground: Ground = WORLD
) -> Budgets:
    """Of the cells that are done, from their runs."""
    plan = Plan(home)
    each = {
        arm.name: {str(seed): arm.seen(Lab(plan, recipe, seed, ground)) for seed in found[arm.name]}
        for arm in table.arms
    }
    return {name: {seed: one.to_json() for seed, one in own.items() if one} for name, own in each.items()}


def noted(record: Mapping[str, Any]) -> Budgets:
    """Of a record: as it notes them, or recomputed."""
    result = record["result"]
    if "budgets" in result:
        return result["budgets"]
    table, recipe = ABLATIONS.get(result["ablation"]), _recipe(record)
    if table is None or recipe is None:
        return {}
    arms = {arm.name: arm for arm in table.arms}
    each = {
        name: {seed: _recomputed(arms[name], recipe, one) for seed, one in own["seeds"].items()}
        for name, own in result["arms"].items()
        if name in arms
    }
    return {name: {seed: one.to_json() for seed, one in own.items() if one} for name, own in each.items()}


def _recomputed(arm: HasRuns, recipe: Recipe, found: Mapping[str, Any]) -> Budget | None:
    """From the arm's fields, and CapFilt's counts where texts came from it."""
    if not isinstance(arm, Arm):
        return None
    student = arm.recipe_of(recipe)
    texts = student.web if arm.mix is None else _texts(arm.mix, found, student.web)
    samples = student.pretrain.samples
    if arm.budget is not None:
        counted = _texts(arm.budget, found, student.web)
        if counted is None:
            return None
        samples = round(samples * (counted + student.human) / (student.web + student.human))
    return Budget(samples, None if texts is None else texts + student.human)


def _texts(mix: Mix, found: Mapping[str, Any], web: int) -> int | None:
    """How many texts of a ledger a mix has, by CapFilt's counts; None where they do not tell."""
    counts = found.get("capfilt", {})
    if mix == RAW:
        return web
    if "kept" not in counts:
        return None
    kept, filtered = counts["kept"], counts["filtered"]
    by_mix = {
        BOTH: sum(kept.values()),
        FILTERED_WEB: kept["web"],
        SYNTHETIC: kept["synthetic"],
        UNFILTERED: sum(kept.values()) + sum(filtered.values()),
    }
    return by_mix[BOTH] if mix.as_many_as == Policy() else by_mix.get(mix)


def _recipe(record: Mapping[str, Any]) -> Recipe | None:
    """The recipe of a record as far as budgets go; None where it has none."""
    said, scale = record.get("config", {}).get("recipe"), record["result"]["scale"]
    if said is None or scale not in SCALES:
        return None
    base = SCALES[scale]
    stage = replace(base.pretrain, samples=said["pretrain"]["samples"])
    return replace(base, web=said["web"], human=said["human"], pretrain=stage, objectives=ObjectiveConfig(queue=0))
