"""Captioners and filters from the words of a command line."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from blip.capfilt.job import CaptionerLike
from blip.capfilt.scoring import FilterLike
from blip.capfilt.text_filters import TextFilter
from blip.captioner import Captioner
from blip.checkpoint.opening import HUB, load_any
from blip.errors import InputError
from blip.generate import Decoding
from blip.matching import Matcher
from blip.plugins.clip import ClipFilter
from blip.plugins.function import FunctionFilter
from blip.plugins.transformers_captioner import TransformersCaptioner
from blip.precision import PRECISIONS

_TRANSFORMERS, _CLIP, _TEXT = "transformers:", "open_clip:", "text"
_NAME = re.compile(r"([A-Za-z_][\w-]*)=(.+)", re.DOTALL)
_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:([A-Za-z_]\w*)")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """How models run. tile: images they see at once; image_size, vocab: see `load_any`."""

    device: str
    precision: str
    tile: int
    image_size: int | None
    vocab: Path | None

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise InputError(
                f"There is no precision {self.precision!r}; choose one of {', '.join(PRECISIONS)}."
            )
        if self.device.startswith("cuda") and not torch.cuda.is_available():
            raise InputError("This machine has no usable GPU; give --device cpu.")

    @property
    def running(self) -> dict[str, Any]:
        """As the models' constructors take it."""
        return {"device": self.device, "dtype": self.precision, "tile": self.tile}

    @property
    def opening(self) -> dict[str, Any]:
        """As `load_any` takes it."""
        return {"vocab": self.vocab, "image_size": self.image_size}


def captioner(word: str, decoding: Decoding, machine: Machine, *, prompt: str = "") -> CaptionerLike:
    """BLIP weights in any form, or `transformers:FOLDER`, `transformers:hf:NAME`, asked `prompt` in place of its own."""
    if word.startswith(_TRANSFORMERS):
        source = word.removeprefix(_TRANSFORMERS)
        return TransformersCaptioner(source, replace(decoding, prompt=prompt), **machine.running)
    return Captioner(load_any(word, **machine.opening), decoding, **machine.running)


def check_prompts(words: Sequence[str], decoding: Decoding, prompt: str) -> None:
    """InputError where the prompt of either kind of captioner is given and none of these words is such a captioner."""
    asked = [word.startswith(_TRANSFORMERS) for word in words]
    if decoding.prompt is not None and all(asked):
        raise InputError("--prompt is for BLIP weights, and no --captioner is such; give --transformers-prompt.")
    if prompt and not any(asked):
        raise InputError("--transformers-prompt is for transformers: captioners, and none is given; give --prompt.")


def filters(words: Sequence[str], machine: Machine) -> dict[str, FilterLike]:
    """Filters by their names in the ledger, in the order given.

    A word is a source, or NAME=SOURCE. Sources: BLIP weights in any form (by default named itm),
    `open_clip:MODEL:CHECKPOINT`, `open_clip:FOLDER` (clip), `text` (text), `module:function` (the
    function's name).
    """
    found: dict[str, FilterLike] = {}
    for name, source in map(_named, words):
        used = _filter(source, machine)
        if name in found:
            raise InputError(f"Two filters are named {name}; tell them apart as in --filter {name}2={source}.")
        found[name] = used
    return found


def probable(words: Sequence[str]) -> bool:
    """Whether BLIP weights are among the words of filters: their match probability is what thresholds are compared with."""
    return blip_weights(words) is not None


def blip_weights(words: Sequence[str]) -> str | None:
    """The source of the first BLIP weights among the words of filters; None where there are none."""
    sources = (source for _, source in map(_named, words))
    return next((one for one in sources if one != _TEXT and not one.startswith(_CLIP) and not _is_function(one)), None)


def _named(word: str) -> tuple[str, str]:
    """Name and source. A path may hold a `=`, so a file or folder that exists is no name."""
    found = None if Path(word).exists() else _NAME.fullmatch(word)
    if found:
        return found.group(1), found.group(2)
    function = _is_function(word)
    return (function or _default_name(word)), word


def _default_name(source: str) -> str:
    if source == _TEXT:
        return "text"
    return "clip" if source.startswith(_CLIP) else "itm"


def _is_function(source: str) -> str | None:
    """The function's name where a source is `module:function`."""
    other = source.startswith((_CLIP, HUB)) or Path(source).exists()
    found = None if other else _FUNCTION.fullmatch(source)
    return found and found.group(1)


def _filter(source: str, machine: Machine) -> FilterLike:
    if source == _TEXT:
        return TextFilter()
    if source.startswith(_CLIP):
        return ClipFilter(source.removeprefix(_CLIP), **machine.running)
    if _is_function(source):
        return FunctionFilter(source)
    return Matcher(load_any(source, **machine.opening), **machine.running)
