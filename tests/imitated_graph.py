"""CUDA graphs without a GPU: what was noted is done again on the same tensors, whatever Python numbers are by then.

What a graph cannot have is refused: to wait for a number of the GPU, or for the bytes of a tensor that is made of Python's
numbers. What is noted runs at once, so its first replay does nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

WAITS = {"_local_scalar_dense", "equal", "nonzero", "is_nonzero", "masked_select", "unique", "_unique2", "lift_fresh"}
INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_"}


class Noted(TorchDispatchMode):
    """What was done, operator by operator."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[Any, tuple, dict, list[Tensor]]] = []
        self.replays = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Run and note an operator."""
        name = func.overloadpacket.__name__
        masks = name in INDEXED and any(one is not None and one.dtype == torch.bool for one in args[1])
        if name in WAITS or masks:
            raise RuntimeError(f"{func} waits for the GPU, which a graph cannot.")
        found = func(*args, **(kwargs or {}))
        self.done.append((func, args, kwargs or {}, [leaf for leaf in tree_leaves(found) if isinstance(leaf, Tensor)]))
        return found

    def replay(self) -> None:
        """Do all of it again, each result in its old place."""
        self.replays += 1
        if self.replays == 1:
            return
        with torch.no_grad(), torch._C.DisableTorchFunction():  # below the functions of torch that a pretended GPU follows
            for func, args, kwargs, old in self.done:
                new = [leaf for leaf in tree_leaves(func(*args, **kwargs)) if isinstance(leaf, Tensor)]
                for place, value in zip(old, new, strict=True):
                    if place.data_ptr() != value.data_ptr():
                        place.copy_(value)


def noted(work: Callable[[], None]) -> Noted:
    """What work does, which is done."""
    with Noted() as mode:
        work()
    return mode


@contextmanager
def imitated_graphs(home: str = "cpu", *, training: bool = False) -> Iterator[list[Noted]]:
    """Work is captured, on the CPU or a GPU that is pretended; the graphs that were made. training: steps of it are."""
    made: list[Noted] = []

    def kept(work: Callable[[], None]) -> Noted:
        made.append(noted(work))
        return made[-1]

    with pytest.MonkeyPatch.context() as patch, nullcontext() if training else torch.inference_mode():
        patch.setattr("blip.captured.noted", kept)
        patch.setenv("BLIP_LAB_GRAPHS", "1")
        for module in ("blip.generate.search", "blip.matching", "blip.captured_steps") if home == "cpu" else ():
            patch.setattr(f"{module}.captures", lambda device: True)
        yield made
