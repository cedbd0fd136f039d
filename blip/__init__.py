"""BLIP: bootstrapping language-image pre-training, from MED and its objectives to CapFilt.

The names below are the front door; each is imported when it is first used, so that `import blip`
is quick and `blip.config` needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the same names, for type checkers and editors
    from blip.captioner import Captioner as Captioner
    from blip.checkpoint import load as load
    from blip.checkpoint import save as save
    from blip.config import BlipConfig as BlipConfig
    from blip.config import named as named
    from blip.data.readers import read_pairs as read_pairs
    from blip.errors import InputError as InputError
    from blip.generate import Decoding as Decoding
    from blip.matching import Matcher as Matcher
    from blip.model import BLIP as BLIP
    from blip.tasks.pretrain import Pretrain as Pretrain
    from blip.tokenizer import Tokenizer as Tokenizer

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
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'blip' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
