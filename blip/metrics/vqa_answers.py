"""Answers made alike before they are compared, by the rules of the official VQA scorer.

Marks vanish or part words, number words become digits, articles go, contractions get their apostrophe back.
"""

import re

_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_PERIOD = re.compile(r"\.(?!\d)")  # a dot before a digit is a decimal point
_ARTICLES = frozenset(("a", "an", "the"))
_COUNTED = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBERS = {word: str(number) for number, word in enumerate(_COUNTED)} | {"none": "0"}
# Ending -> words that the official table knows with it and without an apostrophe ("hed", but not "shed").
_ENDINGS = {
    "n't": "ai are ca could did does do had has have is might must need ought sha should was were wo would",
    "'ve": "could might must not should they we what where who would you",
    "'d": "he how it someone something there they where who you",
    "'ll": "how it somebody someone something they what who why you",
    "'re": "there they what why you",
    "'s": "he how somebody someone that there what when where who why",
}
# Two apostrophes, of which one was left out.
_DOUBLE = {
    ("n't", "'ve"): "could had might should would",
    ("'d", "'ve"): "he it she somebody someone something there they we who you",
    ("'all", "'ll"): "y",
}
_OTHERS = {
    "maam": "ma'am",
    "oclock": "o'clock",
    "twas": "'twas",
    "yall": "y'all",
    "yall'd've": "y'all'd've",
    "y'alld've": "y'all'd've",
    "y'all'dve": "y'all'd've",
    "ow's'at": "'ow's'at",
    "'ows'at": "'ow's'at",
    "'ow'sat": "'ow's'at",
}


def _bare(text: str) -> str:
    return text.replace("'", "")


def _contractions() -> dict[str, str]:
    single = {
        stem + _bare(ending): stem + ending for ending, stems in _ENDINGS.items() for stem in stems.split()
    }
    double = {
        stem + left: f"{stem}{first}{second}"
        for (first, second), stems in _DOUBLE.items()
        for stem in stems.split()
        for left in (_bare(first) + second, first + _bare(second))
    }
    return single | double | _OTHERS


_CONTRACTIONS = _contractions()


def normalize_answer(text: str) -> str:
    """An answer as the official scorer compares it: "The two dogs." -> "2 dogs".

    A mark vanishes where it stands beside a space, or where a number holds a comma anywhere in the answer,
    else it becomes a space.
    """
    return _plain_words(_without_marks(text.replace("\n", " ").replace("\t", " ").strip()))


def _without_marks(text: str) -> str:
    comma_in_number = _COMMA_IN_NUMBER.search(text)
    cleaned = text
    for mark in _MARKS:
        beside_space = f"{mark} " in text or f" {mark}" in text
        cleaned = cleaned.replace(mark, "" if beside_space or comma_in_number else " ")
    return _PERIOD.sub("", cleaned)


def _plain_words(text: str) -> str:
    words = (_NUMBERS.get(word, word) for word in text.lower().split())
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)
