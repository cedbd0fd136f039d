"""What text reads beside its own tokens: the keys and values of images, and those of the tokens decoded so far."""

from copy import copy
from dataclasses import dataclass, replace

from torch import Tensor

from blip.config import TextConfig
from blip.layers import rows_at


@dataclass(frozen=True)
class Memory:
    """What cross-attention reads: keys and values of B images in every layer, computed once.

    keys, values: one (B, H, N, d) tensor a layer. keep: (B, N) bool, or None when all N count. at: (R,) the image
    that each of R rows is, or None for the B images in order.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    keep: Tensor | None = None
    at: Tensor | None = None

    def __len__(self) -> int:
        return len(self.keys[0]) if self.at is None else len(self.at)

    def seen_at(self, index: Tensor) -> "Memory":
        """As `rows`, but nothing is copied before a layer reads it: for training, one text a row."""
        return replace(self, at=index if self.at is None else self.at[index])

    def rows(self, index: Tensor) -> "Memory":
        """The memory of the images at `index` (R,), repeats allowed."""
        at = index if self.at is None else self.at[index]
        return Memory(
            tuple(rows_at(k, at) for k in self.keys),
            tuple(rows_at(v, at) for v in self.values),
            None if self.keep is None else self.keep[at],
        )

    def packed(self) -> "Memory":
        """The same, each head's keys and values side by side: half the time for a single query (CPU)."""
        keys, values = ([t.contiguous() for t in ts] for ts in (self.keys, self.values))
        return replace(self, keys=tuple(keys), values=tuple(values))


class Cache:
    """Self-attention keys and values of the tokens decoded so far, preallocated for R rows."""

    def __init__(self, config: TextConfig, rows: int, capacity: int, like: Tensor) -> None:
        shape = (rows, config.heads, capacity, config.width // config.heads)
        self.keys = [like.new_zeros(shape) for _ in range(config.depth)]
        self.values = [like.new_zeros(shape) for _ in range(config.depth)]
        self.length = 0

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write the new tokens' (R, H, l, d) and return all up to them; `length` moves at the end of a step."""
        end = self.length + keys.shape[2]
        self.keys[layer][:, :, self.length : end] = keys
        self.values[layer][:, :, self.length : end] = values
        return self.keys[layer][:, :, :end], self.values[layer][:, :, :end]

    def reorder(self, rows: Tensor) -> None:
        """Make row i continue what row rows[i] held (beam search); only what is filled moves."""
        for filled in (c[:, :, : self.length] for c in (*self.keys, *self.values)):
            filled.copy_(filled.index_select(0, rows))

    def repeated(self, times: int, capacity: int) -> "Cache":
        """Room for `capacity` tokens in `times` rows that continue each row of this one."""
        wide = copy(self)
        wide.keys = [_widened(k, times, capacity) for k in self.keys]
        wide.values = [_widened(v, times, capacity) for v in self.values]
        return wide


def _widened(cache: Tensor, times: int, capacity: int) -> Tensor:
    rows, heads, length, width = cache.shape
    wide = cache.new_zeros(rows * times, heads, capacity, width)
    wide[:, :, :length] = cache.repeat_interleave(times, dim=0)
    return wide
