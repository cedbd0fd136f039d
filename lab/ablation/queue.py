"""The most valuable cells that fit into some minutes, for machines that are at hand only for minutes."""

import os
import tarfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from multiprocessing.pool import AsyncResult
from pathlib import Path

from blip.data.files import replacing
from blip.workers import end_with_parent
from lab.ablation.earlier import Earlier
from lab.ablation.engine import SPAWNED, do_for_parent, quiet
from lab.ablation.plan import Cell, Pace, missing, results
from lab.ablation.table import Ablation
from lab.ablations import ABLATIONS
from lab.claims import CLAIMS
from lab.recipes import Recipe
from lab.runs import Home, Step

GUESS = 60.0
"""Seconds that a step of an unknown kind is taken to last, until the first of its kind is done."""
_POLL = 0.2  # seconds between two looks at what is running


@dataclass(frozen=True)
class Queued:
    """A cell with the ablation that it belongs to."""

    ablation: Ablation
    cell: Cell

    @property
    def name(self) -> str:
        """As progress shows it."""
        return f"{self.ablation.name}: {self.cell.name}"


def by_value(recipe: Recipe, home: Home, records: Mapping[str, Earlier] = {}) -> list[Queued]:
    """All cells that are neither done nor in the record of their ablation, the most valuable first.

    A claim is worth nothing before it has its fewest seeds, and the claims stand in the order of their value: so
    claim by claim, seed by seed, the arms that it needs; then the arms that no claim needs, one seed each.
    """
    wanted = [
        Queued(ABLATIONS[claim.ablation], Cell(ABLATIONS[claim.ablation].arm(name), seed))
        for claim in CLAIMS
        for seed in claim.first_seeds
        for name in claim.value.arms
    ]
    wanted += [Queued(one, Cell(arm, 0)) for one in ABLATIONS.values() for arm in one.arms]
    first = {(one.ablation.name, one.cell.arm.name, one.cell.seed): one for one in reversed(wanted)}
    order = dict.fromkeys((one.ablation.name, one.cell.arm.name, one.cell.seed) for one in wanted)

    def known(one: Queued) -> bool:
        record = records.get(one.ablation.name)
        return results(one.cell, recipe, home) is not None or (record is not None and record.found(one.cell, recipe, home) is not None)

    return [first[key] for key in order if not known(first[key])]


def work(
    waiting: list[Queued], recipe: Recipe, home: Home, *, seconds: float, jobs: int, told: Callable[[str], None]
) -> list[Queued]:
    """Do cells in their order until the time is over, several at once; those that were done.

    A cell is begun only if it is expected to end in time. One that does not is given up, and goes on from its last
    checkpoint when the queue is worked again. One that fails is told, and the others go on.
    """
    end = time.monotonic() + seconds
    waiting, running, done = list(waiting), dict[AsyncResult, Queued](), list[Queued]()
    with quiet(), SPAWNED.Pool(jobs, end_with_parent) as workers:  # leaving it ends processes that are still at work
        ready: list[AsyncResult] = []
        while time.monotonic() < end:
            if ready or not running:  # only then has anything changed
                for one in startable(waiting, running.values(), recipe, home, room=jobs - len(running), end=end):
                    waiting.remove(one)
                    failed = lambda error, one=one: told(f"{one.name} failed: {error}")
                    running[workers.apply_async(do_for_parent, (one.cell, recipe, home), error_callback=failed)] = one
            if not running:
                break
            time.sleep(_POLL)
            ready = [result for result in running if result.ready()]
            for result in ready:
                one = running.pop(result)
                if result.successful():
                    told(f"{one.name}: {result.get():.0f} s")
                    done.append(one)
    for one in running.values():
        told(f"{one.name}: out of time; it goes on from its checkpoint when the queue is worked again")
    return done


def startable(
    waiting: Iterable[Queued], running: Iterable[Queued], recipe: Recipe, home: Home, *, room: int, end: float
) -> list[Queued]:
    """What to begin now: cells that fit before `end` (time.monotonic), and that wait for no run of another cell."""
    chosen, busy, pace = list[Queued](), set[str](), Pace(home)
    for one in running:
        busy |= set(missing([one.cell], recipe, home))
    for one in waiting:
        if len(chosen) == room:
            break
        steps = missing([one.cell], recipe, home)
        if not busy & set(steps) and _seconds(steps.values(), pace) <= end - time.monotonic():
            chosen.append(one)
            busy |= set(steps)
    return chosen


def _seconds(steps: Iterable[Step], pace: Pace) -> float:
    return sum(GUESS if (known := pace.seconds(one)) is None else known for one in steps)


def packed(out: Path, records: Iterable[Path], home: Home, runs: Iterable[str]) -> Path:
    """One tar of records, and of whole runs without checkpoints: unpacked into a home they are done there too.

    The weights of the runs are among them, candidates for those that come along.
    """
    with replacing(out) as file, tarfile.open(fileobj=file, mode="w") as tar:
        for record in sorted(records):
            tar.add(record, f"records/{record.name}")
        for run in sorted(runs):
            for folder, _, names in os.walk(home.path(run)):
                for name in sorted(names):
                    path = Path(folder) / name
                    tar.add(path, f"runs/{path.relative_to(home.path(run).parent)}")
    return out
