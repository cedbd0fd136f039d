"""Captions in words that a vocabulary does not know: a model reads them all as [UNK], and learns nothing from them."""

import sys
from collections.abc import Iterable
from itertools import islice

from blip.data.text import clean_caption
from blip.errors import InputError, one_line
from blip.tokenizer import Tokenizer

SAMPLE = 1_000
"""Captions that are looked at, the first ones, so that it costs nothing in front of millions."""
TOLD, REFUSED = 0.05, 0.9
"""Shares of unknown tokens above which a user is told, and above which nothing can come of the work.

English captions of photos have 0.4 to 1.2% even in the smallest vocabulary that comes along; captions in a script that it
lacks have 100%."""
KNOWING = "give --weights whose vocabulary knows the language (of a published .pth its own --vocab)"
NEW = "leave --vocab out, so that a vocabulary is learnt from the captions, or give one of their language"
LEARNING = f"{KNOWING}, or leave --weights and --vocab out, so that a new model learns a vocabulary from the captions"


def check_words(tokenizer: Tokenizer, captions: Iterable[str], place: str, *, remedy: str = "") -> None:
    """Say on stderr where more than 5% of the tokens of the first 1,000 captions are unknown to a vocabulary.

    place: where the captions are from. remedy: what to do where more than 90% are, which is then an InputError; without
    one it is told like less.
    """
    tokens = unknown = 0
    first = ""
    for caption in islice(captions, SAMPLE):
        ids = tokenizer.pieces(clean_caption(caption))
        tokens += len(ids)
        if lost := ids.count(tokenizer.special.unk):
            unknown, first = unknown + lost, first or caption
    share = unknown / max(1, tokens)
    if share <= TOLD:
        return
    said = (
        f"{place}: {100 * share:.0f}% of the captions' tokens are unknown to the vocabulary, "
        f"the first caption with one: {one_line(first)}"
    )
    if remedy and share > REFUSED:
        raise InputError(f"{said}; {remedy}.")
    print(said, file=sys.stderr)
