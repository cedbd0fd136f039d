"""What `lab ablate` does, without the packages of the command line: a machine for training has none of them."""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from blip.config import to_json
from blip.errors import InputError
from lab.ablation.engine import cells_of, do, gathered
from lab.ablation.plan import Cell, results
from lab.ablation.scales import scaled
from lab.ablation.table import Ablation
from lab.ablations import ablation
from lab.claims import CLAIMS
from lab.recipes import Recipe
from lab.records import RESULTS, record, write_record
from lab.runs import Home
from lab.verdicts import decided

FOLDER = RESULTS / "ablations"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """An ablation, its scale and how much of it; see the options of `lab ablate`."""

    name: str
    scale: str
    seeds: int
    only: tuple[str, ...] = ()
    jobs: int = 1
    out: Path | None = None


def ablate(wanted: Wanted, home: Home) -> int:
    """Do the cells that are not done, write the record after each, print verdicts; 0 when all is done."""
    for name in ("seeds", "jobs"):
        if getattr(wanted, name) < 1:
            raise InputError(f"--{name} {getattr(wanted, name)} cannot be; give 1 or more.")
    table, recipe = ablation(wanted.name), scaled(wanted.scale)
    device_for(recipe)
    cells = cells_of(table, wanted.seeds, wanted.only, jobs=wanted.jobs)
    path = wanted.out or FOLDER / f"{table.name}-{wanted.scale}.json"

    def write() -> None:
        write_record(path, record_of(wanted, table, recipe, home))

    do(cells, recipe, home, jobs=wanted.jobs, done=write)
    write()
    print(_said(table, found_of(table, wanted.seeds, recipe, home)))
    print(f"record: {_shown(path)}", file=sys.stderr)
    return 0


def device_for(recipe: Recipe) -> None:
    """InputError where the recipe's device is not there."""
    if recipe.device == "cuda" and not torch.cuda.is_available():
        raise InputError(f"The recipe {recipe.name} needs a CUDA device and there is none; give --scale cpu.")


def found_of(table: Ablation, seeds: int, recipe: Recipe, home: Home) -> dict[str, dict[int, dict[str, Any]]]:
    """Of all arms, and of seeds beyond those asked for: what is done counts, so that no record loses a seed."""
    while any(results(cell, recipe, home) for cell in (Cell(arm, seeds) for arm in table.arms)):
        seeds += 1
    return gathered(cells_of(table, seeds), recipe, home)


def record_of(wanted: Wanted, table: Ablation, recipe: Recipe, home: Home) -> dict[str, Any]:
    """The record of an ablation: what each arm found by seed, and its claims decided."""
    found = found_of(table, wanted.seeds, recipe, home)
    result = {
        "ablation": table.name,
        "question": table.question,
        "source": table.source,
        "scale": wanted.scale,
        "seeds": sorted({seed for own in found.values() for seed in own}),
        "arms": {
            arm.name: {"about": arm.about, "seeds": {str(seed): one for seed, one in found[arm.name].items()}}
            for arm in table.arms
        },
        "claims": decided(table.name, found),
    }
    options = asdict(wanted) | {"out": wanted.out and wanted.out.name}
    config = {"options": options, "recipe": to_json(recipe)}
    return record(f"ablate {table.name}", result, seed=None, config=config)


def _said(table: Ablation, found: dict[str, dict[int, dict[str, Any]]]) -> str:
    rows = decided(table.name, found)
    lines = [table.question, *(line(row) for row in rows)]
    if not rows:
        kept = any(claim.ablation == table.name for claim in CLAIMS)
        lines.append("No claim has all of its arms yet." if kept else "It describes and decides no claim: see the record.")
    return "\n".join(lines)


def line(row: dict[str, Any]) -> str:
    """A decided claim on one line: verdict, effect, interval."""
    low, high = ("-" if bound is None else f"{bound:+.4f}" for bound in row["interval"])
    return f"  {row['verdict']:11} {row['effect']:+.4f} [{low}, {high}] {row['seeds']} seeds: {row['says']}"


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
