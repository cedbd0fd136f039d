"""What text reads beside its own tokens: the keys and values of images, and those of the tokens decoded so far."""

from copy import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from blip.config import TextConfig
from blip.layers import rows_at


@dataclass(frozen=True)
class Memory:
    """What cross-attention reads: keys and values of B images in every layer, computed once.

    keys, values: one (B, H, N, d) tensor a layer. keep: (B, N) bool, or None when all N count. at: (R,) the image
    that each of R rows is, or None for the B images in order. chosen: (B,) the images of the middle third of 3 * B
    rows, whose first and last thirds are the images in order.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    keep: Tensor | None = None
    at: Tensor | None = None
    chosen: Tensor | None = None

    def __len__(self) -> int:
        if self.chosen is not None:
            return 3 * len(self.keys[0])
        return len(self.keys[0]) if self.at is None else len(self.at)

    def seen_at(self, index: Tensor) -> "Memory":
        """As `rows`, but nothing is copied before a layer reads it: for training, one text a row."""
        return replace(self, at=index if self.at is None else self.at[index])

    def with_chosen(self, chosen: Tensor) -> "Memory":
        """The B images, those of the numbers chosen (B,), and the B images again: nothing is copied but the chosen ones."""
        return replace(self, chosen=chosen)

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

    def owned(self) -> "Memory":
        """The same images in tensors of its own, which later ones may take over: no rows are chosen."""
        own = lambda tensors: tuple(tensor.clone(memory_format=torch.contiguous_format) for tensor in tensors)
        return Memory(own(self.keys), own(self.values), None if self.keep is None else self.keep.clone())

    def refill(self, other: "Memory") -> None:
        """Hold other images, as many and as large, in the same tensors."""
        for mine, new in zip(self._tensors, other._tensors, strict=True):
            mine.copy_(new)

    @property
    def _tensors(self) -> list[Tensor]:
        return [*self.keys, *self.values, *([] if self.keep is None else [self.keep])]


class Cache:
    """Self-attention keys and values of the tokens decoded so far, preallocated for R rows."""

    def __init__(self, config: TextConfig, rows: int, capacity: int, like: Tensor) -> None:
        shape = (rows, config.heads, capacity, config.width // config.heads)
        self.keys = [like.new_zeros(shape) for _ in range(config.depth)]
        self.values = [like.new_zeros(shape) for _ in range(config.depth)]
        self.length: int | Tensor = 0

    @property
    def mask(self) -> Tensor | None:
        """Which keys the next token may see; None: all that `extend` returns."""
        return None

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

    def fixed(self) -> "FixedCache":
        """The same tokens in tensors that never move."""
        return FixedCache(self)


class FixedCache(Cache):
    """A cache for captured steps of one token: the length, (1,), is a tensor, and all of its room is read under a mask."""

    length: Tensor

    def __init__(self, filled: Cache) -> None:
        self.keys, self.values = filled.keys, filled.values
        self.length = torch.tensor([int(filled.length)], device=self.keys[0].device)

    @property
    def mask(self) -> Tensor:
        """(1, 1, 1, capacity): the tokens so far and the one that is being fed."""
        return (torch.arange(self.keys[0].shape[2], device=self.length.device) <= self.length)[None, None, None]

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write one token's (R, H, 1, d) and return all the room there is."""
        for room, new in ((self.keys[layer], keys), (self.values[layer], values)):
            room.index_copy_(2, self.length, new.to(room.dtype))
        return self.keys[layer], self.values[layer]

    def reorder(self, rows: Tensor) -> None:
        """Make row i continue what row rows[i] held."""
        for room in (*self.keys, *self.values):
            room.copy_(room.index_select(0, rows))

    def refilled(self, other: Cache) -> None:
        """Hold what another cache of the same rows and room holds."""
        for mine, new in zip((*self.keys, *self.values), (*other.keys, *other.values), strict=True):
            mine.copy_(new)
        self.length.fill_(other.length)


def _widened(cache: Tensor, times: int, capacity: int) -> Tensor:
    rows, heads, length, width = cache.shape
    wide = cache.new_zeros(rows * times, heads, capacity, width)
    wide[:, :, :length] = cache.repeat_interleave(times, dim=0)
    return wide
