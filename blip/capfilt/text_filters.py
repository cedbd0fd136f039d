"""A filter that looks at the text alone, in any language: length, repetition, and how much is words.

Every value belongs to its caption alone, so that it is the same in any order, shard or set. How often
a text occurs is not here: equal captions share `caption_hash` in the ledger, which policies can count.
"""

import unicodedata
from collections.abc import Hashable, Sequence
from itertools import pairwise

from PIL import Image

_ENOUGH_WORDS, _ENOUGH_CHARACTERS, _MOST_WORDS = 3, 10, 30


class TextFilter:
    """Scores a caption by the shape of its text; no model, no list of words, no image.

    The text is read in Unicode's NFKC form. `words` are what spaces part, `characters` are all others
    than spaces. The shares lie in 0 to 1 and are high in plain text: `letters` are letters and their
    marks among the characters, `plain_words` are words without digits or signs inside (file names,
    prices and codes have them), `distinct_words` and `distinct_bigrams` are low where a text repeats
    itself. `length` is 1 for 3 words (or 10 characters, for scripts without spaces) to 30 words, and
    less below and above. `quality` is the lowest of the five.
    """

    id = "text-1"
    columns = ("quality", "length", "letters", "plain_words", "distinct_words", "distinct_bigrams", "words", "characters")

    def prepare(self, image: Image.Image) -> None:
        """Nothing of the image is read."""

    def __call__(
        self, prepared: Sequence[None], texts: Sequence[Sequence[str]]
    ) -> list[list[tuple[float, ...]]]:
        """For each image and each of its texts a value of every column."""
        return [[_values(text) for text in own] for own in texts]


def _values(text: str) -> tuple[float, ...]:
    words = unicodedata.normalize("NFKC", text).lower().split()
    characters = sum(map(len, words))
    shares = (
        _length(len(words), characters),
        sum(_is_letter(character) for word in words for character in word) / max(1, characters),
        sum(map(_is_plain, words)) / max(1, len(words)),
        _distinct(words),
        _distinct(list(pairwise(words))),
    )
    return (min(shares), *shares, float(len(words)), float(characters))


def _length(words: int, characters: int) -> float:
    enough = max(words / _ENOUGH_WORDS, characters / _ENOUGH_CHARACTERS)
    return min(1.0, enough, _MOST_WORDS / max(1, words))


def _is_letter(character: str) -> bool:
    return unicodedata.category(character)[0] in "LM"


def _is_plain(word: str) -> bool:
    """A word of letters, with any marks before and after it, and hyphens and apostrophes within."""
    start = next((at for at, character in enumerate(word) if _is_letter(character)), None)
    if start is None:
        return False
    end = next(at for at in range(len(word), 0, -1) if _is_letter(word[at - 1]))
    outside = word[:start] + word[end:]
    inside = all(_is_letter(character) or character in "-'’" for character in word[start:end])
    return inside and all(unicodedata.category(character)[0] == "P" for character in outside)


def _distinct(parts: Sequence[Hashable]) -> float:
    """Share of different ones; 1 where there is nothing to repeat."""
    return len(set(parts)) / len(parts) if parts else 1.0
