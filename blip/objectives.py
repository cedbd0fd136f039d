"""The three objectives of pre-training as pure functions of tensors, in the paper's order (section 3.2).

Axes: B pairs, K keys (the batch and then the queue), L text length, V vocabulary.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

NEGATIVE_FLOOR = 1e-4  # published: added to every negative's weight, so that none is impossible
IGNORED = -100


def matching_targets(ids: Tensor, key_ids: Tensor) -> Tensor:
    """ITC targets (B, K): uniform over the keys with the query's id, rows sum to 1.

    With unique ids this is the one-hot diagonal of pre-training; with repeated image ids it is the
    published target of retrieval fine-tuning. Every row has a key of its own, so no row is empty.
    """
    same = (ids[:, None] == key_ids[None, :]).float()
    return same / same.sum(dim=1, keepdim=True)


def soft_targets(teacher_similarity: Tensor, targets: Tensor, alpha: float | Tensor) -> Tensor:
    """The targets (B, K) mixed with the momentum encoder's own distribution, weight alpha (as ALBEF)."""
    return alpha * teacher_similarity.float().softmax(dim=1) + (1 - alpha) * targets


def itc(similarity: Tensor, targets: Tensor) -> Tensor:
    """Image-text contrastive loss of one direction: similarity (B, K), already over the temperature, and targets (B, K)."""
    return F.cross_entropy(similarity.float(), targets)


def hard_negatives(similarity: Tensor, excluded: Tensor, draws: Tensor, floor: float) -> tuple[Tensor, Tensor]:
    """One negative a query, the likelier the more similar it is (paper 3.2, after ALBEF).

    similarity (B, B) over the temperature; excluded (B, B) bool marks what is no negative (the
    positive itself and its equals); draws (B,) uniform in [0, 1). Returns the index (B,) and
    whether there was any negative to draw (B,) bool: a row without one must be left out.
    """
    weights = similarity.detach().float().softmax(dim=1) + floor
    weights = weights.masked_fill(excluded, 0.0).double()
    # Similarities far apart can underflow to zero for every allowed key: draw evenly among those.
    starved = (weights.sum(dim=1, keepdim=True) == 0) & ~excluded
    edges = torch.where(starved, 1.0, weights).cumsum(dim=1)
    total = edges[:, -1:]
    index = torch.searchsorted(edges, draws.double()[:, None] * total, right=True).squeeze(1)
    last = (~excluded).long().mul(torch.arange(1, excluded.shape[1] + 1, device=excluded.device))
    valid = total.squeeze(1) > 0
    return torch.minimum(index, last.argmax(dim=1)), valid


def itm(logits: Tensor, valid: Tensor) -> Tensor:
    """Image-text matching loss of logits (3B, 2): B positives, then 2B negatives.

    valid (3B,) bool: a row whose negative could not be drawn carries no loss. One positive to two
    negatives, so a model that knows nothing reaches 0.6365.
    """
    positives = torch.arange(len(logits), device=logits.device) < len(logits) // 3
    labels = positives.long().masked_fill(~valid, IGNORED)
    return F.cross_entropy(logits.float(), labels, ignore_index=IGNORED)


def lm_labels(ids: Tensor, keep: Tensor, prompt_length: int = 0) -> Tensor:
    """Labels (B, L) of language modelling: padding and the first `prompt_length` tokens count nothing."""
    labels = ids.masked_fill(~keep, IGNORED)
    labels[:, :prompt_length] = IGNORED
    return labels


def count(labels: Tensor) -> Tensor:
    """Number of tokens that labels (B, L) of language modelling count."""
    return (labels[:, 1:] != IGNORED).sum()


def lm(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Language modelling loss of logits (B, L, V): each token predicts the next, mean over tokens."""
    shifted = logits[:, :-1].flatten(0, 1).float()
    return F.cross_entropy(
        shifted, labels[:, 1:].flatten(), ignore_index=IGNORED, label_smoothing=smoothing
    )
