"""Runs: a step of an experiment is done once, in a folder named by what it is, and read back as a row.

    runs/KIND-0123456789ab/   named by the hash of the step: kind, configuration, parents, version
        run.json              the step, and who did it where and when; written first
        ...                   what the step gives: weights, a ledger
        result.json           plain values; written last, so that it says that the run is done
    locks/                    one file a run, locked while a process is at it

A run that was cut off is done again in its folder, where training and CapFilt go on from what they find.
"""

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from blip.data.files import drop_unfinished
from blip.data.jsons import parse_json
from blip.errors import InputError
from lab.locks import is_locked, locked
from lab.records import commit, machine, write_record

DONE, RUNNING, INTERRUPTED, DAMAGED = "done", "running", "interrupted", "damaged"
RESUMABLE = "checkpoints"  # folders of this name only serve to go on, so a run that is done needs none
_REMOVING = ".removing-"
_STEP = ("kind", "config", "parents", "version")
_DONE_BY = ("started", "finished", "seconds", "starts", "commit", "machine")

Work = Callable[[Path], dict[str, Any]]
"""Does a step in its folder, or goes on there, and returns its result: plain values, equal for equal steps."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a run shall do; with the code of its version it decides everything that comes out."""

    kind: str
    config: Mapping[str, Any]
    """Plain JSON values, all that decide."""
    parents: tuple[str, ...] = ()
    """Ids of the runs whose outputs it reads."""
    version: int = 1
    """Raised when the code of this kind gives something else than before."""

    @property
    def id(self) -> str:
        """The kind and 12 hex digits of the hash of everything."""
        content = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return f"{self.kind}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"

    def to_json(self) -> dict[str, Any]:
        """The step as plain JSON values."""
        return {name: getattr(self, name) for name in _STEP}


@dataclass(frozen=True)
class Run:
    """A run that is done."""

    id: str
    folder: Path
    result: dict[str, Any]
    seconds: float
    """Of the process that finished it."""


class Runs(Protocol):
    """Where runs are done or planned: a home of runs, or a plan of them."""

    def run(self, step: Step, work: Work) -> Run: ...
    def run_all(self, jobs: Sequence[tuple[Step, Work]]) -> list[Run]: ...


