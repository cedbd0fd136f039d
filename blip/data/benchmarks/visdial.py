"""VisDial v1.0: dialogs about an image, each question with a pool of candidate answers (paper 5.5)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blip.data.benchmarks.reading import (
    Identity,
    Row,
    by_identity,
    image_at,
    read_object,
    read_results,
    read_rows,
    write_results,
)
from blip.data.pairs import ImageRef
from blip.data.places import Place
from blip.errors import InputError

# The dialogs of train are about COCO's images, those of val and test about images of their own.
_IMAGES = {
    "train": ("COCO_train2014", "COCO_val2014"),
    "val": ("VisualDialog_val2018",),
    "test": ("VisualDialog_test2018",),
}


@dataclass(frozen=True, eq=False)
class Round:
    """A question, its answer (None where hidden), and the candidates as indices (C,) int32 into the answers.

    `true` is the place of the answer among the candidates. Past rounds of the test set have no candidates.
    """

    question: str
    answer: str | None
    options: np.ndarray
    true: int | None


@dataclass(frozen=True, eq=False)
class Dialog:
    """An image, its caption, and the rounds (ten in train and val; test ends with the round to answer)."""

    image_id: int
    image: ImageRef
    caption: str
    rounds: tuple[Round, ...]


@dataclass(frozen=True, eq=False)
class VisDial:
    """A split: its dialogs, and the answers that candidates are indices of."""

    dialogs: tuple[Dialog, ...]
    answers: tuple[str, ...]

    def candidates(self, asked: Round) -> list[str]:
        """The texts (C) of a round's candidates."""
        return [self.answers[i] for i in asked.options]


def read_visdial(path: Place, image_root: Place) -> VisDial:
    """`visdial_1.0_{train,val,test}.json`; images lie in `image_root` or a folder of it (VisualDialog_val2018)."""
    whole = read_object(path)
    split, data = whole.text("split"), whole.values.get("data")
    if split not in _IMAGES or not isinstance(data, dict):
        raise InputError(
            f"{path} is no VisDial v1.0 file (split {split!r}); give one for train, val or test."
        )
    pools = Row(data, str(path))
    questions, answers = pools.texts("questions"), pools.texts("answers")
    rows = by_identity(pools.rows("dialogs", "dialog"), "image_id")
    dialogs = []
    for row in rows.values():
        number = row.whole("image_id")
        names = [f"{kind}_{number:012d}.jpg" for kind in _IMAGES[split]]
        folders = [
            f"{kind.removeprefix('COCO_')}/{name}" for kind, name in zip(_IMAGES[split], names, strict=True)
        ]
        image = image_at(image_root, [*names, *folders], row)
        rounds = tuple(_round(asked, questions, answers) for asked in row.rows("dialog", "round"))
        dialogs.append(Dialog(number, image, row.text("caption"), rounds))
    return VisDial(tuple(dialogs), answers)


def read_relevance(path: Place) -> dict[tuple[Identity, int], np.ndarray]:
    """Dense annotations by image id and round (from 1): relevance (C,) float64 in [0, 1] of the candidates.

    Val calls it gt_relevance, train relevance.
    """
    found: dict[tuple[Identity, int], np.ndarray] = {}
    for row in read_rows(path):
        key = row.identity("image_id"), row.whole("round_id")
        if key in found:
            raise InputError(
                f"{row.where}: image {key[0]!r}, round {key[1]} occurs a second time; keep one row of it."
            )
        values = np.array(
            row.numbers("gt_relevance" if row.has("gt_relevance") else "relevance"), dtype=np.float64
        )
        if not ((values >= 0) & (values <= 1)).all():
            raise InputError(
                f"{row.where}: relevance must lie in [0, 1], not {values.min():g} to {values.max():g}; correct it."
            )
        found[key] = values
    return found


def write_ranks(path: str | Path, ranks: Iterable[tuple[Identity, int, Sequence[int]]]) -> None:
    """The submission file of the VisDial server: image_id, round_id, and the candidates' ranks, both from 1.

    InputError for a doubled round, or ranks that are not each of 1 to C once.
    """
    rows = []
    for image, number, given in ranks:
        own = [int(rank) for rank in given]
        _check_ranks(own, f"image {image!r}, round {number}")
        rows.append({"image_id": image, "round_id": int(number), "ranks": own})
    write_results(path, rows, "image_id", "round_id")


def read_ranks(path: Place) -> dict[tuple[Identity, int], np.ndarray]:
    """Ranks (C,) int64 by image id and round from a submission file."""
    found = {}
    for row in read_results(path, "image_id", "round_id"):
        ranks = row.wholes("ranks")
        _check_ranks(ranks, row.where)
        found[row.identity("image_id"), row.whole("round_id")] = np.array(ranks, dtype=np.int64)
    return found


def _round(row: Row, questions: Sequence[str], answers: Sequence[str]) -> Round:
    answer = _of_pool(row, "answer", answers) if row.has("answer") else None
    options = row.wholes("answer_options") if row.has("answer_options") else ()
    if options and not 0 <= min(options) <= max(options) < len(answers):
        raise InputError(f"{row.where}: 'answer_options' go beyond the {len(answers)} answers; correct them.")
    true = row.whole("gt_index") if row.has("gt_index") else None
    if true is not None and not 0 <= true < len(options):
        raise InputError(
            f"{row.where}: 'gt_index' {true} is none of the {len(options)} candidates; correct it."
        )
    return Round(_of_pool(row, "question", questions), answer, np.array(options, dtype=np.int32), true)


def _of_pool(row: Row, name: str, pool: Sequence[str]) -> str:
    index = row.whole(name)
    if not 0 <= index < len(pool):
        raise InputError(f"{row.where}: {name!r} {index} goes beyond the {len(pool)} {name}s; correct it.")
    return pool[index]


def _check_ranks(ranks: Sequence[int], where: str) -> None:
    if sorted(ranks) != list(range(1, len(ranks) + 1)):
        raise InputError(f"{where}: the ranks must be 1 to {len(ranks)}, each once; correct them.")
