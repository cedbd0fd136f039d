"""The local engine on several devices: one spawned process for each.

A process that is killed is started anew and begins its shard again. When the program that started them ends
or is killed, they end, too.
"""

import signal
import traceback
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from blip.capfilt.work import Made, Task, make
from blip.capfilt.workers import ATTEMPTS, Recipe, Workers, agreed, dead
from blip.errors import InputError

_SPAWN = get_context("spawn")  # CUDA does not survive a fork
_PATIENCE = 10.0  # seconds in which a process that is told to end must do so


@contextmanager
def processes(recipe: Recipe, devices: Sequence[str]) -> Iterator[Workers]:
    """A process for each device, which may be named several times; ended when the block ends.

    InputError of the recipe, or where a process dies before it has opened the job.
    """
    with ExitStack() as stack:
        found = [_Process(recipe, device) for device in devices]
        for process in found:
            stack.callback(process.close)
        yield Workers(agreed([process.opened() for process in found]), found, _done)


class _Process:
    """A worker process with one end of its pipe."""

    _task: Task

    def __init__(self, recipe: Recipe, device: str) -> None:
        self._start, self._device = partial(_started, recipe, device), device
        self._process, self.pipe = self._start()
        self._begun = 0

    def opened(self) -> dict[str, Any]:
        """The `about` of its job, once it is open."""
        about = self._answer()
        if about is None:
            raise InputError(
                f"The process for {self._device} died before its models were open; look at the memory of the machine."
            )
        return about

    def begin(self, task: Task) -> None:
        """Send a task."""
        self._task, self._begun = task, 1
        self._send()

    def result(self) -> Made | None:
        """What it made; None where it died and has begun anew. InputError where that was the last attempt."""
        made = self._answer()
        if made is not None:
            return made
        if self._begun == ATTEMPTS:
            raise dead(self._task)
        self._begun += 1
        self.close()
        self._process, self.pipe = self._start()
        self.opened()
        self._send()
        return None

    def close(self) -> None:
        """End the process."""
        self.pipe.close()
        self._process.terminate()
        self._process.join(_PATIENCE)
        if self._process.is_alive():
            self._process.kill()

    def _send(self) -> None:
        try:
            self.pipe.send(self._task)
        except OSError:
            return  # it died while idle; the pipe then says so to who waits for it

    def _answer(self) -> Any:
        """What it sent, None where it is dead; an error of its own is raised here."""
        try:
            answer = self.pipe.recv()
        except (EOFError, OSError):
            return None
        if isinstance(answer, Exception):
            raise answer
        return answer


def _done(busy: Collection[_Process]) -> _Process:
    ready = wait([process.pipe for process in busy])
    return next(process for process in busy if process.pipe in ready)


def _started(recipe: Recipe, device: str) -> tuple[SpawnProcess, Connection]:
    here, there = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_work, args=(recipe, device, there), daemon=True)
    process.start()
    there.close()
    return process, here


def _work(recipe: Recipe, device: str, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who has started this process ends it
    try:
        job = recipe(device)
        pipe.send(job.about())
        while True:
            pipe.send(make(job, pipe.recv()))
    except EOFError:
        return
    except InputError as error:
        pipe.send(error)
    except Exception as error:
        error.add_note(traceback.format_exc())  # which does not travel otherwise
        pipe.send(error)
        raise