class Home:
    """The folder of all runs. Any number of processes may work in it."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser().absolute()

    @classmethod
    def default(cls) -> "Home":
        """The folder that BLIP_LAB_HOME names, else ~/.cache/blip-lab."""
        return cls(os.environ.get("BLIP_LAB_HOME") or Path.home() / ".cache" / "blip-lab")

    def path(self, run: str) -> Path:
        """The folder of a run."""
        return self.folder / "runs" / run

    def run(self, step: Step, work: Work) -> Run:
        """The run of a step: read if it is done, else done now; waits where another process is at it."""
        return self.run_all([(step, work)])[0]

    def run_all(self, jobs: Sequence[tuple[Step, Work]]) -> list[Run]:
        """The runs of independent steps; those that another process is at come last.

        InputError where a parent is not done, or a run of this home is damaged.
        """
        busy = [job for job in jobs if not self._settled(*job, wait=False)]
        for step, work in busy:
            print(f"{step.id} is being done by another process; waiting for it.", file=sys.stderr)
            self._settled(step, work, wait=True)
        return [self.read(step.id) for step, _ in jobs]

    def read(self, run: str) -> Run:
        """A run that is done; InputError where it is not, or is damaged."""
        if not self._done(run):
            raise InputError(f"The run {run} is not done in {self.folder}; start its command again.")
        seconds = self._about(run)["seconds"]
        return Run(run, self.path(run), _read_json(self.path(run) / "result.json", run), seconds)

    def rows(self) -> list[dict[str, Any]]:
        """All runs, oldest first: id, kind, state, config, parents, version, started, finished, seconds,
        starts, commit, machine, result.

        seconds are those of the process that finished it, of `starts` that worked on it. What is not known
        is None; of a damaged run `problem` says what is wrong.
        """
        folders = (self.folder / "runs").glob("*-*") if (self.folder / "runs").is_dir() else ()
        rows = [self._row(folder.name) for folder in folders if not folder.name.startswith(".")]
        return sorted(rows, key=lambda row: (row["started"] or "", row["id"]))

    def remove(self, runs: Sequence[str]) -> None:
        """Delete runs whole; InputError, before anything is deleted, where a process is at one of them.

        Links inside a run, and a run that is a link, are removed as links.
        """
        for left in (self.folder / "runs").glob(f"{_REMOVING}*"):
            if not is_locked(self._lock(left.name.removeprefix(_REMOVING))):
                _delete(left)
        for run in runs:
            if is_locked(self._lock(run)):
                raise InputError(f"A process is at the run {run}; wait for it or stop it first.")
        for run in runs:
            with locked(self._lock(run), wait=True):
                if os.path.lexists(self.path(run)):
                    gone = self.path(f"{_REMOVING}{run}")
                    # Under another name first: half a run must never look like a whole one.
                    self.path(run).rename(gone)
                    _delete(gone)
                self._lock(run).unlink(missing_ok=True)

    def _settled(self, step: Step, work: Work, *, wait: bool) -> bool:
        """Whether the run is done, by us if it has to be; False where it is locked and we shall not wait."""
        if self._done(step.id):
            return True
        for parent in step.parents:
            self.read(parent)
        with locked(self._lock(step.id), wait=wait) as ours:
            if ours and not self._done(step.id):
                self._do(step, work)
        return ours

    def _do(self, step: Step, work: Work) -> None:
        folder = self.path(step.id)
        drop_unfinished(folder)
        known = self._about(step.id) if (folder / "run.json").exists() else {}
        about = step.to_json() | {
            "commit": commit(),
            "machine": machine(),
            "started": known.get("started") or _now(),
            "starts": known.get("starts", 0) + 1,
            "finished": None,
            "seconds": None,
        }
        write_record(folder / "run.json", about)
        clock = time.perf_counter()
        result = work(folder)
        about |= {"finished": _now(), "seconds": round(time.perf_counter() - clock, 2)}
        write_record(folder / "run.json", about)
        write_record(folder / "result.json", result)
        for resumable in list(folder.rglob(RESUMABLE)):
            shutil.rmtree(resumable)

    def _row(self, run: str) -> dict[str, Any]:
        row = dict.fromkeys((*_STEP, *_DONE_BY, "result"))
        row |= {"id": run, "kind": run.rpartition("-")[0], "parents": []}
        try:
            row |= self._about(run)
            if self._done(run):
                return row | {"state": DONE, "result": self.read(run).result}
        except InputError as error:
            row |= {"state": DAMAGED, "problem": str(error)}
        if is_locked(self._lock(run)):  # and so what looks damaged may only be unfinished
            return {name: value for name, value in row.items() if name != "problem"} | {"state": RUNNING}
        return {"state": INTERRUPTED} | row

    def _about(self, run: str) -> dict[str, Any]:
        """What run.json says, if it is the step that the folder is named by."""
        path = self.path(run) / "run.json"
        about = _read_json(path, run)
        if {*_STEP, *_DONE_BY} - set(about) or not _sound(about, run):
            raise InputError(f"{path} was changed: it is not what the run is named by; {_remedy(run)}.")
        return about

    def _done(self, run: str) -> bool:
        return (self.path(run) / "result.json").exists()

    def _lock(self, run: str) -> Path:
        return self.folder / "locks" / run


def _read_json(path: Path, run: str) -> dict[str, Any]:
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); {_remedy(run)}.") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} is not what BLIP Lab wrote; {_remedy(run)}.")
    return content


def _sound(about: Mapping[str, Any], run: str) -> bool:
    """Whether what is known of a run has the types it was written with, and is the step that names it."""
    kinds: dict[str, Any] = {"started": str, "finished": str, "seconds": (int, float), "starts": int, "commit": str, "machine": dict}
    values = all(isinstance(about[name], (kind, type(None))) for name, kind in kinds.items())
    if not values or not isinstance(about["config"], dict) or not isinstance(about["parents"], list):
        return False
    try:
        return Step(**{name: about[name] for name in _STEP}).id == run
    except RecursionError:  # nested deeper than it can be written
        return False


def _remedy(run: str) -> str:
    return f"remove it with lab runs rm {run} and start its command again"


def _delete(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path)


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="milliseconds")
