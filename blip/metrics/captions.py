"""Caption metrics: BLEU-1 to 4, ROUGE-L and CIDEr-D, without Java (paper 5.2, Table 7).

The values are those of `pycocoevalcap` on the same words (a test compares them); the paper multiplies them
by 100. METEOR and SPICE come from there.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from blip.errors import InputError
from blip.metrics.java_scorers import meteor, spice
from blip.metrics.words import Words, caption_words, ngrams

_LONGEST = 4  # words of the longest n-gram of BLEU and CIDEr
_BETA = 1.2  # weight of recall over precision in ROUGE-L, as COCO's evaluation sets it
_SIGMA = 6.0  # words of difference in length that CIDEr-D forgives
# As COCO's scorer adds them, so that a corpus without any match gets a score near zero, not an error.
_TINY, _SMALL = 1e-15, 1e-9

References = Sequence[Sequence[Words]]
"""Of N images, the tokenized captions that people wrote."""


@dataclass(frozen=True)
class CaptionScores:
    """Scores of N captions: means over the images, of BLEU over the corpus; in [0, 1], CIDEr-D in [0, 10].

    meteor and spice are texts "skipped: why" where they could not run. `ciders` (N,) has each image's.
    """

    bleu: tuple[float, float, float, float]
    rouge_l: float
    cider: float
    meteor: float | str
    spice: float | str
    ciders: np.ndarray


def caption_scores(captions: Sequence[str], references: Sequence[Sequence[str]]) -> CaptionScores:
    """All scores of one caption an image (N,) against the image's references (N lists), as plain texts.

    Where results come by image id, `blip.metrics.results.in_order` brings them into the references' order.
    """
    words = [caption_words(caption) for caption in captions]
    theirs = [[caption_words(reference) for reference in own] for own in references]
    ciders = cider_d(words, theirs)
    return CaptionScores(
        bleu=bleu(words, theirs),
        rouge_l=float(rouge_l(words, theirs).mean()),
        cider=float(ciders.mean()),
        meteor=meteor(words, theirs),
        spice=spice(words, theirs),
        ciders=ciders,
    )


def bleu(captions: Sequence[Words], references: References) -> tuple[float, float, float, float]:
    """BLEU-1 to BLEU-4 of the corpus in [0, 1]: one caption an image, the reference of closest length."""
    _check(captions, references)
    counts = [_bleu_counts(*both) for both in zip(captions, references, strict=True)]
    return _bleu_of(np.sum(counts, axis=0))


def sentence_bleu(caption: Words, references: Sequence[Words]) -> float:
    """BLEU-4 of one caption against its references, in [0, 1]; of fewer than four words by the n-grams that it has.

    Over a corpus a short caption has no 4-grams and adds none; alone it would score nothing, even against itself.
    """
    _check([caption], [references])
    if not len(caption):
        return float(any(not len(reference) for reference in references))
    return _bleu_of(_bleu_counts(caption, references))[min(len(caption), _LONGEST) - 1]


def rouge_l(captions: Sequence[Words], references: References) -> np.ndarray:
    """ROUGE-L (N,) of each caption in [0, 1]: best precision and best recall of the longest common words."""
    _check(captions, references)
    return np.array([_rouge(*both) for both in zip(captions, references, strict=True)])


def cider_d(captions: Sequence[Words], references: References) -> np.ndarray:
    """CIDEr-D (N,) of each caption in [0, 10]; their mean is the score of the set.

    Words count by how few of the N images have them in a reference, so a score depends on the whole set:
    take the scores of a part (a NoCaps domain) from those of the whole.
    """
    _check(captions, references)
    theirs = [[ngrams(reference, _LONGEST) for reference in own] for own in references]
    images_with = Counter(gram for own in theirs for gram in set().union(*own))
    log_images = math.log(len(captions))
    rarity = {gram: log_images - math.log(count) for gram, count in images_with.items()}
    scores = []
    for caption, own in zip(captions, theirs, strict=True):
        mine = _weighed(ngrams(caption, _LONGEST), rarity, log_images)
        alike = [_cosine(mine, _weighed(reference, rarity, log_images)) for reference in own]
        scores.append(10.0 * sum(alike) / len(own))
    return np.array(scores)


def _check(captions: Sequence[Words], references: References) -> None:
    if len(captions) != len(references) or not len(captions):
        raise InputError(
            f"There are {len(captions)} captions and references of {len(references)} images: give one caption an image."
        )
    for image, own in enumerate(references):
        if not own:
            raise InputError(f"The image in row {image} has no reference caption; leave it out.")


def _bleu_counts(caption: Words, references: Sequence[Words]) -> np.ndarray:
    """Matches (4), n-grams (4), length, and length of the reference that is closest: sums over a corpus."""
    most: Counter[tuple[str, ...]] = Counter()
    for reference in references:
        most |= ngrams(reference, _LONGEST)
    matches = ngrams(caption, _LONGEST) & most
    correct, length = [0] * _LONGEST, len(caption)
    for gram, count in matches.items():
        correct[len(gram) - 1] += count
    guessed = [max(0, length - n) for n in range(_LONGEST)]
    closest = min((abs(len(reference) - length), len(reference)) for reference in references)[1]
    return np.array([*correct, *guessed, length, closest], dtype=np.float64)


def _bleu_of(counts: np.ndarray) -> tuple[float, float, float, float]:
    precisions = (counts[:_LONGEST] + _TINY) / (counts[_LONGEST : 2 * _LONGEST] + _SMALL)
    ratio = (counts[-2] + _TINY) / (counts[-1] + _SMALL)
    brevity = math.exp(1.0 - 1.0 / ratio) if ratio < 1.0 else 1.0
    one, two, three, four = (
        brevity * float(np.prod(precisions[:n])) ** (1.0 / n) for n in range(1, _LONGEST + 1)
    )
    return one, two, three, four


def _rouge(caption: Words, references: Sequence[Words]) -> float:
    common = [_common_words(caption, reference) for reference in references]
    if not any(common):
        return 0.0
    precision = max(common) / len(caption)
    recall = max(n / max(1, len(reference)) for n, reference in zip(common, references, strict=True))
    return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)


def _common_words(one: Words, other: Words) -> int:
    """Length of the longest sequence of words that both have in this order."""
    above = [0] * (len(other) + 1)
    for word in one:
        row = [0]
        for at, also in enumerate(other):
            row.append(above[at] + 1 if word == also else max(row[at], above[at + 1]))
        above = row
    return above[-1]


@dataclass(frozen=True)
class _Weighed:
    """A caption's n-grams with their weights, the norm for each n, and its length in bigrams."""

    weights: dict[tuple[str, ...], float]
    norms: list[float]
    length: int


def _weighed(
    grams: Counter[tuple[str, ...]], rarity: dict[tuple[str, ...], float], unseen: float
) -> _Weighed:
    weights = {gram: count * rarity.get(gram, unseen) for gram, count in grams.items()}
    squares = [0.0] * _LONGEST
    for gram, weight in weights.items():
        squares[len(gram) - 1] += weight**2
    bigrams = sum(count for gram, count in grams.items() if len(gram) == 2)
    return _Weighed(weights, [math.sqrt(square) for square in squares], bigrams)


def _cosine(caption: _Weighed, reference: _Weighed) -> float:
    """Mean over n of the clipped cosine, times the penalty for a difference in length."""
    products = [0.0] * _LONGEST
    for gram, weight in caption.weights.items():
        if theirs := reference.weights.get(gram):
            products[len(gram) - 1] += min(weight, theirs) * theirs
    cosines = [
        product / (mine * own)
        for product, mine, own in zip(products, caption.norms, reference.norms, strict=True)
        if mine and own
    ]
    penalty = math.exp(-((caption.length - reference.length) ** 2) / (2 * _SIGMA**2))
    return penalty * sum(cosines) / _LONGEST
