"""What `lab ablate` does, without the packages of the command line: a machine for training has none of them."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from blip.config import to_json
from blip.errors import InputError
from lab.ablation.earlier import Earlier
from lab.ablation.engine import cells_of, do
from lab.ablation.found import Found, found
from lab.ablation.ground import WORLD, Ground
from lab.ablation.own_pairs import OwnPairs
from lab.ablation.own_reading import Own, opened, told
from lab.ablation.own_scales import LEVEL, decidable, possible
from lab.ablation.own_table import SUFFIX, Table, table_of
from lab.ablation.peer_steps import needs_open_clip
from lab.ablation.plan import Cell, missing, results
from lab.ablation.scales import scaled
from lab.ablation.table import Ablation
from lab.claim import Claim
from lab.decided import word_of
from lab.finetuning import plain
from lab.looks import looked, with_looks
from lab.peers.kinds import open_clip_models
from lab.recipes import Recipe
from lab.records import RESULTS, WRITTEN, record, write_record
from lab.runs import Home
from lab.verdicts import decided, undeclared

FOLDER = WRITTEN / "ablations"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """An ablation, its scale and how much of it; see the options of `lab ablate`."""

    name: str
    scale: str
    seeds: int
    from_seed: int = 0
    only: tuple[str, ...] = ()
    jobs: int = 1
    add: bool = False
    out: Path | None = None
    own: Own = field(default_factory=Own)

    @property
    def record(self) -> Path:
        """Where the record lies: of own pairs or arms in the working folder, so that it is not taken for the lab's."""
        stem = Path(self.name).stem if self.name.endswith(SUFFIX) else self.name
        file = Path(f"{stem}-{LEVEL}-{self.scale}.json" if self.own.given else f"{stem}-{self.scale}.json")
        return self.out or (file if self._is_own else FOLDER / file)

    @property
    def earlier(self) -> Earlier:
        """The record that is there; where the package is installed, the one that comes along until there is one."""
        packaged = RESULTS / "ablations" / self.record.name
        return Earlier.at(self.record if self.record.exists() or self.out or self._is_own else packaged)

    @property
    def _is_own(self) -> bool:
        return self.own.given or self.name.endswith(SUFFIX)


@dataclass(frozen=True)
class Task:
    """What is wanted, as values: arms, claims about them, their recipe, and where the pairs come from."""

    table: Ablation
    claims: tuple[Claim, ...]
    recipe: Recipe
    ground: Ground = WORLD
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Arms that own pairs do not allow, with the reason."""


def ablate(wanted: Wanted, home: Home) -> int:
    """Do the cells that are not done, write the record after each, print verdicts; 0 when all is done."""
    for name in ("seeds", "jobs"):
        if getattr(wanted, name) < 1:
            raise InputError(f"--{name} {getattr(wanted, name)} cannot be; give 1 or more.")
    if not 0 <= wanted.from_seed < wanted.seeds:
        raise InputError(f"--from-seed {wanted.from_seed} of --seeds {wanted.seeds} cannot be; give 0 to {wanted.seeds - 1}.")
    task = task_of(wanted)
    table, recipe, ground = task.table, task.recipe, task.ground
    earlier = wanted.earlier
    all_seeds = cells_of(table, wanted.seeds, wanted.only, jobs=wanted.jobs, ground=ground)
    cells = [cell for cell in all_seeds if cell.seed >= wanted.from_seed]
    if wanted.add:
        cells = [cell for cell in cells if earlier.found(cell, recipe, home) is None]
    if any(needs_open_clip(one) for one in missing(cells, recipe, home).values()):
        open_clip_models()  # before hours are spent on what comes first
    if wanted.record.exists() and (aside := earlier.set_aside(table, recipe, home, ground)):
        copy, lost = aside
        print(f"{lost} cells of {_shown(wanted.record)} are of other arms or recipes than those of now; {_shown(copy)} keeps them.", file=sys.stderr)


    def write() -> None:
        write_record(wanted.record, record_of(wanted, task, home, earlier))

    again = [cell for cell in cells if earlier.found(cell, recipe, home) and not results(cell, recipe, home)]
    do(cells, recipe, home, jobs=wanted.jobs, done=write)
    if wanted.add and not cells and wanted.record.exists() and earlier.tells(record_of(wanted, task, home, earlier)):
        print("The record has all that is asked for: nothing is done, and it stays as it is. Without --add it is measured again, here.", file=sys.stderr)
    else:
        write()
    if again:
        print(_compared(again, earlier, recipe, home), file=sys.stderr)
    print(_said(task, found_of(wanted, task, home, earlier)))
    print(f"record: {_shown(wanted.record)}", file=sys.stderr)
    return 0


def task_of(wanted: Wanted) -> Task:
    """What is wanted, with data read; InputError where something of it cannot be."""
    own, recipe = table_of(wanted.name), scaled(wanted.scale)
    device_for(recipe)
    return on_own_pairs(wanted, own) if wanted.own.given else Task(own.ablation, own.claims, recipe)


def on_own_pairs(wanted: Wanted, own: Table) -> Task:
    """The arms that own pairs allow, their recipe, and the pairs; says on stderr what is left out, and why."""
    rest, left_out = possible(own.ablation, begun=wanted.own.begun)
    for arm in own.ablation.named(wanted.only):  # an unknown one is refused before pictures are read
        if arm.name in left_out:
            raise InputError(f"The arm {arm.name!r} cannot be done on your own pairs: {left_out[arm.name]}; leave it out of --only.")
    claims = decidable(own.ablation.name, own.claims)
    pairs, recipe = opened(wanted.own, wanted.scale)
    for name, why in left_out.items():
        print(f"The arm {name!r} is left out: {why}.", file=sys.stderr)
    for claim in own.claims:
        if claim.ablation == own.ablation.name and claim not in claims:
            print(f"The claim {claim.id!r} is left out: only the generated world knows what is true.", file=sys.stderr)
    told(wanted.own, pairs)
    return Task(rest, claims, recipe, pairs, left_out)


def device_for(recipe: Recipe) -> None:
    """InputError where the recipe's device is not there."""
    if recipe.device == "cuda" and not torch.cuda.is_available():
        raise InputError(f"The recipe {recipe.name} needs a CUDA device and there is none; choose cpu.")


