"""Ranking by ITC and then ITM: a shortlist of nearest features, ordered anew by the match logit (paper 5.1).

Any memory will do: the states of one image, or those of all frames of a video as one sequence. Of several processes
each encodes and re-ranks its own images and encodes its own texts; all get the whole, as of one process.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from blip.distributed import from_all, own_rows, rank, told_by_main
from blip.errors import InputError
from blip.memory import Memory
from blip.model import BLIP
from blip.tokenizer import Tokens

SHORTLIST = 128  # published k of Flickr30K and of video; 256 of COCO
TEXTS_AT_ONCE = 256
_QUERIES_AT_ONCE = 1024


@dataclass(frozen=True)
class Shortlist:
    """Of Q queries the k nearest of N candidates: their rows (Q, k) int64 and scores (Q, k) float32."""

    rows: np.ndarray
    scores: np.ndarray
    candidates: int

    def table(self) -> np.ndarray:
        """Scores (Q, N) float32, as metrics read them; -inf outside the shortlist."""
        table = np.full((len(self.rows), self.candidates), -np.inf, dtype=np.float32)
        np.put_along_axis(table, self.rows, self.scores, axis=1)
        return table


@dataclass(frozen=True)
class Rankings:
    """Texts for each image and images for each text: by the cosine alone (ITC), and re-ranked by ITM."""

    cosine_of_images: Shortlist
    cosine_of_texts: Shortlist
    of_images: Shortlist
    of_texts: Shortlist


@torch.inference_mode()
def rank_both_ways(
    model: BLIP, features: Iterable[Tensor], states: Iterable[Tensor], tokens: Tokens, *, k: int
) -> Rankings:
    """Rank T texts (tokens led by [CLS]) for each of I images and back: ITC, then ITM of the first k.

    features (b, E) of length 1 and states (b, N, D) are those of the images in order, the states read behind all features;
    of several processes those of its own images, in rank order.
    """
    parts = from_all([[batch.float().cpu().numpy() for batch in features]])
    images = torch.from_numpy(np.concatenate([batch for part in parts for batch in part])).to(tokens.ids.device)
    texts = text_features(model, tokens)
    # Those of the main process: another processor may round otherwise, and all must have the same.
    of_images, of_texts = told_by_main((shortlist(images, texts, k), shortlist(texts, images, k)))
    first = sum(len(batch) for part in parts[: rank()] for batch in part)
    return Rankings(of_images, of_texts, *rerank(model, states, tokens, of_images, of_texts, first=first))


@torch.inference_mode()
def text_features(model: BLIP, tokens: Tokens, *, at_once: int = TEXTS_AT_ONCE) -> Tensor:
    """Unit features (T, E) float32 of T texts led by [CLS], texts of like length together."""
    found = torch.empty(len(tokens), model.config.embed_dim, device=tokens.ids.device)
    parts = _by_length(tokens, at_once)
    own = (_trimmed(tokens.rows(parts[part])) for part in own_rows(len(parts)))
    features = from_all([model.text_features(model.encode_text(part)).float().cpu().numpy() for part in own])
    for rows, values in zip(parts, features, strict=True):
        found[rows] = torch.from_numpy(values).to(found.device)
    return found


@torch.inference_mode()
def shortlist(queries: Tensor, candidates: Tensor, k: int) -> Shortlist:
    """The k candidates (N, E) of the highest cosine for each query (Q, E); all of them where N is less."""
    if k < 1 or not len(queries) or not len(candidates):
        raise InputError(f"A shortlist of {k} of {len(candidates)} cannot be; give data, and k of 1 or more.")
    # Autocast would round cosines to bf16, and the nearest are nearer to each other than that.
    with torch.autocast(queries.device.type, enabled=False):
        parts = (part @ candidates.T for part in queries.split(_QUERIES_AT_ONCE))
        best = [part.topk(min(k, len(candidates)), dim=1) for part in parts]
    rows, scores = torch.cat([b.indices for b in best]), torch.cat([b.values for b in best])
    return Shortlist(rows.cpu().numpy(), scores.float().cpu().numpy(), len(candidates))


@torch.inference_mode()
def rerank(
    model: BLIP,
    states: Iterable[Tensor],
    tokens: Tokens,
    of_images: Shortlist,
    of_texts: Shortlist,
    *,
    at_once: int = TEXTS_AT_ONCE,
    first: int = 0,
) -> tuple[Shortlist, Shortlist]:
    """Both shortlists with the published score: match logit (ITM) plus cosine (ITC).

    of_images has texts for each of I images, of_texts images for each of T texts (tokens, any first token);
    their scores are cosines. states are those of the I images (b, N, D), in order. An image's keys and
    values are computed once and serve every text that either list pairs it with; then they are forgotten. Of several
    processes each gives the states of its own images, which begin with number `first`.
    """
    tokens = tokens.led_by("ENC")
    asking, (_, k) = _places_of(of_texts), of_images.rows.shape
    own: list[np.ndarray] = []
    one_by_one = (one for batch in states for one in batch.split(1))
    for image, one in enumerate(one_by_one, first):
        if image == len(asking):
            raise InputError(f"There are states of more than the {image} images of the shortlist; give as many.")
        queries = asking[image] // of_texts.rows.shape[1]
        needed, place = np.unique(np.concatenate([of_images.rows[image], queries]), return_inverse=True)
        texts = tokens.rows(torch.from_numpy(needed).to(tokens.ids.device))
        logits = match_scores(model, model.remember(one, "encoder"), texts, at_once=at_once)
        own.append(logits.cpu().numpy()[place])
    found = from_all(own)
    if len(found) < len(asking):
        raise InputError(f"There are states of {len(found)} images and a shortlist of {len(asking)}; give as many.")
    image_scores, text_scores = of_images.scores.copy(), of_texts.scores.copy()
    for image, (places, values) in enumerate(zip(asking, found, strict=True)):
        image_scores[image] += values[:k]
        text_scores.flat[places] += values[k:]
    return replace(of_images, scores=image_scores), replace(of_texts, scores=text_scores)


@torch.inference_mode()
def match_scores(model: BLIP, memory: Memory, tokens: Tokens, *, at_once: int = TEXTS_AT_ONCE) -> Tensor:
    """Match logits (R,) float32 of R texts led by [ENC] with the one image of a memory."""
    found = torch.empty(len(tokens), device=tokens.ids.device)
    for rows in _by_length(tokens, at_once):
        found[rows] = model.match_logits(_trimmed(tokens.rows(rows)), memory)[:, 1].float()
    return found


def _places_of(of_texts: Shortlist) -> list[np.ndarray]:
    """For each candidate the places in the flattened shortlist where it stands."""
    flat = of_texts.rows.ravel()
    counts = np.bincount(flat, minlength=of_texts.candidates)
    return np.split(np.argsort(flat, kind="stable"), np.cumsum(counts)[:-1])


def _by_length(tokens: Tokens, at_once: int) -> tuple[Tensor, ...]:
    """Rows in parts, texts of like length together, so that little padding is read."""
    return tokens.keep.sum(1).argsort(stable=True).split(at_once)


def _trimmed(tokens: Tokens) -> Tokens:
    """The same texts without the padding that all of them have."""
    length = int(tokens.keep.sum(1).max()) if len(tokens) else 0
    return replace(tokens, ids=tokens.ids[:, :length], keep=tokens.keep[:, :length])
