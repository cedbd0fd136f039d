"""Texts whose tokens are drawn, or the most probable ones: greedy, nucleus and top-k."""

import torch
from torch import Tensor

from blip.generate.growing import Growing
from blip.generate.sampling import draw, penalize, truncated


class Sampling(Growing):
    """R = k * B texts, grouped by image; each goes on until its own [SEP]."""

    ids: Tensor
    """(R, L), padding behind [SEP]."""
    logprobs: Tensor
    ended: Tensor
    chosen: Tensor
    """(R,) the tokens that were chosen last."""

    def begin(self, draws: Tensor | None) -> None:
        """As `Growing.begin`."""
        super().begin(draws)
        rows, device = self.images * self.texts, self.logits.device
        ids = torch.full((rows, self.decoding.max_length), self.special.pad, device=device)
        ids[:, : len(self.prompt)] = torch.tensor(self.prompt, device=device)
        self.put("ids", ids)
        self.put("logprobs", torch.zeros(ids.shape, device=device))
        self.put("ended", torch.zeros(rows, dtype=torch.bool, device=device))
        self.put("chosen", ids[:, 0])

    def choose(self, last: bool = False) -> None:
        """One token for every text that has not ended."""
        penalized = penalize(self.logits, self.ids[:, : self.length], self.decoding.repetition_penalty)
        chosen = self._drawn(self.allowed(penalized)).masked_fill(self.ended, self.special.pad)
        self.ids.index_copy_(1, self.at, chosen[:, None])
        self.logprobs.index_copy_(1, self.at, _logprob(self.logits, chosen)[:, None])
        self.put("ended", self.ended | (chosen == self.special.sep))
        self.put("chosen", chosen)

    def advance(self) -> None:
        """Feed the chosen tokens."""
        self.fed(self.chosen)

    def over(self) -> Tensor:
        """Whether every text has ended."""
        return self.ended.all()

    def found(self) -> tuple[Tensor, Tensor]:
        """Ids and logprobs (B, k, L)."""
        grouped = (self.images, self.texts)
        return self.ids.unflatten(0, grouped), self.logprobs.unflatten(0, grouped)

    def _drawn(self, scores: Tensor) -> Tensor:
        if self.draws is None:
            return scores.argmax(dim=1)
        own = self.decoding
        top_p = own.top_p if own.strategy == "nucleus" else 1.0
        kept = truncated(scores, top_p=top_p, top_k=own.top_k, temperature=own.temperature, by_sums=self.fixed)
        return draw(kept, self.draws.index_select(1, self.at - len(self.prompt)).squeeze(1))


def _logprob(logits: Tensor, tokens: Tensor) -> Tensor:
    return logits.gather(1, tokens[:, None]).squeeze(1) - logits.logsumexp(dim=1)
