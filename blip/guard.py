"""What happens when a loss or a gradient is not finite: it is named, its batch is saved, the run ends or skips."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from blip.data.files import replacing
from blip.distributed import largest, rank, told_by_all
from blip.errors import InputError
from blip.tasks.batch import Losses, TaskBatch, sample_keys

POLICIES = ("stop", "skip")
SAVED = 20  # batches that a run saves at most: the first ones tell enough
NAMED = 3  # samples that the sentence names


class NotFinite(InputError, FloatingPointError):
    """Losses, or the gradient, that are not finite, and the batches on which this process met them."""

    def __init__(self, message: str, what: Sequence[str] = (), batches: Sequence[TaskBatch] = ()) -> None:
        super().__init__(message)
        self.what, self.batches = tuple(what), tuple(batches)


def refuse_losses(losses: Losses, batch: TaskBatch) -> None:
    """NotFinite, in all processes, where the losses of one are not finite."""
    if not largest(int(not torch.isfinite(losses.total))):
        return
    bad = [name for name, loss in losses.parts.items() if not torch.isfinite(loss)]
    named = f"The loss {', '.join(bad)} is not finite at step {batch.step}."
    raise NotFinite(named, bad, [batch] if bad else [])


@dataclass
class Guard:
    """Saves the batches of steps that are not finite and decides whether the run goes on.

    policy: stop, or skip up to `most` steps in a row. skipped and in_a_row count them.
    """

    policy: str
    most: int
    out: Path | None
    skipped: int = 0
    in_a_row: int = 0

    def state_dict(self) -> dict[str, int]:
        """The counts, for a checkpoint."""
        return {"skipped": self.skipped, "in_a_row": self.in_a_row}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on counting from there."""
        self.skipped, self.in_a_row = state["skipped"], state["in_a_row"]

    def catch_up(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Count what the rows logged so far count at least: older checkpoints hold no counts."""
        self.skipped = max(self.skipped, int(rows[-1].get("skipped", 0)) if rows else 0)

    def counted(self) -> dict[str, float]:
        """What a log row says of the steps skipped so far: nothing where none may be."""
        return {"skipped": self.skipped} if self.policy == "skip" else {}

    def met(self, found: NotFinite, step: int) -> None:
        """Save the batches of a step (all processes call this); NotFinite unless the step is to be skipped."""
        what = sorted(set(told_by_all(found.what)))
        suspects = told_by_all([key for batch in found.batches for key in _suspects(batch)])
        keys = suspects or told_by_all([key for batch in found.batches for key in sample_keys(batch)])
        where = self._saved(found, step)
        self.skipped += 1
        self.in_a_row += 1
        if self.policy == "skip" and self.in_a_row <= self.most:
            return
        again = f" and the {self.most} steps before it were skipped" if self.policy == "skip" and self.most else ""
        more = f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
        raise NotFinite(
            f"The {_listed(what)} is not finite at step {step}{again} (samples {', '.join(keys[:NAMED])}{more}; {where}); "
            "look at them, lower the learning rate, or start again and skip such steps (not_finite skip)."
        ) from found

    def passed(self) -> None:
        """A step was finite."""
        self.in_a_row = 0

    def _saved(self, found: NotFinite, step: int) -> str:
        if self.out is None or self.skipped >= SAVED or not found.batches:
            return "their batch was not saved"
        path = self.out / "not-finite" / f"step-{step:08d}-rank{rank()}.pt"
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            torch.save({"step": step, "what": list(found.what), "batches": _plain(found.batches)}, file)
        return f"their batch is in {path}"


def _suspects(batch: TaskBatch) -> list[str]:
    """Samples that came in with values that are not finite, so that the weights are not to blame."""
    keys = sample_keys(batch)
    bad = torch.zeros(len(keys), dtype=torch.bool)
    for value in vars(batch).values():
        if isinstance(value, Tensor) and value.is_floating_point() and len(value) == len(keys):
            bad |= ~value.isfinite().reshape(len(keys), -1).all(dim=1).cpu()
    return [key for key, is_bad in zip(keys, bad.tolist(), strict=True) if is_bad]


def _plain(batches: Sequence[TaskBatch]) -> list[dict[str, Any]]:
    """Batches as dictionaries of tensors and texts, which load without any class of ours."""
    return [asdict(batch.to("cpu")) for batch in batches]


def _listed(what: Sequence[str]) -> str:
    return "gradient" if list(what) == ["gradient"] else f"loss {', '.join(what)}"
