"""Decoding: captions from an image's memory by greedy, beam, nucleus or top-k search."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the same names, for type checkers and editors
    from blip.generate.decoding import Caption as Caption
    from blip.generate.decoding import Decoding as Decoding
    from blip.generate.search import captions as captions
    from blip.generate.search import generate as generate

_HOMES = {
    "Decoding": "decoding",
    "Caption": "decoding",
    "generate": "search",
    "captions": "search",
}
__all__ = ["Caption", "Decoding", "captions", "generate"]


def __getattr__(name: str) -> Any:
    """Names on demand, so that `Decoding` is known without importing torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
