"""How varied captions are: what nucleus sampling should add over beam search (paper 4.3, Table 2)."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from blip.errors import InputError
from blip.metrics.captions import sentence_bleu
from blip.metrics.words import Words


@dataclass(frozen=True)
class Diversity:
    """Of a set of captions: different n-grams over all (distinct-1, -2), words known, bits of word entropy.

    `different` is the share of captions that differ from all before them. distinct-n falls as a set grows, so
    compare sets of one size.
    """

    distinct_1: float
    distinct_2: float
    vocabulary: int
    entropy: float
    different: float


def diversity(captions: Sequence[Words]) -> Diversity:
    """The diversity of tokenized captions."""
    if not len(captions):
        raise InputError("There is no caption to measure; give at least one.")
    words = Counter(word for caption in captions for word in caption)
    return Diversity(
        distinct_1=distinct_n(captions, 1),
        distinct_2=distinct_n(captions, 2),
        vocabulary=len(words),
        entropy=entropy(words),
        different=len({tuple(caption) for caption in captions}) / len(captions),
    )


def distinct_n(captions: Sequence[Words], n: int) -> float:
    """Different n-grams over all n-grams of the captions, in [0, 1]; 0 where there is none."""
    grams = [tuple(caption[at : at + n]) for caption in captions for at in range(len(caption) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 0.0


def entropy(counts: Counter[str]) -> float:
    """Shannon entropy in bits of what was counted; 0 of nothing."""
    total = counts.total()
    return sum(count / total * math.log2(total / count) for count in counts.values() if count)


def self_bleu(groups: Sequence[Sequence[Words]]) -> float:
    """Mean BLEU-4 of each caption against the others of its image, in [0, 1]; lower is more varied.

    A group holds several captions of one image; InputError where it holds fewer than two.
    """
    scores = []
    for image, captions in enumerate(groups):
        if len(captions) < 2:
            raise InputError(f"The image in row {image} has fewer than two captions; sample more of it.")
        for at, caption in enumerate(captions):
            others = [other for i, other in enumerate(captions) if i != at]
            scores.append(sentence_bleu(caption, others))
    if not scores:
        raise InputError("There is no image to measure; give at least one with two captions.")
    return sum(scores) / len(scores)
