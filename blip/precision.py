"""Precisions of training and inference by name, and the one place that turns them on."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

PRECISIONS = ("float32", "tf32", "bf16")

_lock = threading.Lock()
_within: list[bool] = []  # a setting for each that is within `_rounded`, in the order of entry: the first is that of before


def precision(device: torch.device, name: str) -> AbstractContextManager:
    """The context of a precision by name; losses, ITC features and ITM logits are float32 in every one.

    bf16 is autocast. tf32 is float32 in which a GPU rounds the factors of matrix products to 10 bits of mantissa; on a
    CPU it is float32. A backward pass needs `products` around it.
    """
    return torch.autocast(device.type, dtype=torch.bfloat16) if name == "bf16" else products(device, name)


def products(device: torch.device, name: str) -> AbstractContextManager:
    """What of a precision no autocast does: TF32 products, in a backward pass, too."""
    return _rounded() if name == "tf32" and device.type == "cuda" else nullcontext()


@contextmanager
def _rounded() -> Iterator[None]:
    # The setting is the process's, not the thread's: only the last to leave puts it back.
    with _lock:
        _within.append(torch.backends.cuda.matmul.allow_tf32)
        torch.backends.cuda.matmul.allow_tf32 = True
    try:
        yield
    finally:
        with _lock:
            before = _within.pop()  # of the last to leave: the first noted, as all others were noted behind it
            if not _within:
                torch.backends.cuda.matmul.allow_tf32 = before
