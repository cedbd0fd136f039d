"""The list of answers that a VQA model ranks: those that people give often enough (paper 5.3)."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from blip.data.benchmarks.reading import read_json
from blip.data.files import replacing
from blip.data.places import Place
from blip.errors import InputError
from blip.metrics.vqa_answers import normalize_answer

OFTEN = 9
"""Questions of VQAv2's train and val that must have an answer: the usual bound, which keeps 3,129 answers."""


def answer_list(answers: Iterable[Sequence[str]], at_least: int = OFTEN) -> list[str]:
    """The answers that are the most frequent one of at least so many questions, most frequent first.

    `answers` holds what the annotators of each question said, or its one answer in a list. Answers are made
    alike by the official rules before they are counted; equally frequent ones stand in alphabetical order.
    InputError where none is frequent enough.
    """
    counts = Counter(majority for own in answers if (majority := majority_answer(own)))
    often = [answer for answer, count in counts.items() if count >= at_least]
    if not often:
        raise InputError(f"No answer occurs {at_least} times; lower the bound, or give more questions.")
    return sorted(often, key=lambda answer: (-counts[answer], answer))


def majority_answer(answers: Sequence[str]) -> str:
    """The most frequent of a question's answers, made alike (the first of equals); "" where there is none."""
    counts = Counter(map(normalize_answer, answers))
    return max(counts, key=counts.__getitem__) if counts else ""


def read_answer_list(path: Place) -> list[str]:
    """A JSON list of answers, as the published `answer_list.json`; InputError for a doubled or empty one."""
    answers = read_json(path)
    if not isinstance(answers, list) or not answers:
        raise InputError(f"{path} is no list of answers; give a JSON list of texts.")
    seen = set()
    for number, answer in enumerate(answers, 1):
        if not isinstance(answer, str) or not answer.strip():
            raise InputError(f"{path}, row {number}: {answer!r} is no answer; give a text.")
        if answer in seen:
            raise InputError(f"{path}, row {number}: the answer {answer!r} occurs a second time; keep one.")
        seen.add(answer)
    return answers


def write_answer_list(path: str | Path, answers: Sequence[str]) -> None:
    """A list of answers as `read_answer_list` reads it."""
    with replacing(path) as file:
        file.write(json.dumps(list(answers)).encode("utf-8"))
