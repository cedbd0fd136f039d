"""BLIP: bootstrapping language-image pre-training, from MED and its objectives to CapFilt.

The names below are the front door; each is imported when it is first used, so that `import blip`
is quick and `blip.config` needs no torch.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "BLIP": "blip.model",
    "BlipConfig": "blip.config",
    "Captioner": "blip.captioner",
    "Decoding": "blip.generate",
    "InputError": "blip.errors",
    "Matcher": "blip.matching",
    "Pretrain": "blip.tasks.pretrain",
    "Tokenizer": "blip.tokenizer",
    "load": "blip.checkpoint",
    "named": "blip.config",
    "read_pairs": "blip.data.readers",
    "save": "blip.checkpoint",
    "train": "blip.train",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'blip' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
