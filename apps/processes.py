"""Processes of this machine, told apart by number and the time they began."""

import os
import subprocess
from pathlib import Path

_PROC = Path("/proc/self/stat")  # where the system is Linux
_BEGAN = 19  # of the fields behind the name: clock ticks since the machine was started
_DEAD = ("Z", "X")


def born(pid: int) -> str | None:
    """When the process of a number began, as the system has it; None where none of this number runs.

    One that has ended but is not yet taken note of by its parent does not run.
    """
    return _of_linux(pid) if _PROC.exists() else _of_posix(pid)


def runs(pid: int | None, began: str | None) -> bool:
    """Whether the process of a number runs, and is the one that began then."""
    return pid is not None and began is not None and born(pid) == began


def _of_linux(pid: int) -> str | None:
    try:
        # The name may hold spaces and brackets; the last bracket ends it.
        state, *words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in _DEAD else words[_BEGAN - 1]


def _of_posix(pid: int) -> str | None:
    command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    told = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"LC_ALL": "C"})
    state, _, began = told.stdout.strip().partition(" ")
    return None if not began or state.startswith(_DEAD) else began.strip()
