"""The momentum encoder and its memory. Knows no BLIP: it copies any module and keeps any features."""

import copy
from typing import Generic, Self, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Student = TypeVar("Student", bound=nn.Module)


class Teacher(nn.Module, Generic[Student]):
    """A frozen copy of a module that follows its student as an exponential moving average.

    It stays in eval mode, so its features are not blurred by dropout (the published code leaves
    dropout on). The student may own more than the copy: parameters are matched by name.
    """

    def __init__(self, module: Student) -> None:
        super().__init__()
        self.module = copy.deepcopy(module).eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode whatever is asked."""
        return super().train(False)

    @torch.no_grad()
    def update(self, student: nn.Module, momentum: float) -> None:
        """teacher <- momentum * teacher + (1 - momentum) * student, one fused call (published 0.995)."""
        source = dict(student.named_parameters())
        names, mine = zip(*self.module.named_parameters(), strict=True)
        torch._foreach_lerp_(list(mine), [source[n].detach() for n in names], 1.0 - momentum)


class FeatureQueue(nn.Module):
    """A ring of the last K teacher features and the ids of their pairs; any batch size wraps.

    rows (K, E) unit vectors, ids (K,) int64; random unit rows with id -100 stand in until real
    ones come (published).
    """

    rows: Tensor
    ids: Tensor
    position: Tensor

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.register_buffer("rows", F.normalize(torch.randn(size, width), dim=-1))
        self.register_buffer("ids", torch.full((size,), -100, dtype=torch.int64))
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def push(self, features: Tensor, ids: Tensor) -> None:
        """Write features (B, E) and ids (B,) over the oldest rows; of more than K the last K stay."""
        size, pushed = len(self.rows), len(features)
        if size == 0:
            return
        kept = min(size, pushed)
        offsets = torch.arange(pushed - kept, pushed, device=self.rows.device)
        places = (self.position + offsets) % size
        self.rows[places] = features[pushed - kept :].to(self.rows.dtype)
        self.ids[places] = ids[pushed - kept :]
        self.position.copy_((self.position + pushed) % size)