def found_of(wanted: Wanted, task: Task, home: Home, earlier: Earlier) -> Found:
    """What is known of the cells, from this home and from the record that was there."""
    return found(task.table, wanted.seeds, task.recipe, home, earlier, task.ground, add=wanted.add)


def record_of(wanted: Wanted, task: Task, home: Home, earlier: Earlier) -> dict[str, Any]:
    """The record of an ablation: what each arm found by seed and in which runs, and its claims decided.

    `before` says who measured what is kept of `earlier`, the record that was there when the work began: what was written
    since is this run's own, and no look. On own pairs also what they are, and which arms of the table are left out.
    """
    table, ground = task.table, task.ground
    known = found_of(wanted, task, home, earlier)
    looks = looked(earlier, table, task.claims, task.recipe, home, ground)
    result = {
        "ablation": table.name,
        "question": table.question,
        "source": table.source,
        "scale": _scale(wanted),
        "seeds": known.seeds,
        "arms": {
            arm.name: {"about": arm.about, "seeds": {str(seed): one for seed, one in known.results[arm.name].items()}}
            for arm in table.arms
        },
        "budgets": known.budgets,
        "claims": with_looks(decided(table.name, known.results, task.claims), looks),
        "runs": known.runs,
    }
    if known.before:
        result["before"] = known.before
    options = plain(asdict(wanted)) | {"out": wanted.out and wanted.out.name}
    if isinstance(ground, OwnPairs):
        result |= {"pairs": ground.about(), "left_out": dict(task.left_out)}
    else:
        del options["own"]
    config = {"options": options, "recipe": to_json(task.recipe)}
    return record(f"ablate {table.name}", result, seed=None, config=config)


def _scale(wanted: Wanted) -> str:
    """The scale as reports show it; a smoke run says nothing anywhere, and they pass it over."""
    return f"{LEVEL}-{wanted.scale}" if wanted.own.given and wanted.scale != "smoke" else wanted.scale


def _said(task: Task, known: Found) -> str:
    table, claims = task.table, {one.id: one for one in task.claims}
    rows = decided(table.name, known.results, task.claims)
    refused = [undeclared(claims[row["claim"]], known.budgets, list(row["values"]), table) for row in rows]
    said = [row | {"verdict": word_of(claims[row["claim"]], row["verdict"])} for row in rows]
    told = [line(row) if why is None else f"  {why}" for row, why in zip(said, refused, strict=True)]
    lines = [table.question, *told]
    if not rows:
        lines.append("No claim has all of its arms yet." if claims else "It describes and decides no claim: see the record.")
    return "\n".join(lines)


def line(row: dict[str, Any]) -> str:
    """A decided claim on one line: verdict, effect, interval."""
    low, high = ("-" if bound is None else f"{bound:+.4f}" for bound in row["interval"])
    return f"  {row['verdict']:11} {row['effect']:+.4f} [{low}, {high}] {row['seeds']} seeds: {row['says']}"


def _compared(again: Sequence[Cell], earlier: Earlier, recipe: Recipe, home: Home) -> str:
    """What came of cells that the record had and that were measured again here."""
    other = [cell.name for cell in again if results(cell, recipe, home) != earlier.found(cell, recipe, home)]
    said = f"{len(again)} cells of the record were measured again, {len(again) - len(other)} with the very same values"
    return f"{said}; others came of {', '.join(other)}." if other else f"{said}."


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
