"""Decoding: captions from an image's memory by greedy, beam, nucleus or top-k search."""

from importlib import import_module
from typing import Any

_HOMES = {
    "Decoding": "decoding",
    "Caption": "search",
    "generate": "search",
    "captions": "search",
}
__all__ = ["Caption", "Decoding", "captions", "generate"]


def __getattr__(name: str) -> Any:
    """Names on demand, so that `Decoding` is known without importing torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
