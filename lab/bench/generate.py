"""`lab bench generate`: captioning here and by transformers' BLIP `generate` with the same weights, in one run.

Every caption has the full length, so that both sides do the same steps: [SEP] is forbidden before. Timed are the
whole call from pixels to tokens, and what comes after the image encoder.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import TopPLogitsWarper

from blip.config import named
from blip.generate import Decoding, captions
from blip.generate.sampling import truncated
from blip.generate.steps import Steps
from blip.precision import precision
from lab.bench.capfilt_flops import Shapes, decoding_flops, image_flops, memory_flops
from lab.bench.contest import agreed, agreement, concluded, limit, timed, versus
from lab.bench.running import check_counts, check_running
from lab.bench.transformers_weights import Twins, captioners

STRATEGIES = ("beam", "nucleus")
WHOLE, AFTER = "whole call", "after the image encoder"
CUDA_TARGET = 4.0
TARGETS = {("beam", WHOLE): 1.8, ("nucleus", WHOLE): 1.3, ("beam", AFTER): 2.5, ("nucleus", AFTER): 2.0}
"""On a CPU, by strategy and what is timed."""
HOW = (
    "Random weights and pixels. Every caption has the full length on both sides, prompt included. Beams must give the "
    "same tokens; nucleus draws differ by design, so the distributions that the first token is drawn from are "
    "compared. Each side prepares its own keys and values of the images within the time."
)
Ways = dict[str, Callable[[], Any]]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure captioning against transformers' BLIP generate with the same weights."""

    size: str = "base"
    """Size of the models by name: nano, tiny, small, base or large."""
    image_size: int = 384
    """Side of the images in pixels."""
    batch: int = 4
    """Images of the small batch."""
    large_batch: int = 32
    """Images of the large batch."""
    length: int = 20
    """Tokens of a caption, [DEC] and the prompt included."""
    beams: int = 3
    """Hypotheses kept for each image."""
    rounds: int = 3
    """Rounds of each side; the medians are compared."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    """cpu or cuda."""
    precision: str = "float32"
    """float32 or bf16 (autocast on both sides)."""
    out: Path | None = None
    """The record, JSON; by default generate-DEVICE.json, or with -bf16, among the benches' records."""
    seed: int = 0
    """Of weights, pixels and draws."""


def main(options: Options) -> int:
    """Measure, print, record; 1 if a target is missed or the sides disagree."""
    check_running(options.device, options.precision)
    check_counts(options, "batch", "large_batch", "beams", "rounds")
    twins = captioners(named(options.size, image_size=options.image_size), device=options.device, seed=options.seed)
    cases: dict[str, dict[str, Any]] = {}
    for batch in dict.fromkeys((options.batch, options.large_batch)):
        for strategy in STRATEGIES:
            cases |= _cases(Captions(twins, _decoding(strategy, options), batch, options))
    return concluded("generate", options, {"how": HOW, "unit": "seconds a batch"}, cases)


