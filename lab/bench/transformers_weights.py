"""The same random weights here and as transformers' BLIP classes, for the benches of single parts."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from blip.checkpoint.opening import load_any
from blip.checkpoint.own import Loaded
from blip.config import BlipConfig
from lab.bench.capfilt_weights import CAPTIONER, FILTER, vocabulary, write_weights


@dataclass(frozen=True)
class Twins:
    """One model twice, in eval mode: ours with its tokenizer, and transformers'."""

    ours: Loaded
    peer: Any
    """One of transformers' BLIP classes; it does not declare the parts of its models."""


def captioners(config: BlipConfig, *, device: str, seed: int) -> Twins:
    """A random captioner with invented words; its head is scaled so that a nucleus holds a few tokens."""
    return _twins(CAPTIONER, transformers.BlipForConditionalGeneration, config, device, seed)


def filters(config: BlipConfig, *, device: str, seed: int) -> Twins:
    """A random filter: image encoder, image-grounded text encoder, heads of ITC and ITM."""
    return _twins(FILTER, transformers.BlipForImageTextRetrieval, config, device, seed)


def _twins(name: str, kind: Any, config: BlipConfig, device: str, seed: int) -> Twins:
    with tempfile.TemporaryDirectory(prefix="bench-weights-") as folder:
        write_weights(Path(folder), config, vocabulary([]), seed=seed)
        ours = load_any(Path(folder) / name, device=torch.device(device))
        peer = kind.from_pretrained(Path(folder) / name).to(device).eval()
    return Twins(ours, peer)
