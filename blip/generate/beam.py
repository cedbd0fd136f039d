"""Beam search with the rules of transformers: same candidates, same ranking, same stop.

A hypothesis is ranked by the sum of its scores over a number of tokens (length penalty 1, the default of
the published code). Today's transformers counts the generated ones, [SEP] too; an image is closed once its
best running hypothesis, ranked as if it ended now, is no better than its worst finished one. Version 4.15,
which the published code asks for, counts the whole text with [DEC] and prompt but without [SEP], compares
the best continuation whether it ends or not, and at the longest length takes all running hypotheses
(`Decoding.rank_whole_text`). Without a prompt behind [DEC] both count alike where a text ends by itself.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from blip.errors import InputError
from blip.generate.growing import Growing
from blip.generate.sampling import penalize

_NEVER = float("-inf")
_PARTS = ("ids", "logprobs", "scores")


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


class Beams(Growing):
    """The `candidates` best of `num_beams` finished texts for each image."""

    rows: Tensor
    """(R,) which text each of the running ones continues."""
    opened: Tensor
    """(B, 1) whether an image's best may still change."""
    chosen: Tensor
    """(R,) the last token of each running text."""

    def begin(self, draws: Tensor | None) -> None:
        """As `Growing.begin`."""
        super().begin(draws)
        device, beams = self.logits.device, self.texts
        first = torch.tensor(self.prompt, device=device)
        running = Hypotheses.begin(self.images, beams, first, self.decoding.max_length, self.special.pad)
        self._put("running", running)
        self._put("finished", running.ranked(torch.full_like(running.scores, _NEVER)))
        self.put("opened", torch.ones(self.images, 1, dtype=torch.bool, device=device))
        self.put("rows", torch.zeros(self.images * beams, dtype=torch.int64, device=device))
        self.put("chosen", self.rows)

    def choose(self, last: bool = False) -> None:
        """The best continuations; those that end, and are among the best, are finished."""
        running, finished, opened, beams = self._hypotheses("running"), self._hypotheses("finished"), self.opened, self.texts
        grown, parents, tokens = self._grow(running)
        whole = self.decoding.rank_whole_text
        ended = (tokens == self.special.sep) | (last and not whole)
        running, kept = grown.ranked(grown.scores.masked_fill(ended, _NEVER)).best(beams)
        counted = self.at if whole else self.at + 1 - len(self.prompt)
        eligible = ended & opened & (torch.arange(ended.shape[1], device=ended.device) < beams)
        finished = _with(finished, grown, eligible, counted)
        worst = finished.scores.amin(dim=1, keepdim=True)
        opened = opened & ((grown if whole else running).scores[:, :1] / counted > worst)
        if last and whole:
            finished = _with(finished, running, opened, self.at + 1)
        of_image = beams * torch.arange(self.images, device=kept.device)[:, None]
        self.put("rows", (parents.take_along_dim(kept, dim=1) + of_image).flatten())
        self.put("chosen", tokens.take_along_dim(kept, dim=1).flatten())
        self._put("running", running)
        self._put("finished", finished)
        self.put("opened", opened)

    def advance(self) -> None:
        """Let every text continue its parent, then feed the chosen tokens."""
        self.steps.reorder(self.rows)
        self.fed(self.chosen)

    def over(self) -> Tensor:
        """Whether every image is closed."""
        return ~self.opened.any()

    def found(self) -> tuple[Tensor, Tensor]:
        """Ids and logprobs (B, n, L); InputError where there are fewer texts than candidates."""
        wanted = torch.arange(self.decoding.candidates, device=self.opened.device)
        found = self._hypotheses("finished").pick(wanted.expand(self.images, -1))
        if (found.scores == _NEVER).any():  # places that no text took; a ledger has as many captions of every image
            raise InputError(
                f"Beam search finds fewer than {self.decoding.candidates} texts of at most {self.decoding.max_length} "
                "tokens; lower candidates or raise max_length."
            )
        return found.ids, found.logprobs

    def _grow(self, running: Hypotheses) -> tuple[Hypotheses, Tensor, Tensor]:
        """The 2K best continuations of K texts, which text each continues and by which token, (B, 2K).

        Twice as many as beams, so that K go on even if K end. Scores are penalized after the softmax
        and not made to sum to 1 again, as in transformers; `logprobs` stay the model's own.
        """
        images, beams = running.scores.shape
        logprobs = self.logits.log_softmax(dim=1)
        seen = running.ids[:, :, : self.length].flatten(0, 1)
        scores = self.allowed(penalize(logprobs, seen, self.decoding.repetition_penalty))
        totals = (scores.view(images, beams, -1) + running.scores[:, :, None]).flatten(1)
        best, place = totals.topk(min(2 * beams, totals.shape[1]), dim=1)
        parents, tokens = place // self.logits.shape[1], place % self.logits.shape[1]
        grown = running.pick(parents).ranked(best)
        grown.ids.index_copy_(2, self.at, tokens[..., None])
        grown.logprobs.index_copy_(2, self.at, logprobs.view(images, -1).take_along_dim(place, dim=1)[..., None])
        return grown, parents, tokens

    def _put(self, name: str, texts: Hypotheses) -> None:
        for part in _PARTS:
            self.put(f"{name}_{part}", getattr(texts, part))

    def _hypotheses(self, name: str) -> Hypotheses:
        return Hypotheses(*(getattr(self, f"{name}_{part}") for part in _PARTS))


def _with(finished: Hypotheses, texts: Hypotheses, eligible: Tensor, tokens: Tensor) -> Hypotheses:
    """The best of the finished texts and of eligible ones, ranked by their scores over so many tokens, (1,)."""
    ranks = (texts.scores / tokens).masked_fill(~eligible, _NEVER)
    return finished.joined(texts.ranked(ranks)).best(finished.scores.shape[1])[0]
