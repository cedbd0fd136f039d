"""Captions of images by any strategy: what callers see of decoding."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from blip.draws import uniform
from blip.errors import InputError
from blip.generate.beam import beam
from blip.generate.decoding import Caption, Decoding
from blip.generate.sampling import draw, forbid, penalize, truncated
from blip.generate.steps import Decoder, Steps
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
    steps = Steps(model, memory)
    if decoding.strategy == "beam":
        found = beam(steps, decoding, prompt_ids, special)
        ids, logprobs = found.ids, found.logprobs
    else:
        draws = _draws(decoding, image_hashes, seed, round) if decoding.draws and image_hashes is not None else None
        ids, logprobs = _sample(steps, decoding, prompt_ids, special, draws=draws)
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


def _sample(
    steps: Steps,
    decoding: Decoding,
    prompt: Sequence[int],
    special: SpecialIds,
    *,
    draws: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Token by token, the most probable (draws None) or drawn: ids and logprobs (B, k, L)."""
    images, texts, longest = len(steps.memory), decoding.candidates, decoding.max_length
    logits = steps.start(prompt, texts, longest - 1).repeat_interleave(texts, dim=0)
    draws = None if draws is None else draws.to(logits.device)
    ids = torch.full((images * texts, longest), special.pad, device=logits.device)
    ids[:, : len(prompt)] = torch.tensor(prompt, device=logits.device)
    logprobs = torch.zeros(ids.shape, device=logits.device)
    ended = torch.zeros(len(ids), dtype=torch.bool, device=logits.device)
    for length in range(len(prompt), longest):
        scores = penalize(logits, ids[:, :length], decoding.repetition_penalty)
        if length < decoding.min_length:
            scores = forbid(scores, special.sep)
        uniforms = None if draws is None else draws[:, length - len(prompt)]
        chosen = _choose(scores, decoding, uniforms).masked_fill(ended, special.pad)
        ids[:, length] = chosen
        logprobs[:, length] = _logprob(logits, chosen)
        ended = ended | (chosen == special.sep)
        if length + 1 == longest or ended.all():
            break
        logits = steps.step(chosen)
    return ids.unflatten(0, (images, texts)), logprobs.unflatten(0, (images, texts))


def _choose(scores: Tensor, decoding: Decoding, uniforms: Tensor | None) -> Tensor:
    if uniforms is None:
        return scores.argmax(dim=1)
    top_p = decoding.top_p if decoding.strategy == "nucleus" else 1.0
    kept = truncated(scores, top_p=top_p, top_k=decoding.top_k, temperature=decoding.temperature)
    return draw(kept, uniforms)


def _logprob(logits: Tensor, tokens: Tensor) -> Tensor:
    return logits.gather(1, tokens[:, None]).squeeze(1) - logits.logsumexp(dim=1)


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
