"""Captions of images by any strategy: what callers see of decoding."""

from collections.abc import Hashable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from blip.captured import Captured, Kept, captures
from blip.draws import uniform
from blip.errors import InputError
from blip.generate.beam import Beams
from blip.generate.decoding import Caption, Decoding
from blip.generate.drawing import Sampling
from blip.generate.growing import Growing, grown
from blip.generate.steps import Decoder, FixedSteps, Steps
from blip.memory import Memory
from blip.model import BLIP
from blip.tokenizer import SpecialIds, Tokenizer


@torch.inference_mode()
def generate(
    model: Decoder,
    memory: Memory,
    decoding: Decoding,
    *,
    prompt_ids: Sequence[int],
    special: SpecialIds,
    image_hashes: Tensor | None = None,
    seed: int = 0,
    round: int = 0,
) -> list[list[Caption]]:
    """`candidates` captions for each of the B images in a decoder memory; for beams, best first.

    prompt_ids: what every caption begins with, [DEC] first (`Tokenizer.prompt`). image_hashes (B,)
    int64 key the random draws together with seed, round, candidate and token index: an image's
    captions do not depend on what else is in the batch. Needed only by strategies that draw.
    """
    _check(model, memory, decoding, len(prompt_ids), image_hashes)
    draws = _draws(decoding, image_hashes, seed, round) if decoding.draws and image_hashes is not None else None
    kind: type[Growing] = Beams if decoding.strategy == "beam" else Sampling
    if _captured(memory, decoding):
        build = lambda: Captures(kind, FixedSteps(model, memory), decoding, prompt_ids, special)
        with _KEPT.one(model, _key(model, memory, decoding, prompt_ids, special), build) as kept:
            kept.steps.memory.refill(memory)
            ids, logprobs = grown(kept.search, draws, kept.choose, kept.advance)
    else:
        search = kind(Steps(model, memory), decoding, prompt_ids, special)
        ids, logprobs = grown(search, draws, search.choose, search.advance)
    start = len(prompt_ids)
    return [
        [_cut(*row, special.sep) for row in zip(*image, strict=True)]
        for image in zip(ids[:, :, start:].tolist(), logprobs[:, :, start:].tolist(), strict=True)
    ]


def captions(
    model: BLIP,
    image_states: Tensor,
    decoding: Decoding,
    tokenizer: Tokenizer,
    *,
    image_hashes: Tensor | None = None,
    seed: int = 0,
    round: int = 0,
) -> list[list[Caption]]:
    """As `generate`, from image states (B, N, D) and with the captions' text."""
    with torch.inference_mode():
        memory = model.remember(image_states, "decoder")
    found = generate(
        model,
        memory,
        decoding,
        prompt_ids=tokenizer.prompt(decoding.begin),
        special=tokenizer.special,
        image_hashes=image_hashes,
        seed=seed,
        round=round,
    )
    return [[replace(c, text=tokenizer.decode(c.ids)) for c in image] for image in found]


class Captures:
    """A search with both parts of its step captured."""

    def __init__(
        self, kind: type[Growing], steps: FixedSteps, decoding: Decoding, prompt: Sequence[int], special: SpecialIds
    ) -> None:
        self.steps, self.search = steps, kind(steps, decoding, prompt, special)
        self.choose, self.advance = Captured(self.search.choose), Captured(self.search.advance)


_KEPT = Kept[Captures]()


def _captured(memory: Memory, decoding: Decoding) -> bool:
    """Whether steps are captured. The penalty reads the texts so far, which are longer each time."""
    return captures(memory.keys[0].device) and memory.at is None and decoding.repetition_penalty == 1.0


def _key(model: Decoder, memory: Memory, decoding: Decoding, prompt: Sequence[int], special: SpecialIds) -> Hashable:
    """All that a captured step hangs on but the images."""
    weights, keys = model.text.embeddings["decoder"].word.weight, memory.keys[0]
    where = weights.data_ptr(), weights.dtype, memory.keep is None, keys.shape, keys.dtype, keys.device
    half = torch.get_autocast_dtype(keys.device.type) if torch.is_autocast_enabled(keys.device.type) else None
    return where, half, decoding, tuple(prompt), special


def _draws(decoding: Decoding, image_hashes: Tensor, seed: int, round: int) -> Tensor:
    """All draws of a call, (B * k, max_length), grouped by image."""
    device = image_hashes.device
    candidate = torch.arange(decoding.candidates, device=device)[:, None]
    token = torch.arange(decoding.max_length, device=device)
    return uniform(seed, image_hashes[:, None, None], round, candidate, token).flatten(0, 1)


def _cut(ids: list[int], logprobs: list[float], sep: int) -> Caption:
    end = ids.index(sep) + 1 if sep in ids else len(ids)
    return Caption(tuple(ids[:end]), tuple(logprobs[:end]))


def _check(
    model: Decoder, memory: Memory, decoding: Decoding, prompt: int, image_hashes: Tensor | None
) -> None:
    decoding.check_room(prompt, model.config.text.max_positions)
    if model.training:
        raise InputError("Captions need a model in eval mode, without dropout; call model.eval().")
    if decoding.draws and (image_hashes is None or len(image_hashes) != len(memory)):
        raise InputError(
            f"{decoding.strategy} draws belong to images; give image_hashes, one for each of the "
            f"{len(memory)} images."
        )
