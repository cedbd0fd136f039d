"""Questions as rows: those of the generated world, of VQAv2 and Visual Genome, and one's own (paper 5.3)."""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from blip.data.benchmarks.answers import answer_list
from blip.data.benchmarks.reading import Identity
from blip.data.benchmarks.tables import read_question_table
from blip.data.benchmarks.vqa import (
    Question,
    answer_weights,
    read_question_list,
    read_visual_genome,
    read_vqa,
)
from blip.data.pairs import ImageRef
from blip.data.pictures import ArrayRows, PhotoRows
from blip.data.places import local, open_file
from blip.data.transforms import FINETUNE_SCALE, eval_transform, train_transform
from blip.errors import InputError
from blip.metrics.vqa_answers import normalize_answer
from blip.tasks.vqa_training import Asked
from lab.world.augment import Augmentation
from lab.world.questions import questions
from lab.world.sets import World

OFFICIAL = 4
"""Annotators of each question from which on the official soft accuracy can reach 1 for an answer they all gave."""

_PEEK = 4096  # bytes that tell the published list from Visual Genome's file

Pictures = Callable[[int, bool], PhotoRows | ArrayRows]
"""The pictures of all rows at a side in pixels, augmented (True, for training) or as they are."""


@dataclass(frozen=True)
class QuestionSet:
    """Questions as rows; groups say what kind each is ("" where nothing is known), answers are () where hidden.

    own: rows that come from tables of one's own (CSV, TSV), whose answers are as somebody typed them: "Yes", "two", "a
    dog". They are scored made alike by the official rules, and trained on in the spelling that is ranked. In VQAv2's and
    Visual Genome's layouts (JSON) answers stay as they are, and the score is the official one to the letter.
    """

    ids: Sequence[Identity]
    asked: Sequence[Asked]
    answers: Sequence[tuple[str, ...]]
    groups: Sequence[str]
    pictures: Pictures
    about: Sequence[Hashable] = ()
    """The picture of each."""
    own: frozenset[int] = frozenset()

    @property
    def questions(self) -> list[str]:
        """The texts."""
        return [one.question for one in self.asked]

    @property
    def answered(self) -> bool:
        """Whether every question has an answer."""
        return all(self.answers)

    @property
    def official(self) -> bool:
        """Whether there are annotators enough for the official rules."""
        return min(map(len, self.answers)) >= OFFICIAL

    def texts(self) -> list[str]:
        """All that is said, for a vocabulary."""
        return self.questions + [answer for own in self.answers for answer in own]

    def rows(self) -> Iterator[tuple[object, ...]]:
        """What tells each question apart from another: its id, its picture, text and answers with their weights."""
        for name, shown, one in zip(self.ids, self.about or self.ids, self.asked, strict=True):
            picture = os.path.basename(shown.path) if isinstance(shown, ImageRef) else str(shown)
            yield str(name), picture, one.question, dict(one.answers)

    def answer_list(self, at_least: int = 1) -> list[str]:
        """Answers that are the most frequent one of so many questions: made alike by the official rules, else as
        they are. InputError where none is."""
        if self.official:
            return answer_list(self.answers, at_least)
        counts = Counter(Counter(own).most_common(1)[0][0] for own in self.answers if own)
        often = [answer for answer, count in counts.most_common() if count >= at_least]
        if not often:
            raise InputError(f"No answer occurs {at_least} times; lower --at-least, or give more questions.")
        return often

    def spelled(self, listed: Sequence[str]) -> "QuestionSet":
        """The same questions, to be trained on with the answers that are ranked.

        An answer of one's own tables that is not in the list is trained on as the listed one that the official rules
        make equal to it, where there is one, and their weights are added.
        """
        known = set(listed)
        alike = {normalize_answer(answer): answer for answer in reversed(listed)}

        def taught(one: Asked) -> Asked:
            weights: dict[str, float] = defaultdict(float)
            for answer, weight in one.answers.items():
                weights[answer if answer in known else alike.get(normalize_answer(answer), answer)] += weight
            return replace(one, answers=dict(weights))

        return replace(self, asked=[taught(one) if row in self.own else one for row, one in enumerate(self.asked)])


def world_questions(world: World, count: int, split: str) -> QuestionSet:
    """Questions about `count` scenes of the generated world; groups are their forms."""
    found = questions(world, count, split)
    shown: dict[int, int] = {}
    at = torch.tensor([[shown.setdefault(one.image, len(shown))] for one in found])
    scenes = {one.image: one for one in found}

    def pictures(px: int, training: bool) -> ArrayRows:
        drawn = torch.from_numpy(np.stack([scenes[image].picture(px) for image in shown]))
        return ArrayRows(drawn, at, augment=Augmentation.of(world.level, px) if training else None)

    return QuestionSet(
        [one.key for one in found],
        [Asked(one.text, {one.answer: 1.0}) for one in found],
        [(one.answer,) for one in found],
        [one.query.form for one in found],
        pictures,
        at.flatten().tolist(),
    )


def file_questions(
    data: Sequence[str],
    annotations: Sequence[str] = (),
    images: str | None = None,
    genome_images: str | None = None,
) -> QuestionSet:
    """Questions of files: VQAv2's own, published lists, Visual Genome's own, tables; groups are answer types.

    A table (.csv or .tsv) is one's own, all other files have the layout of a benchmark and are taken for it.
    `annotations` are those of VQAv2's files in the same order. Images lie below `images`, those of Visual Genome
    below `genome_images` where it is given. InputError names what cannot be used.
    """
    left = list(annotations)
    found: list[Question] = []
    own: list[int] = []
    for path in data:
        read = _read(path, left, images, genome_images)
        own += range(len(found), len(found) + len(read)) if _is_table(path) else ()
        found += read
    if left:
        raise InputError(f"The annotations {left[0]} belong to no VQAv2 question file; leave them out.")
    if not found:
        raise InputError("There are no questions; give at least one file with --data.")
    photos = [(one.image,) for one in found]

    def pictures(px: int, training: bool) -> PhotoRows:
        return PhotoRows(photos, train_transform(px, FINETUNE_SCALE) if training else eval_transform(px))

    return QuestionSet(
        [one.question_id for one in found],
        [Asked(one.question, answer_weights(one)) for one in found],
        [one.answers for one in found],
        [one.answer_type or "" for one in found],
        pictures,
        [one.image for one in found],
        frozenset(own),
    )


def _is_table(path: str) -> bool:
    return path.lower().endswith((".csv", ".tsv"))


def _read(path: str, annotations: list[str], images: str | None, genome_images: str | None) -> list[Question]:
    if _is_table(path):
        return read_question_table(path, images)
    begin = begin_of(path)
    root = os.path.dirname(path) if images is None else images
    if begin.startswith(b"{"):
        return read_vqa(path, annotations.pop(0) if annotations else None, root)
    if b'"qas"' in begin:
        return read_visual_genome(path, genome_images or root)
    return read_question_list(path, root, genome_images)


def begin_of(path: str) -> bytes:
    """The first bytes of a file, from which its layout is told; InputError where it cannot be read."""
    try:
        with open_file(local(path)) as file:
            return file.read(_PEEK).removeprefix(b"\xef\xbb\xbf").lstrip()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}); check the path.") from None
