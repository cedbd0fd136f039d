"""Work on a GPU that is noted once and then launched as a whole: CUDA graphs.

A step of decoding is some 350 small kernels. To launch them one by one took five times as long as they ran (base size, 4
images, 3 beams, an H200). This has been rehearsed on CPUs and not yet run on a GPU, so it is done only where it is asked for.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar
from weakref import WeakKeyDictionary

import torch

from blip.errors import InputError, one_line

_ASKED = "BLIP_LAB_GRAPHS"
_KEPT = 2
"""Prepared work of a model that is kept: that of the last shapes, whose tensors take memory."""
Work = TypeVar("Work")


class Graph(Protocol):
    """What a GPU was told to do, in order."""

    def replay(self) -> None: ...


def captures(device: torch.device) -> bool:
    """Whether work on a device is captured: on a GPU, where BLIP_LAB_GRAPHS is 1."""
    return device.type == "cuda" and os.environ.get(_ASKED) == "1"


class Captured:
    """Work over tensors that stay where they are: run plainly the first time, which readies kernels, then as a graph.

    It must neither wait for the GPU nor read numbers that change from call to call, other than in tensors.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._ready = False
        self._graph: Graph | None = None

    def __call__(self) -> None:
        if not self._ready:
            self._work()
            self._ready = True
            return
        if self._graph is None:
            self._graph = noted(self._work)  # which runs nothing
        self._graph.replay()


def noted(work: Callable[[], None]) -> Graph:
    """The kernels of work, as one graph. Other threads may use the GPU meanwhile. InputError where it cannot be captured."""
    graph = torch.cuda.CUDAGraph()
    try:
        with _casts_noted(), torch.cuda.graph(graph, pool=_pool(), capture_error_mode="thread_local"):
            work()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        why = one_line(str(error).partition("\n")[0])
        raise InputError(f"The GPU's work could not be captured as a graph ({why}); unset {_ASKED} to do it plainly.") from error
    return graph


class Kept(Generic[Work]):
    """Prepared work by the model that it belongs to and what else it hangs on; of each model the last few."""

    def __init__(self) -> None:
        self._of_models: WeakKeyDictionary[Any, OrderedDict[Hashable, Work]] = WeakKeyDictionary()
        self._lock = threading.RLock()

    @contextmanager
    def one(self, model: Any, key: Hashable, build: Callable[[], Work]) -> Iterator[Work]:
        """The work of a key, built where there is none; nobody else has it, or another one, meanwhile."""
        with self._lock:
            own = self._of_models.setdefault(model, OrderedDict())
            work = own.pop(key) if key in own else build()
            yield work
            own[key] = work  # not after an error: half-done work is not gone on with
            while len(own) > _KEPT:
                own.popitem(last=False)


@contextmanager
def _casts_noted() -> Iterator[None]:
    """Within, an autocast that is on casts weights each time anew: what it keeps is gone when it ends, and the graph is not.

    One that is entered and left in what is noted may keep them.
    """
    before = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(before and not torch.is_autocast_enabled("cuda"))
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(before)


_pools: dict[int, Any] = {}


def _pool() -> Any:
    """Memory of one GPU that all graphs share, since they run one after the other and leave nothing in it."""
    device = torch.cuda.current_device()
    if device not in _pools:
        _pools[device] = torch.cuda.graph_pool_handle()
    return _pools[device]
