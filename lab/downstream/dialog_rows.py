"""Dialogs as rows, one a question: those of the generated world, and those of VisDial v1.0 (paper 5.5)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby
from typing import Generic, TypeVar

import numpy as np

from blip.data.benchmarks.reading import Identity
from blip.data.benchmarks.visdial import Round, VisDial
from blip.data.pairs import ImageRef
from blip.data.text import clean_question
from blip.errors import InputError
from blip.tasks.visdial import Asked
from lab.world.dialogs import Round as WorldRound
from lab.world.dialogs import dialogs
from lab.world.sets import World

Name = tuple[Identity, int]
"""An image, and a round from 1."""
Image = ImageRef | np.ndarray
Row = TypeVar("Row")


class Made(Generic[Row]):
    """Rows made when they are asked for: the train split of VisDial has a hundred million candidates."""

    def __init__(self, count: int, make: Callable[[int], Row]) -> None:
        self.count, self.make = count, make

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, row: int) -> Row:
        if not 0 <= row < self.count:
            raise IndexError(row)
        return self.make(row)


@dataclass(frozen=True)
class DialogSet:
    """Questions as rows, those of one image side by side.

    names: image and round of each row, the round from 1. images: (H, W, 3) uint8 where a row holds no reference.
    relevance: of the candidates (C,), where it is known.
    """

    images: Sequence[Image] | Made[Image]
    asked: Sequence[Asked] | Made[Asked]
    names: Sequence[Name]
    relevance: Mapping[Name, np.ndarray] = field(default_factory=dict)

    def texts(self) -> Iterator[str]:
        """What a vocabulary of these dialogs must know: captions, questions, the answers that were given."""
        for rows in self.by_image():
            yield self.asked[rows[0]].caption
            for asked in map(self.asked.__getitem__, rows):
                yield asked.question
                yield from () if asked.true is None else (asked.candidates[asked.true],)

    def rows(self) -> Iterator[object]:
        """What tells these dialogs apart from others: image and round of each question, and all that is said."""
        yield from self.names
        yield from self.texts()

    def told(self) -> Iterator[object]:
        """What decides on measures, beside the pictures: `rows`, candidates and relevance."""
        yield from self.rows()
        for row, name in enumerate(self.names):
            known = self.relevance.get(name)
            yield [list(self.asked[row].candidates), None if known is None else known.tolist()]

    def by_image(self) -> Iterator[list[int]]:
        """The rows of each image."""
        for _, rows in groupby(range(len(self.names)), key=lambda row: self.names[row][0]):
            yield list(rows)


def world_dialogs(level: str, count: int, split: str = "train") -> DialogSet:
    """So many dialogs of the generated world. What is true in another wording is no negative."""
    if count < 1:
        raise InputError(f"{count} dialogs of the generated world cannot be; give 1 or more.")
    world = World.of(level)
    images, asked = [], []
    names: list[Name] = []
    relevance: dict[Name, np.ndarray] = {}
    for dialog in dialogs(world, count, split):
        picture = dialog.picture(world.level.px)
        for at, one in enumerate(dialog.rounds):
            wrong = [place for place, worth in enumerate(one.relevance) if not worth]
            said = _said(dialog.rounds[:at])
            asked.append(Asked(dialog.caption, said, one.question, one.candidates, one.place, wrong))
            images.append(picture)
            names.append((dialog.image, at + 1))
            relevance[names[-1]] = np.array(one.relevance)
    return DialogSet(images, asked, names, relevance)


def visdial_dialogs(
    data: VisDial, relevance: Mapping[Name, np.ndarray] | None = None, *, answered: bool = False
) -> DialogSet:
    """The questions of a split that have candidates; only those that can be trained on where `answered`.

    These have a known answer and a candidate that a model reads as another text: "yes." and "yes!" are no negatives of
    "yes". InputError where there is no question, or the relevance of a question has not as many values as it has candidates.
    """
    alike = _alike(data.answers)
    places = [
        (dialog, at)
        for dialog in data.dialogs
        for at, one in enumerate(dialog.rounds)
        if (one.true is not None and len(_wrong(one, alike)) if answered else len(one.options))
    ]
    if not places:
        raise InputError("No question has candidate answers that serve here; give a VisDial v1.0 file of train, val or test.")
    names = [(dialog.image_id, at + 1) for dialog, at in places]
    for name, (dialog, at) in zip(names, places, strict=True):
        _check_relevance(name, dialog.rounds[at], (relevance or {}).get(name))

    def asked(row: int) -> Asked:
        dialog, at = places[row]
        one = dialog.rounds[at]
        said, candidates = _said(dialog.rounds[:at]), data.candidates(one)
        return Asked(dialog.caption, said, one.question, candidates, one.true, _wrong(one, alike).tolist())

    count = len(places)
    images: Made[Image] = Made(count, lambda row: places[row][0].image)
    return DialogSet(images, Made(count, asked), names, relevance or {})


def _said(rounds: Sequence[Round] | Sequence[WorldRound]) -> tuple[str, ...]:
    """Question and answer in turn; an answer that is hidden says nothing."""
    return tuple(chain.from_iterable((one.question, one.answer or "") for one in rounds))


def _alike(answers: Sequence[str]) -> np.ndarray:
    """A number (A,) for each answer, the same where cleaning makes two of them one text."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(clean_question(answer), len(numbers)) for answer in answers])


def _wrong(one: Round, alike: np.ndarray) -> np.ndarray:
    """Places of the candidates that read otherwise than the true one; all where that is hidden."""
    read = alike[one.options]
    return np.arange(len(read)) if one.true is None else np.flatnonzero(read != read[one.true])


def _check_relevance(name: Name, one: Round, relevance: np.ndarray | None) -> None:
    if relevance is not None and len(relevance) != len(one.options):
        raise InputError(
            f"Image {name[0]!r}, round {name[1]} has {len(one.options)} candidates and relevance of "
            f"{len(relevance)}; give the dense annotations of the same split."
        )
