"""The jobs of the room Run: each a `lab capfilt` in a process of its own, which outlives page and studio.

    jobs/ID.json   the job: its command, its state and its process; written whole, changed under a lock
    jobs/ID.log    what its process said since it was last started
    jobs/lock      held while a job is changed
    jobs/turn      held by the job that runs: one at a time, the others wait for it

Plain Python, no Gradio. A process is known by its number and the time it began: the number of a process that
has ended may be another's, and that is never touched.
"""

import json
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from threading import Thread

from apps.processes import born, runs
from blip.errors import InputError
from lab.locks import locked
from lab.records import write_record

WAITING, RUNNING, CANCELLED, FAILED, DONE = "waiting", "running", "cancelled", "failed", "done"
ALIVE = (WAITING, RUNNING)
"""States of a job that has a process."""

_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}")
_WORKER = "apps.job_worker"


@dataclass(frozen=True, kw_only=True)
class Job:
    """A CapFilt job: what it was asked for, and how it stands."""

    id: str
    """When it was made, and four hex digits; later ids sort behind earlier ones."""
    words: tuple[str, ...]
    """Arguments of `lab capfilt`."""
    data: str
    out: str
    """Folder of the ledger, absolute."""
    threshold: float
    """Match probability from which a caption is kept."""
    state: str = WAITING
    pid: int | None = None
    born: str | None = None
    """When the process of this number began, as the system has it."""
    started: str | None = None
    """ISO 8601: when it was started last."""
    ended: str | None = None

    @property
    def alive(self) -> bool:
        """Whether it waits or runs."""
        return self.state in ALIVE

    @property
    def resumable(self) -> bool:
        """Whether the same command may go on with what is done."""
        return self.state in (CANCELLED, FAILED)


class Jobs:
    """The jobs of a folder. Any number of processes may work in it, studios and jobs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def all(self) -> list[Job]:
        """Every job, the newest first; InputError for a file that cannot be read."""
        names = (path.stem for path in self.folder.glob("*.json"))
        return [self.find(name) for name in sorted(filter(_ID.fullmatch, names), reverse=True)]

    def find(self, id: str) -> Job:
        """A job as it stands now: one whose process ended without a word has failed. InputError for no job's id."""
        if not _ID.fullmatch(id) or not self._path(id).is_file():
            raise InputError(f"There is no job {id[:40]!r}; choose one of those in the room Run.")
        try:
            content = json.loads(self._path(id).read_text(encoding="utf-8"))
            job = Job(**content | {"words": tuple(content["words"])})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise InputError(f"{self._path(id)} cannot be read ({error}); remove it.") from None
        return replace(job, state=FAILED) if job.alive and not runs(job.pid, job.born) else job

    def log(self, id: str) -> Path:
        """What the process of a job said since it was last started; may not be there yet."""
        return self.folder / f"{id}.log"

    def turn(self) -> Path:
        """The lock of the job that runs."""
        return self.folder / "turn"

    def start(self, words: tuple[str, ...], *, data: str, out: str, threshold: float) -> Job:
        """Start a new job; InputError where another one writes to the same folder."""
        made = f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        with self._held():
            for other in self.all():
                if other.alive and other.out == out:
                    raise InputError(f"The job {other.id} writes to {out}; give another folder.")
            return self._launched(Job(id=made, words=words, data=data, out=out, threshold=threshold))

    def resume(self, id: str) -> Job:
        """Start a job again that was cancelled or has failed: the ledger goes on where it was."""
        with self._held():
            job = self.find(id)
            if not job.resumable:
                raise InputError(f"The job {id} is {job.state}; only one that was cancelled or has failed is resumed.")
            return self._launched(job)

    def cancel(self, id: str) -> Job:
        """End the process of a job by SIGTERM; what is done stays."""
        with self._held():
            job = self.find(id)
            if not job.alive or job.pid is None:
                raise InputError(f"The job {id} is {job.state}; there is nothing to cancel.")
            with suppress(ProcessLookupError):  # it has ended this very moment
                os.kill(job.pid, signal.SIGTERM)
            return self._write(replace(job, state=CANCELLED, ended=_now()))

    def began(self, id: str) -> Job | None:
        """The job, now running, when its turn has come; None where it shall not run any more."""
        with self._held():
            job = self.find(id)
            return self._write(replace(job, state=RUNNING, started=_now())) if job.state == WAITING else None

    def finished(self, id: str, status: int) -> None:
        """Write down how a job ended, by the exit status of its command."""
        with self._held():
            job = self.find(id)
            if job.state == RUNNING:
                self._write(replace(job, state=FAILED if status else DONE, ended=_now()))

    def _launched(self, job: Job) -> Job:
        """Give a job its process, which waits for the lock that we hold until it is written down."""
        command = [sys.executable, "-m", _WORKER, str(self.folder), job.id]
        # Text at once and in UTF-8, for it is read while the job runs.
        environment = os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
        with self.log(job.id).open("wb") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        Thread(target=process.wait, daemon=True).start()  # so that its end is taken note of
        waiting = replace(job, state=WAITING, pid=process.pid, born=born(process.pid), started=None, ended=None)
        return self._write(waiting)

    @contextmanager
    def _held(self) -> Iterator[None]:
        with locked(self.folder / "lock", wait=True):
            yield

    def _write(self, job: Job) -> Job:
        write_record(self._path(job.id), asdict(job))
        return job

    def _path(self, id: str) -> Path:
        return self.folder / f"{id}.json"


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
