"""Activation memory of a step: the most bytes that tensors made in it hold at once.

On CUDA it is what torch's allocator counts. On a CPU, whose allocator counts nothing, every operator's results
are followed until they are freed; scratch space inside an operator is not seen there.
"""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

HOW = {
    "cpu": "the most bytes at once of all tensors that operators made during forward and backward",
    "cuda": "the most bytes that torch's allocator held during forward and backward, less those before",
}


class LiveBytes(TorchDispatchMode):
    """Within, follows the memory of every new tensor; `peak` is the most at once, in bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._now = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Run an operator and follow what it made; a view or a result in place holds what is there already."""
        given = {_place(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        found = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(found):
            if isinstance(leaf, Tensor) and _place(leaf) not in given | self._known:
                self._follow(leaf.untyped_storage())
        return found

    def _follow(self, storage: torch.UntypedStorage) -> None:
        place, size = storage._cdata, storage.nbytes()
        self._known.add(place)
        self._now += size
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._freed, place, size)

    def _freed(self, place: int, size: int) -> None:
        self._known.discard(place)
        self._now -= size


def activation_bytes(forward_backward: Callable[[], None], module: nn.Module, device: str) -> int:
    """Peak of forward and backward less weights, gradients, optimizer, teacher and queues, in bytes.

    The gradients stand before the count begins and are added to; they are freed afterwards.
    """
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    if device.startswith("cuda"):
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        forward_backward()
        peak = torch.cuda.max_memory_allocated() - before
    else:
        with LiveBytes() as live:
            forward_backward()
        peak = live.peak
    module.zero_grad(set_to_none=True)
    return peak


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
