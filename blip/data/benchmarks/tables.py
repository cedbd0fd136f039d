"""Questions of one's own: a CSV or TSV with the columns image, question and answer."""

import csv
import io
import os

from blip.data.benchmarks.reading import Row, image_at, read_text
from blip.data.benchmarks.vqa import Question
from blip.data.pairs import ImageRef
from blip.data.places import Place
from blip.errors import InputError

_NEEDED = ("image", "question")
_EXTRA = ("answer", "question_id")


def read_question_table(path: Place, image_root: Place | None = None) -> list[Question]:
    """A table with a header line: image, question, and where they are known answer and question_id.

    Rows with one image and one question (or one question_id) are what several people answered. Image paths
    start from `image_root`, else from the table's folder. Without a question_id a question is named by its
    first row. InputError names the row that cannot be used.
    """
    rows = _rows(path)
    root = os.path.dirname(str(path)) if image_root is None else image_root
    grouped: dict[tuple[object, ...], list[tuple[int, Row]]] = {}
    for number, row in rows:
        named = (
            (row.text("question_id"),)
            if row.has("question_id")
            else (row.text("image"), row.text("question"))
        )
        grouped.setdefault(named, []).append((number, row))
    images: dict[str, ImageRef] = {}
    return [_question(own, root, images) for own in grouped.values()]


def _question(own: list[tuple[int, Row]], root: Place, images: dict[str, ImageRef]) -> Question:
    number, first = own[0]
    image, question = first.text("image"), first.text("question")
    for _, row in own[1:]:
        if (row.text("image"), row.text("question")) != (image, question):
            raise InputError(
                f"{row.where} has the question_id {row.text('question_id')!r} of another question; give it its own."
            )
    if image not in images:
        images[image] = image_at(root, [image], first)
    name = first.text("question_id") if first.has("question_id") else number
    answers = tuple(row.text("answer").strip() for _, row in own if row.has("answer"))
    return Question(name, images[image], question, answers)


def _rows(path: Place) -> list[tuple[int, Row]]:
    """Rows by their number from 1, the header not counted; an empty field is left out."""
    tabs = str(path).lower().endswith(".tsv")
    reader = csv.reader(io.StringIO(read_text(path)), delimiter="\t" if tabs else ",")
    try:
        lines = [line for line in reader if line]
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num} cannot be read ({error}); correct it.") from None
    if not lines:
        raise InputError(f"{path} is empty; give a table with image, question and answer.")
    names = [name.strip().lower() for name in lines[0]]
    for name in _NEEDED:
        if name not in names:
            raise InputError(
                f"{path} has no column {name!r} but {', '.join(names)}; name it in the first line."
            )
    if len(lines) == 1:
        raise InputError(f"{path} has no rows; give at least one question.")
    return [(number, _row(names, line, f"{path}, row {number}")) for number, line in enumerate(lines[1:], 1)]


def _row(names: list[str], line: list[str], where: str) -> Row:
    if len(line) != len(names):
        raise InputError(
            f"{where} has {len(line)} fields instead of {len(names)}; quote a field that holds a comma."
        )
    known = {*_NEEDED, *_EXTRA}
    fields = {n: value for n, value in zip(names, line, strict=True) if n in known and value.strip()}
    return Row(fields, where)
