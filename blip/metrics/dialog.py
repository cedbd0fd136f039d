"""Visual dialog: where the true answer ranks among the candidates, and how relevant the first ones are.

Paper 5.5, Table 9: MRR, R@1, R@5, R@10 and the mean rank; NDCG is that of the VisDial challenge.
"""

from dataclasses import dataclass

import numpy as np

from blip.errors import InputError


@dataclass(frozen=True)
class DialogScores:
    """Mean reciprocal rank and shares of true answers among the first 1, 5, 10; mean rank from 1."""

    mrr: float
    r1: float
    r5: float
    r10: float
    mean_rank: float


def candidate_ranks(scores: np.ndarray) -> np.ndarray:
    """Ranks (N, C) int64 from 1 of scores (N, C), higher is better, as a submission has them.

    Every rank occurs once, so equal scores stay in the pool's order; `true_ranks` does not rely on it.
    """
    _check(scores)
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.argsort(order, axis=1, kind="stable") + 1


def true_ranks(scores: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Rank (N,) int64 from 1 of the true candidate (N,) by scores (N, C); a tie counts against the model.

    So does a candidate that reads the same once cleaned ("yes." beside "yes"), which always ties: the published
    evaluation wants a rank of its own for each candidate and takes none for equal to the true one. Of a submission's ranks give the negatives as scores.
    """
    _check(scores)
    if true.shape != scores.shape[:1] or ((true < 0) | (true >= scores.shape[1])).any():
        raise InputError(
            f"True candidates {true.shape} do not fit scores {scores.shape}: give an index into the pool for each row."
        )
    return (scores >= scores[np.arange(len(true)), true, None]).sum(axis=1)


def dialog_scores(ranks: np.ndarray) -> DialogScores:
    """The scores of the true answers' ranks (N,)."""
    if not len(ranks):
        raise InputError("There is no question to score; give at least one.")
    first, five, ten = (float(np.mean(ranks <= k)) for k in (1, 5, 10))
    return DialogScores(float(np.mean(1.0 / ranks)), first, five, ten, float(np.mean(ranks)))


def ndcg(scores: np.ndarray, relevance: np.ndarray) -> np.ndarray:
    """Normalized discounted cumulative gain (N,) in [0, 1] of scores (N, C) by relevance (N, C) >= 0.

    As in the challenge, k is the number of candidates with any relevance, and place i of the first k is
    discounted by log2(i + 1). Candidates with equal scores share their places' discounts evenly: the value
    expected if the tie is broken by chance. Of a submission's ranks give the negatives as scores.
    """
    _check(scores)
    if relevance.shape != scores.shape:
        raise InputError(
            f"Relevance {relevance.shape} does not fit scores {scores.shape}: give one for each score."
        )
    return np.array([_ndcg(*row, number) for number, row in enumerate(zip(scores, relevance, strict=True))])


def _ndcg(scores: np.ndarray, relevance: np.ndarray, row: int) -> float:
    relevant = int(np.count_nonzero(relevance))
    if not relevant or (relevance < 0).any():
        raise InputError(
            f"Row {row} of the relevance has no relevant candidate or a negative one; leave it out."
        )
    discounts = np.zeros(len(scores))
    discounts[:relevant] = 1.0 / np.log2(np.arange(relevant) + 2.0)
    best = float(np.sort(relevance)[::-1] @ discounts)
    _, tie, sizes = np.unique(-scores, return_inverse=True, return_counts=True)
    shared = np.add.reduceat(discounts, np.cumsum(sizes) - sizes) / sizes
    return float(relevance @ shared[tie]) / best


def _check(scores: np.ndarray) -> None:
    if scores.ndim != 2 or not scores.size:
        raise InputError(
            f"Scores {scores.shape} are no table: give (questions, candidates), at least one of each."
        )
    if np.isnan(scores).any():
        row, candidate = np.argwhere(np.isnan(scores))[0].tolist()
        raise InputError(f"The score of candidate {candidate} in row {row} is not a number; check the model.")
