"""Resumable checkpoints: written whole or not at all beside the training, checked by hash, the last few kept."""

import fcntl
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from blip.checkpoint.tensors import load_plain
from blip.distributed import LostProcess, is_main, told_by_main
from blip.errors import InputError, InputWarning
from blip.saving import Writer, copied, digest, write_hashed

_PARTS = {"step": int, "task": dict, "optimizer": dict, "feed": dict, "rng": torch.Tensor}


class Stateful(Protocol):
    """What has a position that can be saved and set."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Keeper:
    """Writes and finds resumable checkpoints: weights, teacher, queues, optimizer, draws, data position, skipped steps.

    The main process writes, from a copy in its memory while the training goes on; every process reads, so the folder must
    be one that all of them see. Nothing in a checkpoint depends on the number of processes. made_of: what the training is
    made of, by names that can be read to a user, with plain values; a checkpoint of another is refused (one that does not
    say is not).
    """

    def __init__(
        self,
        out: Path | None,
        task: nn.Module,
        optimizer: torch.optim.Optimizer,
        feed: Stateful,
        guard: Stateful,
        *,
        kept: int = 2,
        made_of: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder, self.made_of = out / "checkpoints" if out else None, dict(made_of or {})
        self.task, self.optimizer, self.feed, self.guard, self.kept = task, optimizer, feed, guard, kept
        self.saved_at, self._writer = time.monotonic(), Writer()
        self.mark(0)

    def due(self, seconds: float) -> bool:
        """Whether the last checkpoint is older than that; raises what kept the last one from being written."""
        self._writer.check()
        return time.monotonic() - self.saved_at >= seconds

    def mark(self, step: int) -> None:
        """Note the data position and the draws that belong to the weights as they are, those of this step."""
        if self.folder is None:
            return
        self.step = step
        self.position = {
            "feed": self.feed.state_dict(),
            "guard": self.guard.state_dict(),
            "rng": torch.get_rng_state(),
        }
        if (device := self._device()).type == "cuda":
            self.position["cuda_rng"] = torch.cuda.get_rng_state(device)

    def save(self) -> None:
        """Begin a checkpoint of the marked step, once the one before is written; raises what that one raised."""
        if self.folder is None or not is_main():
            return
        self._writer.wait()  # before the copy, so that there are never two
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {
            "step": self.step,
            "made_of": self.made_of,
            "task": self.task.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            **self.position,
        }
        step, copy = self.step, copied(state)
        self._writer.start(lambda: self._write(step, copy))
        self.saved_at = time.monotonic()

    def finish(self) -> None:
        """Return when the last checkpoint is written; raises what kept it from being so."""
        self._writer.wait()

    def _write(self, step: int, state: dict[str, Any]) -> None:
        """Write a checkpoint atomically with its hash in the name; remove all but the last few."""
        assert self.folder is not None
        temporary = self.folder / "writing"
        digits = write_hashed(state, temporary)
        temporary.rename(self.folder / f"{step:08d}-{digits}.pt")
        for old in self._found()[: -self.kept]:
            old.unlink()

    def resume(self) -> int:
        """Restore the newest whole checkpoint and return its step; 0 when there is none.

        Warns of each damaged one that is passed over, and renames it: a damaged one of a later step would
        count as one of the last few, and what is saved from now on would be removed in its place.
        """
        name = told_by_main(self._newest_whole() if is_main() else None)
        if name is None or self.folder is None:
            return 0
        try:
            state: Any = load_plain(self.folder / name)
        except InputError:
            raise InputError(
                f"The checkpoint {self.folder / name} cannot be read; give an --out that every process sees, or delete it."
            ) from None
        self._restore(state)
        self.mark(state["step"])
        return state["step"]

    def _newest_whole(self) -> str | None:
        found = self._found()
        for number in reversed(range(len(found))):
            path = found[number]
            if digest(path) == path.stem.split("-")[1]:
                return path.name
            then = f"tries {found[number - 1].name}" if number else "begins anew"
            aside = path.replace(path.with_name(f"{path.name}.damaged"))
            said = f"The checkpoint {path} is damaged, so training {then}; it is now named {aside.name}."
            warnings.warn(said, InputWarning, stacklevel=4)
        return None

    def _restore(self, state: Any) -> None:
        if not isinstance(state, dict) or not all(isinstance(state.get(name), kind) for name, kind in _PARTS.items()):
            raise InputError(f"The newest checkpoint in {self.folder} is not what training wrote; delete it.")
        _refuse(self.folder, self.made_of, state)
        try:
            self.task.load_state_dict(state["task"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError):
            raise InputError(
                f"The checkpoints in {self.folder} are of another model; choose another output folder."
            ) from None
        try:
            self.feed.load_state_dict(state["feed"])
            if "guard" in state:
                self.guard.load_state_dict(state["guard"])
            torch.set_rng_state(state["rng"])
        except (RuntimeError, KeyError, TypeError):
            raise InputError(
                f"The checkpoints in {self.folder} are of other data; choose another output folder."
            ) from None
        if "cuda_rng" in state and (device := self._device()).type == "cuda":
            torch.cuda.set_rng_state(_of_device(state["cuda_rng"], device), device)

    def _device(self) -> torch.device:
        return next(self.task.parameters()).device

    def _found(self) -> list[Path]:
        return _checkpoints(self.folder) if self.folder else []


def refuse_another(out: Path, made_of: Mapping[str, Any]) -> None:
    """InputError where the newest checkpoint in `out` is of another training, before anything long begins.

    What cannot be read is left to the `Keeper`, which looks for one before it.
    """
    folder = out / "checkpoints"
    for newest in _checkpoints(folder)[-1:]:
        try:
            state: Any = load_plain(newest)
        except InputError:
            return
        _refuse(folder, made_of, state)


@contextmanager
def kept_if_lost(keeper: Keeper) -> Iterator[Keeper]:
    """Within it a process that is lost ends the run: the marked step is saved, InputError says so. Yields the keeper.

    However it ends, the checkpoint that is being written is written first. InputError where another run trains in its folder.
    """
    held = _alone(keeper.folder.parent) if keeper.folder else None
    try:
        yield keeper
    except LostProcess as error:
        if keeper.folder is None:
            raise InputError("Another process of this run was lost; give an output folder to be able to continue.") from error
        keeper.save()
        raise InputError(
            f"Another process of this run died or kept the others waiting for too long after step {keeper.step}; "
            f"start the same command again to continue from {keeper.folder}."
        ) from error
    finally:
        keeper.finish()
        if held is not None:
            os.close(held)


def _alone(out: Path) -> int | None:
    """A lock on the folder, which the system lets go when the process ends; None of all processes but the main one, and
    where the file system has no locks. InputError in every process where another run holds it.
    """
    held, free = None, True
    if is_main():
        out.mkdir(parents=True, exist_ok=True)
        held = os.open(out, os.O_RDONLY)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(held)
            held, free = None, not isinstance(error, BlockingIOError)
    if not told_by_main(free):
        raise InputError(f"Another process is training in {out}; wait for it, or choose another output folder.")
    return held


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*-*.pt") if path.is_file())


def _refuse(folder: Path | None, made_of: Mapping[str, Any], state: Any) -> None:
    known = state.get("made_of") if isinstance(state, dict) else None
    known = known if isinstance(known, dict) else {}  # of before, or of a caller who does not tell
    differs = [name for name, mine in made_of.items() if known.get(name, mine) != mine]
    if differs:
        raise InputError(
            f"{folder} holds another training, which differs in the {differs[0]}; choose another output folder, "
            "or give the same data and settings to continue."
        )


def _of_device(states: torch.Tensor | list[torch.Tensor], device: torch.device) -> torch.Tensor:
    """The state of the device's generator; older checkpoints hold those of all devices that were visible then."""
    if isinstance(states, torch.Tensor):
        return states
    return states[min(device.index or 0, len(states) - 1)]
