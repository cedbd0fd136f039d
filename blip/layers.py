"""The bricks of both towers: attention over fused kernels, MLP, stochastic depth, and parts owned per role."""

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from blip.dropout import attention, draws
from blip.errors import InputError


class PerRole(nn.ModuleDict):
    """A part that exists once per role, or once for both when it is shared.

    Sharing is ownership: a shared part is stored under the first role only and every role reads
    it, so that the state dict holds each tensor once and nothing is tied afterwards.
    """

    def __init__(self, build: Callable[[], nn.Module], roles: Sequence[str], *, shared: bool) -> None:
        super().__init__({role: build() for role in (roles[:1] if shared else roles)})
        self.roles = tuple(roles)

    def __getitem__(self, role: str) -> nn.Module:
        if role not in self.roles:
            raise InputError(f"This model was not made to be read as {role}; give it that reading.")
        return super().__getitem__(role if role in self else self.roles[0])


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, L, D) -> (B, H, L, D / H)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """(B, H, L, d) -> (B, L, H * d)."""
    return x.transpose(1, 2).flatten(2)


def attend(query: Tensor, keys: Tensor, values: Tensor, keep: Tensor | None, drop: float = 0.0) -> Tensor:
    """Attention of queries (k * B, L, D) over keys and values (B, H, N, d) of B images: (k * B, L, D)."""
    # k texts of one image become one long query, so that keys and values are never repeated.
    images, heads = keys.shape[:2]
    q = split_heads(query, heads).unflatten(0, (images, -1))
    folded = q.transpose(1, 2).flatten(2, 3)
    mask = None if keep is None else keep[:, None, None, :]
    out = attention(folded, keys, values, mask, drop)
    return merge_heads(out.unflatten(2, q.shape[1:2] + q.shape[3:4]).transpose(1, 2).flatten(0, 1))


class DropPath(nn.Module):
    """Stochastic depth: a residual branch is left out for whole samples while training."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x
        kept = draws((x.shape[0], *[1] * (x.dim() - 1)), x.device) >= self.rate
        return x * kept.to(x.dtype) / (1 - self.rate)


class MLP(nn.Module):
    """Two linear maps with a GELU between: (..., D) -> (..., D)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x)))


def start_std(width: int) -> float:
    """Standard deviation of new weights: 0.02 (BERT, DeiT) from width 768 on, more in narrower models.

    Scaled by the square root of 768 / width, so that a layer passes on as much of its input at any
    width. With 0.02 a model of width 64 learns next to nothing of objects in its first 60,000 samples.
    """
    return 0.02 * max(1.0, (768 / width) ** 0.5)


def start_weights(module: nn.Module, width: int) -> None:
    """Normal weights with `start_std`, zero biases, in all linear and embedding layers of a module."""
    std = start_std(width)
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=std)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Embedding):
            nn.init.normal_(part.weight, std=std)