class Captions:
    """B random images, captioned by either side; `ours` and `peer` hold the ways by what is timed."""

    def __init__(self, twins: Twins, decoding: Decoding, batch: int, options: Options) -> None:
        self.decoding, self.batch, self.options = decoding, batch, options
        self.model, self.tokenizer, self._peer = twins.ours.model, twins.ours.tokenizer, twins.peer
        self.prompt = self.tokenizer.prompt(decoding.begin)
        torch.manual_seed(options.seed)
        side = options.image_size
        self.pixels = torch.randn(batch, 3, side, side).to(options.device)
        self.states = self._quietly(partial(self.model.encode_image, self.pixels))
        self.ours: Ways = {WHOLE: partial(self._quietly, self._whole), AFTER: partial(self._quietly, self._captions)}
        self.peer: Ways = {
            WHOLE: partial(self._quietly, self._peer_whole),
            AFTER: partial(self._quietly, self._peer_captions),
        }

    def agreement(self) -> dict[str, Any]:
        """Beams: the tokens. Nucleus: the probabilities of the first token that are left by the truncation."""
        return self._same_tokens() if not self.decoding.draws else self._quietly(self._same_distribution)

    def limit(self, what: str) -> dict[str, Any]:
        """The ratio of operations; transformers computes keys and values for every beam and reads every prompt."""
        config, rows = self.model.config, self.decoding.num_beams if self.decoding.strategy == "beam" else 1
        shapes = Shapes(candidates=rows, texts=0, prompt=len(self.prompt), length=self.decoding.max_length, scored=0)
        encoder = image_flops(config.vision) if what == WHOLE else 0.0
        own = encoder + memory_flops(config) + decoding_flops(config, shapes, prompts=1)
        theirs = encoder + rows * memory_flops(config) + decoding_flops(config, shapes, prompts=rows)
        return limit(own, theirs)

    def _whole(self) -> list:
        return self._captions(self.model.encode_image(self.pixels))

    def _captions(self, states: Tensor | None = None) -> list:
        keys = torch.arange(self.batch)
        given = self.states if states is None else states
        return captions(self.model, given, self.decoding, self.tokenizer, image_hashes=keys, seed=self.options.seed)

    def _peer_whole(self) -> Tensor:
        ids = self._prompts(torch.tensor([*self.prompt, self.tokenizer.special.sep]))
        return self._peer.generate(
            pixel_values=self.pixels, input_ids=ids, attention_mask=torch.ones_like(ids), **self._how()
        )

    def _peer_captions(self) -> Tensor:
        special, ids = self.tokenizer.special, self._prompts(torch.tensor(self.prompt))
        return self._peer.text_decoder.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            encoder_hidden_states=self.states,
            encoder_attention_mask=torch.ones(self.states.shape[:2], dtype=torch.int64, device=ids.device),
            eos_token_id=special.sep,
            pad_token_id=special.pad,
            **self._how(),
        )

    def _how(self) -> dict[str, Any]:
        own = self.decoding
        how = {"max_length": own.max_length, "min_length": own.min_length}
        if own.draws:
            return how | {"do_sample": True, "top_p": own.top_p, "top_k": 0}
        return how | {"do_sample": False, "num_beams": own.num_beams}

    def _prompts(self, ids: Tensor) -> Tensor:
        return ids.to(self.pixels.device).repeat(self.batch, 1)

    def _same_tokens(self) -> dict[str, Any]:
        start = len(self.prompt)
        ours = [list(own[0].ids) for own in self.ours[AFTER]()]
        theirs = [row[start:] for row in self.peer[AFTER]().tolist()]
        same = sum(own == other for own, other in zip(ours, theirs, strict=True))
        # Near ties fall either way in bf16, where kernels round differently.
        required = len(ours) if self.options.precision == "float32" else 0
        distinct = len(set(map(tuple, ours)))
        return {"captions": len(ours), "captions_distinct": distinct, "captions_the_same": same, "agree": same >= required}

    def _same_distribution(self) -> dict[str, Any]:
        steps = Steps(self.model, self.model.remember(self.states, "decoder"))
        own = steps.start(self.prompt, 1, self.decoding.max_length)
        logits = self._peer.text_decoder(
            input_ids=self._prompts(torch.tensor(self.prompt)), encoder_hidden_states=self.states
        ).logits[:, -1]
        theirs = TopPLogitsWarper(self.decoding.top_p)(None, logits.float()).softmax(dim=1)
        kept = truncated(own, top_p=self.decoding.top_p, top_k=0, temperature=1.0)
        found = agreement(kept / kept.sum(dim=1, keepdim=True), theirs, self.options.precision)
        return found | {"tokens_in_the_nucleus": (theirs > 0).sum(dim=1).tolist()}

    def _quietly(self, way: Callable[[], Any]) -> Any:
        with torch.inference_mode(), precision(torch.device(self.options.device), self.options.precision):
            return way()


def _cases(work: Captions) -> dict[str, dict[str, Any]]:
    """Both timings of one batch and strategy."""
    found, cases = work.agreement(), {}
    for what in (WHOLE, AFTER):
        name = f"{work.decoding.strategy}, batch {work.batch}, {what}"
        times = timed({"ours": work.ours[what], "peer": work.peer[what]}, work.options.rounds, work.options.device, name)
        target = CUDA_TARGET if work.options.device.startswith("cuda") else TARGETS[work.decoding.strategy, what]
        cases[name] = agreed(versus(times["ours"], times["peer"], target), found) | {"limit": work.limit(what)}
    return cases


def _decoding(strategy: str, options: Options) -> Decoding:
    return Decoding(strategy=strategy, num_beams=options.beams, max_length=options.length, min_length=options.length)
