"""Dropout, whose draws can belong to samples: then they are the same on any number of processes, with one exception.

Plain dropout takes the next numbers of torch's generator; of several processes each begins every micro-batch with a seed
of its own (`own_draws`), so that a run that goes on needs no other process's generator. Inside `keyed` each draw is a
pure function of (seed, step, which call of the forward, row of the global batch, place in the row), and the padding of
a batch changes none of them. The exception are tasks with several texts an image, VQA and visual dialog: texts
are grouped by image and the groups are padded, so the row of a text hangs on what else its process has.
"""

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blip.distributed import rank, world_size
from blip.draws import uniform

_AXIS_BITS = 20  # places are numbered axis by axis, so that a longer axis moves none; at most three axes


@dataclass
class _Keys:
    """What the draws of one forward belong to; `calls` counts them."""

    seed: int
    step: int
    first_row: int
    rows: int
    calls: int = 0


_current: ContextVar[_Keys | None] = ContextVar("keys of dropout", default=None)


@contextmanager
def keyed(seed: int, step: int, first_row: int, rows: int) -> Iterator[None]:
    """Within it the draws belong to samples: `rows` of them here, the first of which is `first_row` of the batch."""
    token = _current.set(_Keys(seed, step, first_row, rows))
    try:
        yield
    finally:
        _current.reset(token)


def draws_are_keyed() -> bool:
    """Whether this runs inside `keyed`."""
    return _current.get() is not None


def own_draws(seed: int, step: int) -> None:
    """Begin a micro-batch's draws from torch's generator at (seed, step, this process's rank).

    step: micro-batches before it. Alone, a process goes on with its generator, whose state is in the checkpoints.
    """
    if world_size() > 1:
        torch.manual_seed(int(float(uniform(seed, step, rank())) * 2**53))


def same_draws() -> tuple[AbstractContextManager, AbstractContextManager]:
    """For `torch.utils.checkpoint`: contexts of a forward and of its repetition, which draws the same."""
    keys = _current.get()
    return contextlib.nullcontext(), contextlib.nullcontext() if keys is None else _as_of(replace(keys))


@contextmanager
def _as_of(keys: _Keys) -> Iterator[None]:
    # The repetition may run in a thread of autograd, which has not inherited the context.
    token = _current.set(keys)
    try:
        yield
    finally:
        _current.reset(token)


def dropped(x: Tensor, rate: float) -> Tensor:
    """Dropout of x (R, ...): each value is 0 with probability `rate`, else divided by 1 - rate."""
    if rate == 0.0:
        return x
    if _current.get() is None:
        # As F.dropout, but on a CPU, too, what is kept for the backward pass is a mask of bytes.
        return torch.native_dropout(x, rate, True)[0]
    return x * (draws(x.shape, x.device) >= rate).to(x.dtype) / (1 - rate)


def draws(shape: torch.Size | tuple[int, ...], device: torch.device) -> Tensor:
    """Uniform draws in [0, 1) of a shape (R, ...), R rows of a batch or several times as many, block by block."""
    keys = _current.get()
    if keys is None:
        return torch.rand(shape, device=device)
    keys.calls += 1
    row = torch.arange(shape[0], device=device)  # there, too: a copy to a GPU would wait for all that it has to do
    of_row = uniform(keys.seed, keys.step, keys.calls, row // keys.rows, keys.first_row + row % keys.rows)
    # 53 random bits as the key of a row: the small part is drawn once, only the rest for every place.
    key = (of_row * 2.0**53).long().view(-1, *[1] * (len(shape) - 1))
    place = torch.zeros((), dtype=torch.int64, device=device)
    for axis, size in enumerate(shape[:0:-1]):
        place = place + (torch.arange(size, device=device) << _AXIS_BITS * axis).view(-1, *[1] * axis)
    return uniform(key, place)


class Dropout(nn.Module):
    """Dropout while training; its draws belong to samples inside `keyed`."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        return dropped(x, self.rate) if self.training else x


def attention(query: Tensor, keys: Tensor, values: Tensor, keep: Tensor | None, rate: float) -> Tensor:
    """Scaled dot-product attention (R, H, L, d) with dropout of its weights; keep is a bool mask of keys.

    The fused kernel draws by itself, so keyed draws take the plain form.
    """
    if _current.get() is None or rate == 0.0:
        return F.scaled_dot_product_attention(query, keys, values, attn_mask=keep, dropout_p=rate)
    scores = (query @ keys.transpose(-2, -1)).float() * query.shape[-1] ** -0.5
    if keep is not None:
        scores = scores.masked_fill(~keep, float("-inf"))
    return dropped(scores.softmax(dim=-1), rate).to(values.dtype) @ values
