"""Locks between processes: files locked with flock, which the system lets go when their process ends."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from blip.errors import InputError


@contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold a lock while the block runs, and say whether we do; without `wait` another's lock gives False."""
    file = _acquire(path, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    try:
        yield file is not None
    finally:
        if file is not None:
            file.close()


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock now."""
    if not path.exists():
        return False
    # Shared, so that two who ask are not in each other's way.
    file = _acquire(path, fcntl.LOCK_SH | fcntl.LOCK_NB)
    if file is not None:
        file.close()
    return file is None


def _acquire(path: Path, how: int) -> IO | None:
    """The locked file; None where it is another's and we shall not wait."""
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("a")
            fcntl.flock(file, how)
        except BlockingIOError:
            file.close()
            return None
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise InputError(
                f"{path} cannot be locked ({error.strerror}); set BLIP_LAB_HOME to a folder of yours on a local disk."
            ) from None
        if _is_still(path, file):
            return file
        file.close()  # removed while we waited for it


def _is_still(path: Path, file: IO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
