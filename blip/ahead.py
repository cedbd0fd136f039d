"""Batches read and put together by a thread while a GPU is at the one before: tokens, stacking and pinned memory."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from blip.tasks.batch import Feed, TaskBatch


class Ahead:
    """A feed whose next batch is read by a thread; its position is that behind the last batch that was taken."""

    def __init__(self, feed: Feed, pool: ThreadPoolExecutor) -> None:
        self.feed, self.pool = feed, pool
        self._next: Future[tuple[TaskBatch, dict[str, Any]]] | None = None
        self._taken = feed.state_dict()

    def __next__(self) -> TaskBatch:
        batch, self._taken = (self._next or self.pool.submit(self._read)).result()
        self._next = self.pool.submit(self._read)
        return batch

    def state_dict(self) -> dict[str, Any]:
        """The position behind the last batch that was taken."""
        return self._taken

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue after the batch that `state_dict` was taken behind; what was read ahead is dropped."""
        if self._next is not None:
            self._next.exception()  # waits until the feed stands still
        self.feed.load_state_dict(state)
        self._next, self._taken = None, state

    def _read(self) -> tuple[TaskBatch, dict[str, Any]]:
        batch = next(self.feed)
        return pinned(batch), self.feed.state_dict()


@contextmanager
def read_ahead(feed: Feed, device: torch.device) -> Iterator[Feed]:
    """The feed, read ahead for a GPU; on a CPU as it is, since there the thread would take from what trains."""
    if device.type != "cuda":
        yield feed
        return
    with ThreadPoolExecutor(1, thread_name_prefix="feed") as pool:
        yield Ahead(feed, pool)


def pinned(batch: TaskBatch) -> TaskBatch:
    """A batch whose tensors lie in pinned memory, from which a GPU copies while it computes, or on the GPU already."""
    values = {field.name: getattr(batch, field.name) for field in fields(batch)}
    near = {name: value for name, value in values.items() if isinstance(value, Tensor) and value.device.type == "cpu"}
    return replace(batch, **{name: value.pin_memory() for name, value in near.items()})
