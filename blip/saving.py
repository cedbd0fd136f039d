"""Writing beside the training: the state is copied at once, and a thread writes the copy."""

import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor


class Writer:
    """Does one piece of writing at a time in a thread; what fails there is raised here, in the thread that asks."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def start(self, write: Callable[[], None]) -> None:
        """Begin to write; the piece before has been waited for."""
        # A daemon: whoever insists on the end does not wait, and a file without its last name does no harm.
        self._thread = threading.Thread(target=self._run, args=(write,), name="writing a checkpoint", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise what the last piece raised, if it has ended; does not wait."""
        if self._thread is not None and not self._thread.is_alive():
            self.wait()

    def wait(self) -> None:
        """Return when nothing is being written any more; raises what the last piece raised, once."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _run(self, write: Callable[[], None]) -> None:
        try:
            write()
        except BaseException as failure:  # noqa: BLE001  # whatever it is, the training ends with it
            self._failure = failure


def copied(state: Any) -> Any:
    """A state of mappings, lists and tuples with its tensors copied to the CPU; tensors that are one stay one."""
    return _copied(state, {})


def _copied(value: Any, seen: dict[Any, Tensor]) -> Any:
    if isinstance(value, dict):
        return {name: _copied(one, seen) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_copied(one, seen) for one in value)
    if not isinstance(value, Tensor):
        return value
    # Tied weights have several names; of two copies the file would hold both.
    key = (value.data_ptr(), value.dtype, value.shape, value.stride())
    if key not in seen:
        seen[key] = value.detach().to("cpu", copy=True)
    return seen[key]


def write_hashed(state: Any, path: Path) -> str:
    """Write a state by `torch.save`, synced, and return the first 16 digits of the file's SHA-256."""
    with path.open("wb") as file:
        hashed = _Hashed(file)
        torch.save(state, hashed)  # type: ignore[arg-type]  # it writes and nothing else
        file.flush()
        os.fsync(file.fileno())
    return hashed.digest()


def digest(path: Path) -> str:
    """The first 16 digits of a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


class _Hashed:
    """A file that hashes what is written, in order, so that it need not be read again."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._sha256 = file, hashlib.sha256()

    def write(self, data: Any) -> int:
        self._sha256.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def digest(self) -> str:
        return self._sha256.hexdigest()[:16]
