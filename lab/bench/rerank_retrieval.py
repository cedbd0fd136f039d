"""Retrieval re-ranking for `lab bench rerank`: blip.tasks.ranking beside the published way, from the same shortlists."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from blip.config import named
from blip.model import BLIP
from blip.tasks.ranking import Shortlist, rerank, shortlist, text_features
from blip.tasks.retrieval import MAX_TOKENS
from blip.tokenizer import SpecialIds, Tokens
from lab.bench import rerank_flops
from lab.bench.rounds import spread

SPECIAL = SpecialIds(pad=0, unk=100, cls=101, sep=102, dec=30_522, enc=30_523)  # of the published vocabulary
_FIRST_WORD = 999
_LENGTHS = (8, 10, 13, 16, 22)
"""Tokens of the texts in turn: percentiles 5, 25, 50, 75 and 95 of Flickr8k's captions, vocabulary of 4,000."""


@dataclass(frozen=True)
class Retrieval:
    """What both ways are given: a model, states (I, N, D) of I images, T texts, and the shortlists of ITC both ways."""

    model: BLIP
    states: Tensor
    tokens: Tokens
    of_images: Shortlist
    of_texts: Shortlist
    texts_at_once: int

    @torch.no_grad()
    def ours(self) -> np.ndarray:
        """Scores of all pairs of both shortlists by blip.tasks.ranking, flat: images first, then texts."""
        states = self.states.split(1)
        found = rerank(self.model, states, self.tokens, self.of_images, self.of_texts, at_once=self.texts_at_once)
        return _flat(*found)

    @torch.no_grad()
    def peer(self) -> np.ndarray:
        """As `ours`, one call for each query over its k candidates (paper 5.1, published evaluation).

        The query stands k times beside its candidates, keys and values are those of all k rows, and texts are
        padded to the published 35 tokens.
        """
        tokens = _padded(self.tokens.led_by("ENC"), MAX_TOKENS)
        image_scores, text_scores = self.of_images.scores.copy(), self.of_texts.scores.copy()
        for image, texts in enumerate(torch.from_numpy(self.of_images.rows)):
            image_scores[image] += self._call(torch.full_like(texts, image), tokens.rows(texts.to(tokens.ids.device)))
        for text, images in enumerate(torch.from_numpy(self.of_texts.rows)):
            again = torch.full_like(images, text).to(tokens.ids.device)
            text_scores[text] += self._call(images, tokens.rows(again))
        return np.concatenate([image_scores.ravel(), text_scores.ravel()])

    def agreement(self, ours: np.ndarray, peer: np.ndarray, tolerance: float) -> dict[str, Any]:
        """How far the scores are apart; a score is a match logit plus a cosine."""
        difference = float(np.abs(ours - peer).max())
        return {
            "scores": len(ours),
            "values": spread(ours.tolist()),
            "largest_difference": difference,
            "tolerance": tolerance,
            "agree": difference <= tolerance,
        }

    def limit(self) -> dict[str, Any]:
        """The ratio of operations; without shared pairs as well, for a large gallery hardly has any."""
        config, lengths = self.model.config, self.tokens.keep.sum(dim=1).tolist()
        images, k = self.of_images.rows.shape
        asked = [(image, int(text)) for image in range(images) for text in self.of_images.rows[image]]
        asked += [(int(image), text) for text, own in enumerate(self.of_texts.rows) for image in own]
        peer = rerank_flops.retrieval_published(config, len(asked), MAX_TOKENS)
        once, each = (
            rerank_flops.retrieval_ours(config, images, [lengths[text] for _, text in pairs])
            for pairs in (set(asked), asked)
        )
        return {
            "ratio": round(peer / once, 3),
            "ratio_without_shared_pairs": round(peer / each, 3),
            "gflop_ours": round(once / 1e9, 1),
            "gflop_peer": round(peer / 1e9, 1),
            "shapes": {
                "images": images,
                "texts": len(lengths),
                "image_tokens": config.vision.tokens,
                "texts_an_image": k,
                "images_a_text": self.of_texts.rows.shape[1],
                "pairs": len(asked),
                "pairs_distinct": len(set(asked)),
                "text_tokens": spread(lengths),
                "text_tokens_mean": float(np.mean(lengths)),
                "text_tokens_peer": MAX_TOKENS,
            },
        }

    def _call(self, images: Tensor, texts: Tokens) -> np.ndarray:
        memory = self.model.remember(self.states[images.to(self.states.device)], "encoder")
        return self.model.match_logits(texts, memory)[:, 1].float().cpu().numpy()


@torch.no_grad()
def retrieval(
    size: str,
    *,
    image_size: int,
    images: int,
    texts: int,
    k: int,
    texts_at_once: int,
    device: str,
    seed: int,
) -> Retrieval:
    """Random weights, image states and texts of true lengths, and ITC's shortlists of them."""
    torch.manual_seed(seed)
    model = BLIP(named(size, image_size=image_size).reading("encode", "fuse")).to(device).eval()
    states = torch.randn(images, model.config.vision.tokens, model.config.vision.width).to(device)
    tokens = random_texts(texts, _LENGTHS, "CLS").to(device)
    image, text = model.image_features(states), text_features(model, tokens)
    return Retrieval(model, states, tokens, shortlist(image, text, k), shortlist(text, image, k), texts_at_once)


def random_texts(count: int, lengths: Sequence[int], lead: str) -> Tokens:
    """Texts of random words, each as long (first token and [SEP] included) as `lengths` says in turn."""
    own = torch.tensor([lengths[row % len(lengths)] for row in range(count)])
    ids = torch.randint(_FIRST_WORD, SPECIAL.dec, (count, int(own.max())))
    keep = torch.arange(ids.shape[1]) < own[:, None]
    ids[:, 0] = SPECIAL.of(lead)
    ids[torch.arange(count), own - 1] = SPECIAL.sep
    return Tokens(ids.masked_fill(~keep, SPECIAL.pad), keep, lead, SPECIAL)


def _padded(tokens: Tokens, length: int) -> Tokens:
    more = length - tokens.ids.shape[1]
    return replace(tokens, ids=F.pad(tokens.ids, (0, more), value=SPECIAL.pad), keep=F.pad(tokens.keep, (0, more)))


def _flat(of_images: Shortlist, of_texts: Shortlist) -> np.ndarray:
    return np.concatenate([of_images.scores.ravel(), of_texts.scores.ravel()])
