"""The bricks of both towers: attention over fused kernels, MLP, stochastic depth, and parts owned per role."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from blip.dropout import attention, draws, same_draws
from blip.errors import InputError

_WORTH = 300_000
"""Elements from which a value is computed again in place of being kept; those of small models on small batches, where
time counts more, have fewer."""
Part = TypeVar("Part", bound=nn.Module)


class Layers(nn.ModuleList, Generic[Part]):
    """Layers of one kind, in order: an nn.ModuleList that tells a type checker which kind."""

    if TYPE_CHECKING:

        def __init__(self, layers: Iterable[Part]) -> None: ...
        def __getitem__(self, at: int) -> Part: ...  # type: ignore[override]  # nobody slices layers
        def __iter__(self) -> Iterator[Part]: ...


class PerRole(nn.ModuleDict, Generic[Part]):
    """A part that exists once per role, or once for both when it is shared.

    Sharing is ownership: a shared part is stored under the first role only and every role reads
    it, so that the state dict holds each tensor once and nothing is tied afterwards.
    """

    def __init__(self, build: Callable[[], Part], roles: Sequence[str], *, shared: bool) -> None:
        super().__init__({role: build() for role in (roles[:1] if shared else roles)})
        self.roles = tuple(roles)

    def __getitem__(self, role: str) -> Part:
        if role not in self.roles:
            raise InputError(f"This model was not made to be read as {role}; give it that reading.")
        # To nn.ModuleDict all parts are plain modules; these are what `build` built.
        return super().__getitem__(role if role in self else self.roles[0])  # type: ignore[return-value]


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, L, D) -> (B, H, L, D / H)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """(B, H, L, d) -> (B, L, H * d)."""
    return x.transpose(1, 2).flatten(2)


def recomputed(part: Callable[..., Tensor], *given: Any, size: int, random: bool = False, light: bool = False) -> Tensor:
    """part(*given); where that saves memory, its inner values are computed again in the backward pass.

    size: elements of its largest inner value; small ones are kept, since to note how they are computed would take
    longer than they are worth. random: whether it draws. light: whether it takes next to no time; what does take some is
    kept on a GPU in bf16, where it is half as large and time counts more. A compiler decides by itself. Values and
    draws are the same either way. A last linear map is not run again: its input is all that the backward pass lacks.
    """
    kept = torch.compiler.is_compiling() or (_half_on_gpu(given) and not light)
    if size < _WORTH or not torch.is_grad_enabled() or kept:
        return part(*given)
    return checkpoint(part, *given, use_reentrant=False, context_fn=same_draws, preserve_rng_state=random)


def _half_on_gpu(given: Sequence[Any]) -> bool:
    return torch.is_autocast_enabled("cuda") and isinstance(given[0], Tensor) and given[0].is_cuda


def normed(norm: nn.Module, linear: nn.Module, x: Tensor) -> Tensor:
    """linear(norm(x)): what begins a pre-norm branch."""
    return recomputed(lambda x: linear(norm(x)), x, size=x.numel())


def attend(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    keep: Tensor | None,
    drop: float = 0.0,
    at: Tensor | None = None,
    chosen: Tensor | None = None,
) -> Tensor:
    """Attention of queries (k * B, L, D) over keys and values (B, H, N, d) of B images: (k * B, L, D).

    at (R,): the image that each of R queries reads, in place of k after each other for one image. chosen (B,): of
    3 * B queries the first and the last B read the images in order, those between them the images of these numbers.
    """
    if chosen is not None:
        return _attend_chosen(query, keys, values, keep, drop, chosen)
    read = len(keys) if at is None else len(at)
    size = read * keys[0].numel()
    return recomputed(_attend, query, keys, values, keep, drop, at, size=size, random=drop > 0)


def _attend_chosen(
    query: Tensor, keys: Tensor, values: Tensor, keep: Tensor | None, drop: float, chosen: Tensor
) -> Tensor:
    first, between, last = query.chunk(3)
    in_order = torch.stack([first, last], dim=1).flatten(0, 1)  # two after each other for one image
    own = attend(in_order, keys, values, keep, drop).unflatten(0, (-1, 2))
    others = attend(between, keys, values, keep, drop, chosen)
    return torch.cat([own[:, 0], others, own[:, 1]])


def rows_at(values: Tensor, at: Tensor) -> Tensor:
    """values[at] (R, ...) for rows at (R,) that may repeat, with a gradient that is the same bits each time.

    The gradient of plain indexing is added up by a CPU's threads in the order in which they come, once it has 32,768
    numbers. CUDA sorts first, and copies value by value: half as fast as in rows, for which there is a product with
    half precision's tensor cores. What is float32 there is left as it is, since a product may round it (TF32).
    """
    if not values.requires_grad:
        return values.index_select(0, at)
    if values.is_cuda and values.dtype == torch.float32:
        return values[at]
    return _RowsAt.apply(values, at)


class _RowsAt(torch.autograd.Function):
    """Indexing whose gradient is a product with ones and zeros: one kernel, which adds in one order."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, at: Tensor) -> Tensor:
        ctx.save_for_backward(at)
        ctx.rows = len(values)
        return values.index_select(0, at)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (of_rows,), (at,) = gradients, ctx.saved_tensors
        chosen = (torch.arange(ctx.rows, device=at.device)[:, None] == at).to(of_rows.dtype)
        return (chosen @ of_rows.flatten(1)).view(-1, *of_rows.shape[1:]), None


def _attend(
    query: Tensor, keys: Tensor, values: Tensor, keep: Tensor | None, drop: float, at: Tensor | None
) -> Tensor:
    if at is not None:
        keys, values, keep = rows_at(keys, at), rows_at(values, at), None if keep is None else keep[at]
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
        return self.narrow(self.up(x))

    def narrow(self, hidden: Tensor) -> Tensor:
        """The second half: (..., hidden) -> (..., D)."""
        return recomputed(lambda hidden: self.down(F.gelu(hidden)), hidden, size=hidden.numel(), light=True)


def full_precision(head: nn.Linear, states: Tensor) -> Tensor:
    """What a small head makes of states (..., D), in the precision of its weights under autocast, too.

    Its few outputs order texts and images, and those that bf16 rounds alike tie.
    """
    with torch.autocast(states.device.type, enabled=False):
        return head(states.to(head.weight.dtype))


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
