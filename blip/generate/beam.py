"""Beam search with the rules of transformers: same candidates, same ranking, same stop.

A hypothesis is ranked by the sum of its scores over a number of tokens (length penalty 1, the default of
the published code). Today's transformers counts the generated ones, [SEP] too; an image is closed once its
best running hypothesis, ranked as if it ended now, is no better than its worst finished one. Version 4.15,
which the published code asks for, counts the whole text with [DEC] and prompt but without [SEP], compares
the best continuation whether it ends or not, and at the longest length takes all running hypotheses
(`Decoding.rank_whole_text`). Without a prompt behind [DEC] both count alike where a text ends by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from blip.errors import InputError
from blip.generate.decoding import Decoding
from blip.generate.sampling import forbid, penalize
from blip.generate.steps import Steps
from blip.tokenizer import SpecialIds

_NEVER = float("-inf")


@dataclass(frozen=True)
class Hypotheses:
    """n texts for each of B images: ids and their tokens' logprobs (B, n, L), scores (B, n)."""

    ids: Tensor
    logprobs: Tensor
    scores: Tensor

    @classmethod
    def begin(cls, images: int, beams: int, prompt: Tensor, length: int, pad: int) -> "Hypotheses":
        """Prompts; of an image's only the first may go on, since the others would say the same."""
        ids = prompt.new_full((images, beams, length), pad)
        ids[:, :, : len(prompt)] = prompt
        scores = torch.full((images, beams), _NEVER, device=prompt.device)
        scores[:, 0] = 0.0
        return cls(ids, torch.zeros(ids.shape, device=prompt.device), scores)

    def pick(self, index: Tensor) -> "Hypotheses":
        """The texts at index (B, m) of each image."""
        return Hypotheses(
            self.ids.take_along_dim(index[..., None], dim=1),
            self.logprobs.take_along_dim(index[..., None], dim=1),
            self.scores.take_along_dim(index, dim=1),
        )

    def best(self, n: int) -> tuple["Hypotheses", Tensor]:
        """The n best of each image, best first, and where they stood (B, n)."""
        index = self.scores.topk(n, dim=1).indices
        return self.pick(index), index

    def ranked(self, scores: Tensor) -> "Hypotheses":
        """The same texts with other scores (B, n)."""
        return Hypotheses(self.ids, self.logprobs, scores)

    def joined(self, other: "Hypotheses") -> "Hypotheses":
        """These and then the other's."""
        return Hypotheses(
            torch.cat([self.ids, other.ids], dim=1),
            torch.cat([self.logprobs, other.logprobs], dim=1),
            torch.cat([self.scores, other.scores], dim=1),
        )


def beam(
    steps: Steps, decoding: Decoding, prompt: Sequence[int], special: SpecialIds
) -> Hypotheses:
    """The `candidates` best of `num_beams` finished texts for each image; InputError where there are fewer texts."""
    images, beams, longest = len(steps.memory), decoding.num_beams, decoding.max_length
    logits = steps.start(prompt, beams, longest - 1).repeat_interleave(beams, dim=0)
    first = torch.tensor(prompt, device=logits.device)
    running = Hypotheses.begin(images, beams, first, longest, special.pad)
    finished = running.ranked(torch.full_like(running.scores, _NEVER))
    opened = torch.ones(images, 1, dtype=torch.bool, device=logits.device)
    for length in range(len(prompt), longest):
        grown, parents = _grow(running, logits, decoding, length, special.sep)
        whole, last = decoding.rank_whole_text, length + 1 == longest
        ended = (grown.ids[:, :, length] == special.sep) | (last and not whole)
        running, kept = grown.ranked(grown.scores.masked_fill(ended, _NEVER)).best(beams)
        tokens = length if whole else length + 1 - len(prompt)
        eligible = ended & opened & (torch.arange(ended.shape[1], device=ended.device) < beams)
        finished = _with(finished, grown, eligible, tokens)
        worst = finished.scores.amin(dim=1, keepdim=True)
        opened = opened & ((grown if whole else running).scores[:, :1] / tokens > worst)
        if last and whole:
            finished = _with(finished, running, opened, longest)
        if last or not opened.any():
            break
        rows = (
            parents.take_along_dim(kept, dim=1)
            + beams * torch.arange(images, device=kept.device)[:, None]
        )
        steps.reorder(rows.flatten())
        logits = steps.step(running.ids[:, :, length].flatten())
    found = finished.pick(torch.arange(decoding.candidates, device=opened.device).expand(images, -1))
    if (found.scores == _NEVER).any():  # places that no text took; a ledger has as many captions of every image
        raise InputError(
            f"Beam search finds fewer than {decoding.candidates} texts of at most {longest} tokens; "
            "lower candidates or raise max_length."
        )
    return found


def _with(finished: Hypotheses, texts: Hypotheses, eligible: Tensor, tokens: int) -> Hypotheses:
    """The best of the finished texts and of eligible ones, ranked by their scores over so many tokens."""
    ranks = (texts.scores / tokens).masked_fill(~eligible, _NEVER)
    return finished.joined(texts.ranked(ranks)).best(finished.scores.shape[1])[0]


def _grow(
    running: Hypotheses, logits: Tensor, decoding: Decoding, length: int, sep: int
) -> tuple[Hypotheses, Tensor]:
    """The 2K best continuations of K texts, and which text each continues (B, 2K).

    Twice as many as beams, so that K go on even if K end. Scores are penalized after the softmax
    and not made to sum to 1 again, as in transformers; `logprobs` stay the model's own.
    """
    images, beams = running.scores.shape
    logprobs = logits.log_softmax(dim=1)
    scores = penalize(
        logprobs, running.ids[:, :, :length].flatten(0, 1), decoding.repetition_penalty
    )
    if length < decoding.min_length:
        scores = forbid(scores, sep)
    totals = (scores.view(images, beams, -1) + running.scores[:, :, None]).flatten(1)
    best, place = totals.topk(min(2 * beams, totals.shape[1]), dim=1)
    parents, tokens = place // logits.shape[1], place % logits.shape[1]
    grown = running.pick(parents).ranked(best)
    grown.ids[:, :, length] = tokens
    grown.logprobs[:, :, length] = logprobs.view(images, -1).take_along_dim(place, dim=1)
    return grown, parents
