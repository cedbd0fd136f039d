"""What goes into a task and what comes out of it."""

from collections.abc import Sequence
from dataclasses import Field, dataclass, replace
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor

from blip.tokenizer import Tokens


class TaskBatch(Protocol):
    """What the training loop knows of any task's batch, a dataclass: ids (B,) of its samples, when it was served,
    how it moves.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def ids(self) -> Tensor: ...
    @property
    def step(self) -> int: ...
    def to(self, device: torch.device | str) -> Self: ...


class Batches(Protocol):
    """Where batches come from: endless."""

    def __next__(self) -> TaskBatch: ...


class Feed(Batches, Protocol):
    """Batches whose position can be saved and set."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


@dataclass(frozen=True)
class PairBatch:
    """B image-text pairs: images (B, 3, H, W) float, tokens led by [CLS], ids (B,) int64.

    Pairs with equal ids are no negatives of each other; `step` and `first_row` key the random draws
    so that they belong to the sample and not to the process. keys: the pairs' names in their data set.
    share: words that LM says here, as times the mean over the micro-batches of one step. at: the step as a tensor (), for
    work that is captured and read again at later steps.
    """

    images: Tensor
    tokens: Tokens
    ids: Tensor
    step: int = 0
    first_row: int = 0
    keys: tuple[str, ...] = ()
    share: float = 1.0
    at: Tensor | None = None

    def to(self, device: torch.device | str) -> "PairBatch":
        """The same batch on a device."""
        images, ids = self.images.to(device, non_blocking=True), self.ids.to(device)
        return replace(self, images=images, tokens=self.tokens.to(device), ids=ids)


@dataclass(frozen=True)
class TeacherFeatures:
    """What a forward saw through the momentum encoder, of all processes' rows: (B, E) each, and ids (B,)."""

    image: Tensor
    text: Tensor
    ids: Tensor


@dataclass(frozen=True)
class Losses:
    """The unweighted losses by their names in the paper, their weighted total, and what time leaves behind."""

    parts: dict[str, Tensor]
    total: Tensor
    features: TeacherFeatures | None = None


def weighted(parts: dict[str, Tensor], weights: dict[str, float]) -> Tensor:
    """The sum of losses times their weights (1 each in the paper)."""
    return torch.stack([weights[name] * loss for name, loss in parts.items()]).sum()


def sample_keys(batch: TaskBatch) -> list[str]:
    """What names the samples of a batch: the keys of its pairs, or the numbers of its rows."""
    return list(getattr(batch, "keys", ())) or [f"row {number}" for number in batch.ids.tolist()]


def joined(features: Sequence[TeacherFeatures]) -> TeacherFeatures:
    """The features of several micro-batches as one."""
    return TeacherFeatures(
        torch.cat([f.image for f in features]),
        torch.cat([f.text for f in features]),
        torch.cat([f.ids for f in features]),
    )
