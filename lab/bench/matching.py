"""`lab bench matching`: ITM of many texts an image, here and by transformers' BLIP over batched pairs, in one run.

Both start from the same image states, with the same random weights and texts of one length.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from blip.config import BlipConfig, named
from blip.precision import precision
from blip.tokenizer import Tokens
from lab.bench.capfilt_flops import memory_flops, text_flops
from lab.bench.contest import agreed, agreement, concluded, limit, timed, versus
from lab.bench.rerank_retrieval import random_texts
from lab.bench.running import check_counts, check_running
from lab.bench.transformers_weights import Twins, filters

TARGETS = {"cpu": {8: 6.0, 14: 4.0}, "cuda": {8: 5.0, 14: 5.0}}
"""By the tokens of a text."""
HOW = (
    "Timed from image states to ITM logits. Ours computes an image's keys and values once; the peer is one batched "
    "call over the pairs, for which an image's states stand once for each of its texts. Random weights, states and "
    "words; all texts of a case have the same length, so neither side pads."
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure matching of many texts an image against transformers' BLIP with the same weights."""

    size: str = "base"
    """Size of the models by name: nano, tiny, small, base or large."""
    image_size: int = 384
    """Side in pixels of the images that the states belong to."""
    images: int = 16 if torch.cuda.is_available() else 1
    """Images a call."""
    texts: int = 32
    """Texts of each image."""
    rounds: int = 5
    """Rounds of each side; the medians are compared."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    """cpu or cuda."""
    precision: str = "float32"
    """float32 or bf16 (autocast on both sides)."""
    out: Path | None = None
    """The record, JSON; by default matching-DEVICE.json, or with -bf16, among the benches' records."""
    seed: int = 0
    """Of weights, states and texts."""


@dataclass(frozen=True)
class Matching:
    """Image states (B, N, D) and k texts for each, led by [ENC], grouped by image: (k * B, L)."""

    twins: Twins
    states: Tensor
    tokens: Tokens

    def ours(self) -> Tensor:
        """Logits (k * B, 2)."""
        model = self.twins.ours.model
        return model.match_logits(self.tokens, model.remember(self.states, "encoder"))

    def peer(self) -> Tensor:
        """As `ours`, one call over the pairs."""
        states = self.states.repeat_interleave(len(self.tokens) // len(self.states), dim=0)
        found = self.twins.peer.text_encoder(
            input_ids=self.tokens.ids,
            attention_mask=self.tokens.keep.long(),
            encoder_hidden_states=states,
            encoder_attention_mask=torch.ones(states.shape[:2], dtype=torch.int64, device=states.device),
        )
        return self.twins.peer.itm_head(found.last_hidden_state[:, 0])


def main(options: Options) -> int:
    """Measure, print, record; 1 if a target is missed or the sides disagree."""
    check_running(options.device, options.precision)
    check_counts(options, "images", "texts", "rounds")
    config = named(options.size, image_size=options.image_size)
    twins = filters(config, device=options.device, seed=options.seed)
    cases = {}
    for length, target in TARGETS[options.device.split(":")[0]].items():
        work = matching(twins, options.images, options.texts, length, options.device, options.seed)
        name = f"{options.texts} texts of {length} tokens"
        cases[name] = _case(work, name, target, options) | {"limit": flops_limit(config, options.texts, length)}
    result = {"how": HOW, "unit": "seconds a call", "images": options.images, "image_tokens": config.vision.tokens}
    return concluded("matching", options, result, cases)


def matching(twins: Twins, images: int, texts: int, length: int, device: str, seed: int) -> Matching:
    """Random states of so many images, and texts of `length` tokens for each."""
    torch.manual_seed(seed)
    vision = twins.ours.model.config.vision
    states = torch.randn(images, vision.tokens, vision.width)
    return Matching(twins, states.to(device), random_texts(images * texts, (length,), "ENC").to(device))


def flops_limit(config: BlipConfig, texts: int, length: int) -> dict[str, Any]:
    """The ratio of operations of one image and its texts."""
    each, memory = text_flops(config.text, length, length, config.vision.tokens), memory_flops(config)
    return limit(memory + texts * each, texts * (memory + each))


def _case(work: Matching, name: str, target: float, options: Options) -> dict[str, Any]:
    def quietly(way: Callable[[], Tensor]) -> Tensor:
        with torch.inference_mode(), precision(torch.device(options.device), options.precision):
            return way()

    ways = {"ours": partial(quietly, work.ours), "peer": partial(quietly, work.peer)}
    found = agreement(ways["ours"](), ways["peer"](), options.precision)
    times = timed(ways, options.rounds, options.device, name)
    return agreed(versus(times["ours"], times["peer"], target), found)
