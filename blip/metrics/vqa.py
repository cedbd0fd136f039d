"""Accuracy of answers: soft, as VQAv2 has it, and exact, as the video sets have it (paper 5.3 and 5.6)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic

from blip.errors import InputError
from blip.metrics.results import Id, in_order
from blip.metrics.vqa_answers import normalize_answer

AGREEING = 3  # people who must have given an answer for it to count in full


@dataclass(frozen=True)
class VQAAccuracy(Generic[Id]):
    """The mean accuracy in [0, 1] and that of each question by its id."""

    overall: float
    per_question: dict[Id, float]


def vqa_accuracy(predictions: Iterable[tuple[Id, str]], answers: Mapping[Id, Sequence[str]]) -> VQAAccuracy[Id]:
    """Official accuracy of one answer a question against those of (usually ten) annotators.

    InputError names an id that is doubled, missing or unknown, or has no annotator.
    """
    ids = list(answers)
    given = in_order(predictions, ids, "question")
    for name in ids:
        if not answers[name]:
            raise InputError(f"The question {name!r} has no annotator's answer; leave it out.")
    scores = {name: soft_accuracy(said, answers[name]) for name, said in zip(ids, given, strict=True)}
    return VQAAccuracy(sum(scores.values()) / len(scores), scores)


def soft_accuracy(prediction: str, answers: Sequence[str], *, alike: bool = False) -> float:
    """min(agreeing / 3, 1), averaged over leaving each annotator out.

    As the official scorer has it, answers are made alike only where annotators differ: VQAv2's own files hold answers
    that are alike already. With `alike` they are made so wherever they come from, also where all annotators agree.
    """
    own, theirs = _trimmed(prediction), [_trimmed(answer) for answer in answers]
    if alike or len(set(theirs)) > 1:
        own, theirs = normalize_answer(own), [normalize_answer(answer) for answer in theirs]
    agreeing = [answer == own for answer in theirs]
    total = sum(agreeing)
    return sum(min((total - one) / AGREEING, 1.0) for one in agreeing) / len(agreeing)


def exact_accuracy(predictions: Iterable[tuple[Id, str]], answers: Mapping[Id, str]) -> float:
    """Share in [0, 1] of questions answered with the very answer, blind to case and outer spaces."""
    ids = list(answers)
    given = in_order(predictions, ids, "question")
    right = [exact(said, answers[name]) for name, said in zip(ids, given, strict=True)]
    return sum(right) / len(right)


def exact(said: str, answer: str) -> bool:
    """Whether it is the very answer, blind to case and outer spaces."""
    return said.strip().lower() == answer.strip().lower()


def _trimmed(text: str) -> str:
    return text.replace("\n", " ").replace("\t", " ").strip()
