"""Seconds by part of a run, measured at its borders and inside models."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class Clock:
    """Seconds by part; a part within another counts for itself alone.

    At the borders of a part it waits for the GPU, so that each is told its own time.
    """

    def __init__(self, device: str) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._waits = device.startswith("cuda")
        self._open: list[str] = []
        self._since = 0.0

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """What runs within belongs to this part."""
        self._begin(name)
        try:
            yield
        finally:
            self._end()

    @contextmanager
    def following(self, name: str, *modules: nn.Module) -> Iterator[None]:
        """Within, every forward of these modules is this part."""
        hooks = [module.register_forward_pre_hook(lambda *_: self._begin(name)) for module in modules]
        hooks += [module.register_forward_hook(lambda *_: self._end()) for module in modules]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _begin(self, name: str) -> None:
        self._account()
        self._open.append(name)

    def _end(self) -> None:
        self._account()
        self._open.pop()

    def _account(self) -> None:
        if self._waits:
            torch.cuda.synchronize()
        now = time.perf_counter()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now
