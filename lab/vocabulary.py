"""A vocabulary of a model's own, learnt from the captions that it will read."""

from collections.abc import Iterator, Sequence

from blip.data.pairset import PairSet, Selection
from blip.data.text import clean_caption
from blip.tokenizer import Tokenizer

CAPTIONS = 1_000_000
"""A vocabulary is learnt from at most so many captions of a set, evenly spaced: more change it little and take minutes."""


def learnt(sets: Sequence[PairSet | Selection], size: int) -> Tokenizer:
    """A WordPiece vocabulary of at most `size` tokens; the same sets give the same. InputError where that is too few."""
    return Tokenizer.train((text for pairs in sets for text in _texts(pairs)), size)


def _texts(pairs: PairSet | Selection) -> Iterator[str]:
    every = max(1, -(-len(pairs) // CAPTIONS))
    return (clean_caption(pair.caption) for pair in pairs[::every])
