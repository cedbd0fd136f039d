"""Cases run in processes of their own, with limits of time and memory: what kills a process is found and named."""

import os
import resource
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from itertools import chain
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from signal import SIG_IGN, SIGINT, Signals, signal

from lab.bench.fuzz_case import Tally, Target, broken, faults, write_files

READ, REFUSED, FINDING = "read", "refused", "finding"
_MIB = 2**20
_SPARE = 2  # times the limit: what is allocated beyond that fails, so that the machine is safe


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a case may take: seconds of the clock, and MiB of memory beyond what its process has."""

    seconds: float = 60.0
    mib: int = 2_048


@dataclass(frozen=True)
class Case:
    """What came of a case: read, refused, or a finding with its problem; rejected rows are counted in any case."""

    target: str
    seed: int
    outcome: str
    rejected: int = 0
    problem: str = ""


def targets_of(modules: Sequence[str]) -> dict[str, Target]:
    """The targets of these modules by name, in their order."""
    return {target.name: target for name in modules for target in import_module(name).TARGETS}


def run_case(target: Target, seed: int, folder: Path, limits: Limits) -> Case:
    """Break, write and read one case in this process."""
    write_files(folder, broken(target, seed))
    tally, problems, before = Tally(folder), [], _resident()
    try:
        target.read(tally)
    # Whatever else a reader raises is what this looks for, also the panics of libraries in Rust.
    except BaseException as error:  # noqa: BLE001
        problems = [_said(error)]
    taken = (_peak() - before) // _MIB
    if taken > limits.mib:
        problems.append(f"took {taken:,} MiB of memory")
    problems += faults(target, tally)
    if problems:
        return Case(target.name, seed, FINDING, tally.rejected, "; ".join(problems))
    return Case(target.name, seed, REFUSED if tally.refusals else READ, tally.rejected)


def run_all(cases: Sequence[tuple[str, int]], modules: Sequence[str], limits: Limits, jobs: int) -> Iterator[Case]:
    """Every case (target, seed) in one of so many processes; a process that dies or hangs is replaced."""
    with ThreadPoolExecutor(jobs) as pool:
        parts = [cases[number::jobs] for number in range(jobs)]
        yield from chain.from_iterable(pool.map(lambda part: _share(part, modules, limits), parts))


def _share(cases: Sequence[tuple[str, int]], modules: Sequence[str], limits: Limits) -> list[Case]:
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        worker, found = _Worker(modules, limits, scratch), []
        try:
            for name, seed in cases:
                found.append(worker.run(name, seed))
        finally:
            worker.stop()
    return found


class _Worker:
    """One process that runs one case after the other."""

    def __init__(self, modules: Sequence[str], limits: Limits, scratch: str) -> None:
        self._given, self._limits = (tuple(modules), limits, scratch), limits
        # A server that has imported everything once forks the processes, so that a new one costs little.
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload([__name__, *modules])
        self._start()

    def run(self, name: str, seed: int) -> Case:
        """What came of a case; a process that it killed or kept is a finding."""
        self._ours.send((name, seed))
        if not self._ours.poll(self._limits.seconds):
            return self._lost(name, seed, f"took more than {self._limits.seconds:g} s")
        try:
            return self._ours.recv()
        except EOFError:
            self._process.join()
            return self._lost(name, seed, f"killed the process ({_ended(self._process.exitcode)})")

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._ours.close()

    def _lost(self, name: str, seed: int, problem: str) -> Case:
        self.stop()
        self._start()
        return Case(name, seed, FINDING, problem=problem)

    def _start(self) -> None:
        self._ours, theirs = self._context.Pipe()
        self._process = self._context.Process(target=_serve, args=(theirs, *self._given), daemon=True)
        self._process.start()
        theirs.close()
        with suppress(EOFError):  # a process that cannot even begin is met by its first case
            self._ours.recv()


def _serve(connection: Connection, modules: Sequence[str], limits: Limits, scratch: str) -> None:
    signal(SIGINT, SIG_IGN)  # the parent ends this process
    _silence()
    warnings.simplefilter("ignore")
    targets = targets_of(modules)
    _bound(limits)
    connection.send(None)
    folder = Path(scratch) / "case"
    while True:
        name, seed = connection.recv()
        connection.send(run_case(targets[name], seed, folder, limits))


def _silence() -> None:
    """What libraries say of broken files is no news here."""
    sys.stdout.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)


def _bound(limits: Limits) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + _SPARE * limits.mib * _MIB
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _resident() -> int:
    """Bytes of memory that this process has; its peak is counted from here on."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak() -> int:
    return _status("VmHWM")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def _said(error: BaseException) -> str:
    """An exception with the last place in this repository that it passed."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "site-packages" not in frame.filename]
    home = Path(__file__).parents[2]
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(home) and "bench/fuzz" not in frame.filename]
    place = f" at {Path(ours[-1].filename).relative_to(home)}:{ours[-1].lineno}" if ours else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}{place}"


def _ended(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit status {code}"
    return Signals(-code).name if -code in set(Signals) else f"signal {-code}"
