"""Captions as the words that caption metrics count, without Java."""

import re
from collections import Counter
from collections.abc import Sequence

Words = Sequence[str]
"""One caption, tokenized."""

# Longest first: a number with its marks, initials, a word with hyphens and apostrophes, dots, any sign.
_TOKEN = re.compile(
    r"\d+(?:[.,:/]\d+)+|(?:[a-z]\.){2,}|\.{3}|\w+(?:[-'’]\w+)*|[^\w\s]",
)
_CLITIC = re.compile(r"(?<=\w)(n['’]t|['’](?:s|re|ve|ll|d|m))$")
_TWO_WORDS = {
    "cannot": ("can", "not"),
    "gonna": ("gon", "na"),
    "gotta": ("got", "ta"),
    "wanna": ("wan", "na"),
}
_DROPPED = frozenset(".?!,:;-\"'`’‘“”…–—") | {"..."}
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}


def caption_words(caption: str) -> list[str]:
    """The words of a caption in lower case, punctuation left out, close to COCO's evaluation.

    COCO uses the Penn Treebank tokenizer of Stanford CoreNLP and drops punctuation. Alike here: clitics
    are words ("dog's" -> dog 's, "don't" -> do n't, "cannot" -> can not), hyphens stay in a word, numbers
    keep their marks (1,000 and 3.5), initials their dots (u.s.), signs such as & and $ are words ("b&w" ->
    b & w), and so are brackets under the Treebank's names ("(s)" -> -lrb- s -rrb-), which COCO means to drop
    and does not.
    Different: other abbreviations lose their dot (mr. -> mr, no. -> no); a slash, a dot or an @ between words
    cuts them (man/woman, end.a, foo@bar.com are one word there), and so do the signs of <unk> and of capitals
    such as A&W; words that begin with an apostrophe lose it ('em, '80s; 'tis is 't is there); "gimme", "y'all"
    and "rock'n'roll" stay whole; and there is no table of spellings or emoticons. So compare numbers only where
    both sides were tokenized the same way.
    """
    found: list[str] = []
    for token in _TOKEN.findall(caption.lower()):
        if token not in _DROPPED:
            found += [_BRACKETS[token]] if token in _BRACKETS else _parts(token)
    return found


def ngrams(words: Words, longest: int = 4) -> Counter[tuple[str, ...]]:
    """How often each n-gram of 1 to `longest` words occurs."""
    words = tuple(words)
    return Counter(words[at : at + n] for n in range(1, longest + 1) for at in range(len(words) - n + 1))


def _parts(token: str) -> list[str]:
    if token in _TWO_WORDS:
        return list(_TWO_WORDS[token])
    head, *clitic = [part for part in _CLITIC.split(token) if part]
    return [head, *(part.replace("’", "'") for part in clitic)]
