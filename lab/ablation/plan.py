"""What is still to be done, and how long it takes: cells are planned without doing anything.

A run is named by what it is, and its parents by their names, so that the runs of a cell are known before the first
of them is done.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from lab.ablation.arms import Lab
from lab.ablation.ground import WORLD, Ground
from lab.ablation.table import HasRuns
from lab.recipes import Recipe
from lab.runs import DONE, Home, Run, Step, Work


class Plan:
    """Stands where a home of runs would be: what is done is read, what is not is noted in `missing`."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.missing: dict[str, Step] = {}

    def run(self, step: Step, work: Work) -> Run:
        """The run of a step, empty where it is not done."""
        return self.run_all([(step, work)])[0]

    def run_all(self, jobs: Sequence[tuple[Step, Work]]) -> list[Run]:
        """The runs of steps, empty where they are not done."""
        return [self._read(step) for step, _ in jobs]

    def path(self, run: str) -> Path:
        """Where a run is or would be."""
        return self.home.path(run)

    def _read(self, step: Step) -> Run:
        if (self.home.path(step.id) / "result.json").exists():
            return self.home.read(step.id)
        self.missing[step.id] = step
        return Run(step.id, self.home.path(step.id), {}, 0.0)


@dataclass(frozen=True)
class Cell:
    """An arm with a seed, on a ground."""

    arm: HasRuns
    seed: int
    ground: Ground = WORLD

    @property
    def name(self) -> str:
        """As progress shows it."""
        return f"{self.arm.name} (seed {self.seed})"


def missing(cells: Iterable[Cell], recipe: Recipe, home: Home) -> dict[str, Step]:
    """The steps that these cells still need, each once, by id."""
    plan = Plan(home)
    for cell in cells:
        cell.arm.runs(Lab(plan, recipe, cell.seed, cell.ground))
    return plan.missing


def results(cell: Cell, recipe: Recipe, home: Home) -> dict[str, Any] | None:
    """What a cell found, by measure; None where it is not done."""
    plan = Plan(home)
    runs = cell.arm.runs(Lab(plan, recipe, cell.seed, cell.ground))
    if any(run.id in plan.missing for run in runs.values()):
        return None
    return {name: run.result for name, run in runs.items()}


def ids(cell: Cell, recipe: Recipe, home: Home) -> dict[str, str]:
    """The runs whose results are what a cell finds, by measure, done or not."""
    return {name: run.id for name, run in cell.arm.runs(Lab(Plan(home), recipe, cell.seed, cell.ground)).items()}


@dataclass(frozen=True)
class Forecast:
    """Seconds of work on one core or process, and how many steps are of a kind that was never done here."""

    seconds: float
    unknown: int

    def said(self, jobs: int) -> str:
        """The time left, as people read it."""
        if not self.seconds:
            return "time left is not known yet" if self.unknown else "nothing left"
        more = "more than " if self.unknown else "about "
        return f"{more}{_clock(self.seconds / jobs)} left"


class Pace:
    """Seconds of steps from those of the same kind and model that were done in a home."""

    def __init__(self, home: Home) -> None:
        taken = defaultdict(list)
        for row in home.rows():
            # One that was cut off only knows the seconds of its last start.
            if row["state"] == DONE and row["starts"] == 1 and row["seconds"]:
                taken[_group(row["kind"], row["config"])].append(row["seconds"] / _size(row["kind"], row["config"]))
        self._of = {group: median(values) for group, values in taken.items()}

    def seconds(self, step: Step) -> float | None:
        """What a step will take; None where nothing of its kind was done."""
        each = self._of.get(_group(step.kind, step.config))
        return None if each is None else each * _size(step.kind, step.config)

    def forecast(self, steps: Iterable[Step]) -> Forecast:
        """What all of them will take."""
        each = [self.seconds(step) for step in steps]
        return Forecast(sum(known for known in each if known is not None), sum(one is None for one in each))


def _group(kind: str, config: Mapping[str, Any]) -> tuple[Any, ...]:
    """Steps of one group take time in proportion to their size."""
    return (kind, *(config.get(name) for name in ("level", "size", "widen", "widen_image", "device")))


def _size(kind: str, config: Mapping[str, Any]) -> float:
    """Samples of a training, images of CapFilt; 1 for all else."""
    stage = {"joint": "pretrain"}.get(kind, kind)
    if isinstance(config.get(stage), Mapping):
        return config[stage]["samples"]
    return config.get("images") or config.get("samples") or 1


def _clock(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
