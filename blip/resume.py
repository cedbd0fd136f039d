"""Resumable checkpoints: written whole or not at all, checked by hash, the last few kept."""

import hashlib
import os
import time
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from blip.distributed import is_main
from blip.errors import InputError

CHECKPOINTS_KEPT = 2


class Stateful(Protocol):
    """What has a position that can be saved and set."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Keeper:
    """Writes and finds resumable checkpoints: weights, teacher, queues, optimizer, draws, data position."""

    def __init__(
        self, out: Path | None, task: nn.Module, optimizer: torch.optim.Optimizer, feed: Stateful
    ) -> None:
        self.folder = out / "checkpoints" if out else None
        self.task, self.optimizer, self.feed = task, optimizer, feed
        self.saved_at = time.monotonic()

    def due(self, seconds: float) -> bool:
        """Whether the last checkpoint is older than that."""
        return time.monotonic() - self.saved_at >= seconds

    def save(self, step: int) -> None:
        """Write a checkpoint atomically with its hash in the name, and remove all but the last few."""
        if not is_main():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {
            "step": step,
            "task": self.task.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "feed": self.feed.state_dict(),
            "rng": torch.get_rng_state(),
        }
        if torch.cuda.is_available():
            state["cuda_rng"] = torch.cuda.get_rng_state_all()
        temporary = self.folder / "writing"
        with temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self.folder / f"{step:08d}-{_digest(temporary)}.pt")
        for old in self._found()[:-CHECKPOINTS_KEPT]:
            old.unlink()
        self.saved_at = time.monotonic()

    def resume(self) -> int:
        """Restore the newest whole checkpoint and return its step; 0 when there is none."""
        for path in reversed(self._found()):
            if _digest(path) != path.stem.split("-")[1]:
                continue  # cut off while it was copied: the one before it serves
            state = torch.load(path, map_location="cpu", weights_only=True)
            self._restore(state)
            return state["step"]
        return 0

    def _restore(self, state: dict[str, Any]) -> None:
        try:
            self.task.load_state_dict(state["task"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError):
            raise InputError(
                f"The checkpoints in {self.folder} are of another model; choose another output folder."
            ) from None
        self.feed.load_state_dict(state["feed"])
        torch.set_rng_state(state["rng"])
        if "cuda_rng" in state and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["cuda_rng"])

    def _found(self) -> list[Path]:
        return sorted(self.folder.glob("*-*.pt")) if self.folder else []


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
