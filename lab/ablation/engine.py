"""Does the cells of an ablation, one after the other or several at once, and gathers what they found.

A cell that was cut off goes on where it was; one that is done is read. Several processes, and several machines with
one home, may work on one ablation: a run is locked by who is at it, and another waits for it.
"""

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any

import torch

from blip.workers import begun_by, end_with_parent
from lab.ablation.arms import Lab
from lab.ablation.ground import WORLD, Ground
from lab.ablation.plan import Cell, Pace, missing, results
from lab.ablation.table import Ablation
from lab.recipes import Recipe
from lab.runs import Home

Done = Callable[[], None]
SPAWNED = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
_WARNINGS = "PYTHONWARNINGS"
# Where a signal ends this process, the tracker removes the semaphores of the pool, as it should, and warns of it.
_QUIET = {"TQDM_DISABLE": "1", _WARNINGS: "ignore:resource_tracker"}


def cells_of(
    ablation: Ablation, seeds: int, only: Sequence[str] = (), *, jobs: int = 1, ground: Ground = WORLD
) -> list[Cell]:
    """The cells of so many seeds, whole seeds first; for several at once arms first, since seeds share no run."""
    arms = ablation.named(only) or ablation.arms
    if jobs > 1:
        return [Cell(arm, seed, ground) for arm in arms for seed in range(seeds)]
    return [Cell(arm, seed, ground) for seed in range(seeds) for arm in arms]


def do(cells: Sequence[Cell], recipe: Recipe, home: Home, *, jobs: int = 1, done: Done = lambda: None) -> None:
    """Do what is not done, with progress and the time left on stderr; `done` is called after each cell."""
    left = [cell for cell in cells if results(cell, recipe, home) is None]
    print(f"{len(cells)} cells, {len(cells) - len(left)} of them done; {_left(left, recipe, home, jobs)}.", file=sys.stderr)
    for number, (cell, seconds) in enumerate(_finished(left, recipe, home, jobs), 1):
        done()
        waiting = [one for one in left if results(one, recipe, home) is None]
        still = _left(waiting, recipe, home, jobs)
        print(f"[{number}/{len(left)}] {cell.name}: {seconds:.0f} s; {still}.", file=sys.stderr, flush=True)


def gathered(cells: Sequence[Cell], recipe: Recipe, home: Home) -> dict[str, dict[int, dict[str, Any]]]:
    """What was found, by arm and seed; cells that are not done are left out."""
    found: dict[str, dict[int, dict[str, Any]]] = {cell.arm.name: {} for cell in cells}
    for cell in cells:
        if (result := results(cell, recipe, home)) is not None:
            found[cell.arm.name][cell.seed] = result
    return found


def do_one(cell: Cell, recipe: Recipe, home: Home) -> float:
    """Do one cell and return its seconds."""
    start = time.perf_counter()
    with _one_thread():
        cell.arm.runs(Lab(home, recipe, cell.seed, cell.ground))
    return time.perf_counter() - start


def do_for_parent(cell: Cell, recipe: Recipe, home: Home) -> float:
    """`do_one` in a worker: nothing more is begun for a process that is gone."""
    try:
        return do_one(cell, recipe, home)
    finally:
        if not begun_by().is_alive():
            os._exit(1)


def _finished(cells: list[Cell], recipe: Recipe, home: Home, jobs: int) -> Iterator[tuple[Cell, float]]:
    if jobs == 1:
        for cell in cells:
            yield cell, do_one(cell, recipe, home)
        return
    with quiet(), ProcessPoolExecutor(jobs, SPAWNED, end_with_parent) as workers:
        futures: dict[Future[float], Cell] = {workers.submit(do_for_parent, cell, recipe, home): cell for cell in cells}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            workers.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def quiet() -> Iterator[None]:
    """Processes that start in here draw no progress bars of their own, and Python's tracker tidies up without a word."""
    before = {name: os.environ.get(name) for name in _QUIET}
    os.environ |= _QUIET | {_WARNINGS: ",".join(filter(None, (before[_WARNINGS], _QUIET[_WARNINGS])))}
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


@contextmanager
def _one_thread() -> Iterator[None]:
    """A cell uses one thread: bytes depend on their number, and small models hardly gain (lab/LOG.md)."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _left(cells: Sequence[Cell], recipe: Recipe, home: Home, jobs: int) -> str:
    return Pace(home).forecast(missing(cells, recipe, home).values()).said(jobs)
