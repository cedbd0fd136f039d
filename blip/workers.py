"""Processes that another one began as its workers: they end with it, however it ended."""

import multiprocessing
import os
import signal
import threading
from multiprocessing.process import BaseProcess


def begun_by() -> BaseProcess:
    """The process that began this one; RuntimeError where none did."""
    found = multiprocessing.parent_process()
    if found is None:
        raise RuntimeError("No process began this one as its worker.")
    return found


def end_with_parent() -> None:
    """Begin a worker that gets SIGTERM when the process that began it is gone, so that a training is saved first."""

    def wait() -> None:
        begun_by().join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
