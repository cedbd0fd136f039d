"""What the two sides of `lab bench capfilt` share: weights, pictures, decoding, and how a round is told."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from blip.data.images import BadImage, open_image
from blip.data.pairs import Pair
from blip.data.readers import read_pairs
from blip.errors import InputError
from blip.generate import Decoding
from lab.bench.clock import Clock
from lab.bench.rounds import peak_mib

ENCODER, DECODING, SCORING = "image encoder", "decoding", "scoring"
PARTS = (ENCODER, DECODING, SCORING)
CANDIDATES = 4
NUCLEUS = Decoding(strategy="nucleus", candidates=CANDIDATES)
GREEDY = Decoding(strategy="greedy")


@dataclass(frozen=True)
class Setting:
    """What both sides are given. folder: of the weights; batch: images at a time."""

    folder: Path
    data: str
    images: int
    batch: int
    device: str
    precision: str
    seed: int


def chosen(data: str, images: int) -> list[Pair]:
    """The first so many pictures that can be opened, each with its first web caption."""
    found = list(islice((pair for pair in read_pairs(data).images if pair.caption and _opens(pair)), images))
    if len(found) < images:
        raise InputError(f"{data} holds {len(found)} usable pictures with captions, not {images}; give fewer --images.")
    return found


def batches(values: Sequence[Any], size: int) -> list[Sequence[Any]]:
    """The values in groups of a size; the last may be smaller."""
    return [values[start : start + size] for start in range(0, len(values), size)]


class Stopwatch:
    """Seconds of the clock and of the processors since it was made."""

    def __init__(self) -> None:
        self._clock, self._processors = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        """(seconds of the clock, seconds of the processors)."""
        return time.perf_counter() - self._clock, time.process_time() - self._processors


def round_of(
    seconds: tuple[float, float], clock: Clock, tokens: Sequence[int], lengths: Sequence[int]
) -> dict[str, Any]:
    """A round as plain values. tokens: generated in each caption; lengths: tokens of each scored text."""
    whole, processors = seconds
    parts = {name: round(clock.seconds[name], 3) for name in PARTS}
    return {
        "seconds": round(whole, 3),
        "processor_seconds": round(processors, 3),
        "parts": parts | {"everything else": round(whole - sum(clock.seconds.values()), 3)},
        "captions": len(tokens),
        "tokens_generated": sum(tokens),
        "texts_scored": len(lengths),
        "tokens_scored": sum(lengths),
    }


def peak(device: str) -> int:
    """Most MiB this process has held: of the GPU by torch's tensors, else of the machine."""
    return torch.cuda.max_memory_allocated() // 2**20 if device.startswith("cuda") else peak_mib()


def _opens(pair: Pair) -> bool:
    try:
        open_image(pair)
    except BadImage:
        return False
    return True
