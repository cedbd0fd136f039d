"""Ranks and recall@k of image-text and text-video retrieval (paper 5.1 and 5.6, Tables 5, 6 and 10).

Ties count against the model: what scores as high as the true match ranks before it. A model that
says the same of everything thus gets no credit, and no order of rows or columns can change a rank.
(The published evaluation sorts, so the order of the data decides a tie.) A score of -inf means
outside the shortlist: a true match that is not in it ranks last.
"""

from dataclasses import dataclass

import numpy as np

from blip.errors import InputError


@dataclass(frozen=True)
class Recalls:
    """Shares in [0, 1] of queries whose match is among the first 1, 5 and 10; median and mean rank from 1.

    In a gallery of at most k candidates everything is found at k, so such a recall says nothing.
    """

    r1: float
    r5: float
    r10: float
    median_rank: float
    mean_rank: float


def recalls(ranks: np.ndarray) -> Recalls:
    """What the paper's tables say of ranks (Q,) that count from 1."""
    if not len(ranks):
        raise InputError("There is no query to score; give at least one.")
    first, five, ten = (float(np.mean(ranks <= k)) for k in (1, 5, 10))
    return Recalls(first, five, ten, float(np.median(ranks)), float(np.mean(ranks)))


def image_to_text_ranks(scores: np.ndarray, image_of: np.ndarray) -> np.ndarray:
    """Rank (I,) int64 of each image's best own text among the texts of other images, from 1.

    scores (I, T), higher is better; image_of (T,) int is the row of each text's image. As published,
    an image is found at k if any of its texts is, so its own other texts stand in nobody's way.
    """
    _check(scores, image_of)
    ranks = np.empty(len(scores), dtype=np.int64)
    for image, own in enumerate(texts_of(image_of, len(scores))):
        best = scores[image, own].max()
        ahead = np.count_nonzero(scores[image] >= best) - np.count_nonzero(scores[image, own] >= best)
        ranks[image] = 1 + ahead
    return ranks


def text_to_image_ranks(scores: np.ndarray, image_of: np.ndarray) -> np.ndarray:
    """Rank (T,) int64 of each text's image among all I images, from 1; arguments as above."""
    _check(scores, image_of)
    true = scores[image_of, np.arange(len(image_of))]
    ahead = np.zeros(len(image_of), dtype=np.int64)
    for row in scores:  # one image at a time: a comparison of all pairs would double the memory
        ahead += row >= true
    return ahead  # the true image itself is one of those counted, so this counts from 1


def texts_of(image_of: np.ndarray, images: int) -> list[np.ndarray]:
    """The indices of each image's texts, for `images` images; InputError names one without a text."""
    order = np.argsort(image_of, kind="stable")
    counts = np.bincount(image_of, minlength=images)
    if (counts == 0).any():
        raise InputError(f"The image in row {int(np.argmin(counts))} has no text; leave it out.")
    return np.split(order, np.cumsum(counts)[:-1])


def _check(scores: np.ndarray, image_of: np.ndarray) -> None:
    if scores.ndim != 2 or image_of.ndim != 1 or scores.shape[1] != len(image_of):
        raise InputError(
            f"Scores {scores.shape} and images of texts {image_of.shape} do not fit: give (I, T) and (T,)."
        )
    if not scores.size:
        raise InputError("There is no query to score; give at least one.")
    if image_of.min() < 0 or image_of.max() >= len(scores):
        text = int(np.argmax((image_of < 0) | (image_of >= len(scores))))
        raise InputError(
            f"Text {text} belongs to image {int(image_of[text])}, which has no row of scores; there are {len(scores)}."
        )
    if np.isnan(scores).any():
        image, text = np.argwhere(np.isnan(scores))[0].tolist()
        raise InputError(f"The score of image {image} and text {text} is not a number; check the model.")
