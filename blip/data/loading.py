"""From a data set to batches: a deterministic order, exact resume, prefetching threads.

Every choice depends on (seed, epoch, position) alone, so that batches are the same whatever the
number of workers and wherever a run was stopped. A `Loader` knows the order; a source
(`PhotoSource`, `ArraySource`) makes the batch.
"""

import itertools
import math
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from blip.data.transforms import keyed_rng
from blip.distributed import own_rows, part_of_batch
from blip.errors import InputError


@dataclass(frozen=True)
class Batch:
    """Pairs as the model takes them; equal ids mean the same text, or the same image."""

    images: Tensor
    """Normalised pixels (B,3,H,W) float32."""
    captions: list[str]
    """Cleaned texts."""
    pair_ids: Tensor
    """(B,) int64: hash of the normalised text, or an identity by meaning given to the source."""
    image_ids: Tensor
    """(B,) int64."""
    keys: list[str]

    def __len__(self) -> int:
        return len(self.captions)

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device."""
        moved = (
            values.to(device, non_blocking=True)
            for values in (self.images, self.pair_ids, self.image_ids)
        )
        images, pair_ids, image_ids = moved
        return replace(self, images=images, pair_ids=pair_ids, image_ids=image_ids)


@dataclass(frozen=True, kw_only=True)
class Request:
    """Which samples a batch is made of: order[start : start + count], drawn for (seed, epoch)."""

    order: np.ndarray
    """Row numbers of the whole epoch."""
    start: int
    count: int
    seed: int
    epoch: int
    replace_bad: bool
    """Whether an unreadable sample gives its place to another (training) or is left out."""
    part: range | None = None
    """Places in the batch that this process reads; None for all."""

    @property
    def places(self) -> range:
        """The places in the batch to read."""
        return range(self.count) if self.part is None else self.part

    def rows(self) -> np.ndarray:
        """The rows of the whole batch."""
        return self.order[self.start : self.start + self.count]

    def substitutes(self, at: int) -> Iterator[int]:
        """Rows to try in turn for sample `at`: itself, then all others, from the next batch on."""
        total = len(self.order)
        # A stride without a common divisor visits every row once before it comes back.
        stride = next(step for step in itertools.count(self.count) if math.gcd(step, total) == 1)
        return (int(self.order[(self.start + at + turn * stride) % total]) for turn in range(total))

    def rng(self, row: int) -> np.random.Generator:
        """The generator of one sample, or of the whole batch that begins with it."""
        return keyed_rng(self.seed, self.epoch, row)


Loaded = TypeVar("Loaded")
_Made_co = TypeVar("_Made_co", covariant=True)


class Source(Protocol[_Made_co]):
    """What a `Loader` reads from: rows that make batches of one kind."""

    @property
    def shards(self) -> np.ndarray | None:
        """For each row the number of its shard, if there are any."""

    def __len__(self) -> int: ...

    def begin(self, request: Request, pool: ThreadPoolExecutor) -> Callable[[], _Made_co | None]:
        """Starts work on a batch; the result waits for it (None if nothing in it can be read)."""
        ...


class Loader(Generic[Loaded]):
    """Batches of a source, endlessly by `stream()` or one epoch at a time by iterating.

    In training (`train=True`) the order is a permutation by (seed, epoch), the last partial batch
    is left out and an unreadable image gives its place to the next readable one, so that every
    epoch has `len(loader)` batches. Otherwise the order is that of the source, and all of it is
    read. Of several processes that train together each reads its part of every batch, so that the
    position and the batches are those of one process; otherwise each reads the batches of its
    `own_rows`. `shards_per_epoch`: epoch e reads only slice e, modulo the number of slices, of a
    permutation of the shards.
    """

    def __init__(
        self,
        source: Source[Loaded],
        batch_size: int,
        *,
        seed: int = 0,
        train: bool = True,
        workers: int = 2,
        prefetch: int = 2,
        shards_per_epoch: int | None = None,
    ) -> None:
        self.source, self.batch_size, self.seed, self.train = source, batch_size, seed, train
        self.workers, self.prefetch, self.shards_per_epoch = workers, prefetch, shards_per_epoch
        self._slices = _shard_slices(source.shards, shards_per_epoch, seed)
        self.epoch = 0
        self.position = 0
        self._check()

    def __len__(self) -> int:
        """Batches in the current epoch."""
        return self._batches(len(self._slice(self.epoch) if self.train else self.source))

    def __iter__(self) -> Iterator[Loaded]:
        """What is left of the current epoch; the next iteration goes on with the next one."""
        epoch, order = self.epoch, self._order(self.epoch)
        rows = range(self._batches(len(order)) * self.batch_size) if self.train else own_rows(len(order), self.batch_size)
        part = part_of_batch(self.batch_size) if self.train else None
        waiting: deque[tuple[int, Callable[[], Loaded | None]]] = deque()
        pool = ThreadPoolExecutor(max(1, self.workers))
        try:
            for start in range(max(self.position, rows.start), rows.stop, self.batch_size):
                size = min(self.batch_size, len(order) - start)
                request = Request(
                    order=order,
                    start=start,
                    count=size,
                    seed=self.seed,
                    epoch=epoch,
                    replace_bad=self.train,
                    part=part,
                )
                waiting.append((start + self.batch_size, self.source.begin(request, pool)))
                if len(waiting) > self.prefetch:
                    yield from self._take(waiting, rows.stop)
            while waiting:
                yield from self._take(waiting, rows.stop)
        finally:
            self._end(pool)

    def stream(self) -> Iterator[Loaded]:
        """Batches without end, epoch after epoch."""
        while True:
            yield from self

    def state_dict(self) -> dict[str, int]:
        """Where to go on: batches handed out are done, those only prefetched are not."""
        return {"epoch": self.epoch, "position": self.position, **self._identity()}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Goes on where `state` was taken; InputError if it is of other data or another seed."""
        for name, mine in self._identity().items():
            if state.get(name, mine) != mine:  # states of before do not name everything
                raise InputError(
                    f"the saved run had {name} {state[name]}, this one has {mine}: give the same."
                )
        self.epoch, self.position = state["epoch"], state["position"]

    def _identity(self) -> dict[str, int]:
        # The position counts samples: with another batch size or other shards it would be between two batches.
        return {
            "samples": len(self.source),
            "seed": self.seed,
            "batch_size": self.batch_size,
            "shards_per_epoch": self.shards_per_epoch or 0,
        }

    def _end(self, pool: ThreadPoolExecutor, over: Callable[[], bool] = sys.is_finalizing) -> None:
        # An iterator that was left open is closed when Python ends: the threads are gone by then, and so are the names
        # of modules that a shutdown reads (of ours, too, hence the default).
        if not over():
            pool.shutdown(cancel_futures=True)

    def _take(self, waiting: deque[tuple[int, Callable[[], Loaded | None]]], end: int) -> Iterator[Loaded]:
        after, finish = waiting.popleft()
        batch = finish()
        # Set before the batch is handed out: a state taken while it is in use counts it as done.
        self.epoch, self.position = (self.epoch, after) if after < end else (self.epoch + 1, 0)
        if batch is not None:
            yield batch

    def _order(self, epoch: int) -> np.ndarray:
        if not self.train:
            return np.arange(len(self.source))
        return keyed_rng(self.seed, epoch, -1).permutation(self._slice(epoch))

    def _slice(self, epoch: int) -> np.ndarray:
        if not self._slices:
            return np.arange(len(self.source))
        return self._slices[epoch % len(self._slices)]

    def _batches(self, samples: int) -> int:
        return samples // self.batch_size if self.train else -(-samples // self.batch_size)

    def _check(self) -> None:
        if self.batch_size < 1:
            raise InputError(f"the batch size is {self.batch_size}: it must be at least 1.")
        if not len(self.source):
            raise InputError("the data set has no usable pairs: look at its rejects.")
        fewest = min((len(rows) for rows in self._slices), default=len(self.source))
        if self.train and fewest < self.batch_size:
            raise InputError(
                f"a batch of {self.batch_size} is more than the {fewest} pairs of one epoch: "
                "lower the batch size or give more data."
            )


def _shard_slices(shards: np.ndarray | None, per_epoch: int | None, seed: int) -> list[np.ndarray]:
    """The rows of each slice of a permutation of the shards; none where every epoch reads all."""
    if per_epoch is None:
        return []
    if shards is None:
        raise InputError(
            "shards_per_epoch needs data in several files: leave it out for data in memory."
        )
    numbers = np.unique(shards)
    if not 1 <= per_epoch <= len(numbers):
        raise InputError(
            f"shards_per_epoch is {per_epoch}, but the data has {len(numbers)} shards: "
            f"choose from 1 to {len(numbers)}."
        )
    numbers = keyed_rng(seed, -1, -1).permutation(numbers)
    slices = (numbers[start : start + per_epoch] for start in range(0, len(numbers), per_epoch))
    return [np.flatnonzero(np.isin(shards, part)) for part in slices]
