"""VQAv2 and the questions of Visual Genome (paper 5.3)."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

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

GENOME_WEIGHT = 0.2
"""What the one answer to a question of Visual Genome weighs in training, as published."""

_GENOME_FOLDERS = ("", "VG_100K/", "VG_100K_2/")


@dataclass(frozen=True)
class Question:
    """A question about an image, and what its annotators (ten in VQAv2) answered; none where that is hidden.

    `majority` is the data set's own most frequent answer; `weight` is what all answers weigh together in
    training.
    """

    question_id: Identity
    image: ImageRef
    question: str
    answers: tuple[str, ...] = ()
    majority: str | None = None
    question_type: str | None = None
    answer_type: str | None = None
    weight: float = 1.0


def read_vqa(questions: Place, annotations: Place | None, image_root: Place) -> list[Question]:
    """VQAv2 from its own two files; without annotations (the test sets) the answers are empty.

    Image files are `image_root/SUBTYPE/COCO_SUBTYPE_000000000042.jpg`, the folder SUBTYPE optional.
    InputError where the files do not have the same question ids.
    """
    whole = read_object(questions)
    subtype = whole.text("data_subtype").replace("test-dev", "test")  # test-dev is a part of test's images
    asked = by_identity(whole.rows("questions", "question"), "question_id")
    answered = {}
    if annotations is not None:
        answered = by_identity(read_object(annotations).rows("annotations", "annotation"), "question_id")
        _check_same(asked, answered, annotations)
    return [_question(row, answered.get(identity), subtype, image_root) for identity, row in asked.items()]


def read_question_list(path: Place, image_root: Place, genome_root: Place | None = None) -> list[Question]:
    """A published list: `vqa_{train,val,test}.json` or `vg_qa.json`.

    Images of the data set "vg" lie below `genome_root` (else `image_root`), and its answers weigh 0.2.
    A row without an id is named by its number.
    """
    roots = {"vqa": image_root, "vg": genome_root or image_root}
    rows = by_identity(read_rows(path), "question_id", needed=False)
    return [_listed(row, identity, roots) for identity, row in rows.items()]


def read_visual_genome(path: Place, image_root: Place) -> list[Question]:
    """Visual Genome's own `question_answers.json`; images are ID.jpg in `image_root` or VG_100K there."""
    images = [
        row
        for image in read_rows(path)
        if image.values.get("qas") != []
        for row in image.rows("qas", "question")
    ]
    if not images:
        raise InputError(f"{path} has no question; give Visual Genome's question_answers.json.")
    found = []
    for identity, row in by_identity(images, "qa_id").items():
        names = [f"{folder}{row.whole('image_id')}.jpg" for folder in _GENOME_FOLDERS]
        image = image_at(image_root, names, row)
        answer = row.text("answer")
        found.append(Question(identity, image, row.text("question"), (answer,), answer, weight=GENOME_WEIGHT))
    return found


def answer_weights(question: Question) -> dict[str, float]:
    """Each different answer with its share of the annotators, times the question's weight."""
    share = question.weight / max(1, len(question.answers))
    return {answer: count * share for answer, count in Counter(question.answers).items()}


def write_answers(path: str | Path, answers: Iterable[tuple[Identity, str]]) -> None:
    """The submission file of the VQA server: question_id, answer. InputError for a doubled id."""
    write_results(path, [{"question_id": name, "answer": answer} for name, answer in answers], "question_id")


def read_answers(path: Place) -> list[tuple[Identity, str]]:
    """Question ids and answers of a submission file."""
    return [(row.identity("question_id"), row.text("answer")) for row in read_results(path, "question_id")]


def _check_same(asked: dict[Identity, Row], answered: dict[Identity, Row], annotations: Place) -> None:
    for identity, row in asked.items():
        if identity not in answered:
            raise InputError(
                f"{row.where}: question {identity!r} is not in {annotations}; give the same split's file."
            )
    for identity, row in answered.items():
        if identity not in asked:
            raise InputError(f"{row.where}: question {identity!r} was not asked; give the same split's file.")


def _question(row: Row, annotation: Row | None, subtype: str, image_root: Place) -> Question:
    name = f"COCO_{subtype}_{row.whole('image_id'):012d}.jpg"
    image = image_at(image_root, [f"{subtype}/{name}", name], row)
    identity, question = row.identity("question_id"), row.text("question")
    if annotation is None:
        return Question(identity, image, question)
    return Question(
        identity,
        image,
        question,
        tuple(answer.text("answer") for answer in annotation.rows("answers", "answer")),
        annotation.text("multiple_choice_answer"),
        annotation.text("question_type"),
        annotation.text("answer_type"),
    )


def _listed(row: Row, identity: Identity, roots: dict[str, Place]) -> Question:
    source = row.text("dataset")
    if source not in roots:
        raise InputError(f"{row.where}: 'dataset' must be 'vqa' or 'vg', not {source!r}; correct it.")
    return Question(
        identity,
        image_at(roots[source], [row.text("image")], row),
        row.text("question"),
        row.texts("answer") if row.has("answer") else (),
        weight=GENOME_WEIGHT if source == "vg" else 1.0,
    )
