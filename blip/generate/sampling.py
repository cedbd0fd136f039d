"""From next-token logits to tokens: penalties, truncation, a draw by inverse distribution function.

Pure functions of (R, V) scores, no loop over rows.
"""

import torch
from torch import Tensor

_FIRST_LOOK = 512
"""Tokens among which a nucleus is sought before the whole vocabulary is sorted."""


def penalize(scores: Tensor, ids: Tensor, penalty: float) -> Tensor:
    """Scores (R, V), those of tokens in ids (R, L) divided by the penalty, or times it below 0."""
    if penalty == 1.0:
        return scores
    seen = scores.gather(1, ids)
    return scores.scatter(1, ids, torch.where(seen < 0, seen * penalty, seen / penalty))


def forbid(scores: Tensor, token: int) -> Tensor:
    """Scores (R, V) under which a token cannot be chosen."""
    allowed = scores.clone()
    allowed[:, token] = float("-inf")
    return allowed


def forbid_before(scores: Tensor, token: int, at: Tensor, first: int) -> Tensor:
    """As `forbid` while at (1,) is below first, else the scores; a GPU need not be waited for."""
    allowed = scores.clone()
    allowed[:, token] = torch.where(at < first, float("-inf"), scores[:, token])
    return allowed


def truncated(scores: Tensor, *, top_p: float, top_k: int, temperature: float, by_sums: bool = False) -> Tensor:
    """Probabilities (R, V) left by temperature, then top-k (0: all), then top-p; the rest are 0.

    They are not scaled to 1 again. Tokens equally probable to the last one kept are kept too, so
    the result does not hang on the order of equals. float32. by_sums: find the nucleus by many small sums, which is
    for CUDA graphs; what it keeps differs by rounding at most.
    """
    probabilities = (scores.float() / temperature).softmax(dim=1)
    if 0 < top_k < probabilities.shape[1]:
        floor = probabilities.topk(top_k, dim=1).values[:, -1:]
        probabilities = torch.where(probabilities >= floor, probabilities, 0.0)
    if top_p < 1:
        wanted = top_p * probabilities.sum(dim=1, keepdim=True)
        floor = _halved(probabilities, wanted) if by_sums else _nucleus_floor(probabilities, wanted)
        probabilities = torch.where(probabilities >= floor, probabilities, 0.0)
    return probabilities


def draw(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Tokens (R,) of weights (R, V) at uniform draws (R,) in [0, 1): inverse distribution function.

    Tokens stand in vocabulary order, not by rank: where two are almost equally probable, the last
    bits of a matrix product may swap their ranks but move no edge by more than themselves.
    """
    edges = probabilities.double().cumsum(dim=1)
    total = edges[:, -1:]
    # Rounding must not lift the target to the total, beyond which there is no token.
    target = torch.minimum(
        uniform.double()[:, None] * total, total.nextafter(torch.zeros_like(total))
    )
    return torch.searchsorted(edges, target, right=True).squeeze(1)


def _nucleus_floor(probabilities: Tensor, wanted: Tensor) -> Tensor:
    """The least probability (R, 1) in the smallest set of most probable tokens with a mass of `wanted` (R, 1)."""
    vocabulary = probabilities.shape[1]
    # On a GPU one sort costs less than asking whether a shorter one was enough.
    first = vocabulary if probabilities.is_cuda else min(_FIRST_LOOK, vocabulary)
    ranked = probabilities.topk(first, dim=1).values
    if first < vocabulary and (ranked.sum(dim=1, keepdim=True) < wanted).any():
        ranked = probabilities.sort(dim=1, descending=True).values
    last = (ranked.cumsum(dim=1) < wanted).sum(dim=1, keepdim=True)
    return ranked.gather(1, last.clamp(max=ranked.shape[1] - 1))


def _halved(probabilities: Tensor, wanted: Tensor) -> Tensor:
    """As `_nucleus_floor`: the greatest floor above which so much is left, found bit by bit.

    In a graph, where it costs nothing to start a kernel, adding up a vocabulary 31 times is less than sorting it. Floats
    from 0 on are in the order of their bits read as integers.
    """
    bits = probabilities.view(torch.int32)
    floor = torch.zeros_like(wanted, dtype=torch.int32)
    for bit in range(30, -1, -1):
        higher = floor + 2**bit
        mass = torch.where(bits >= higher, probabilities, 0.0).sum(dim=1, keepdim=True)
        floor = torch.where(mass >= wanted, higher, floor)
    return floor.view(torch.float32)
