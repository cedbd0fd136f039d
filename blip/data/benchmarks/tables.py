"""Questions of one's own: a CSV or TSV with the columns image, question and answer."""

import io
import os

from blip.data.benchmarks.reading import Row, image_at, read_text
from blip.data.benchmarks.vqa import Question
from blip.data.csvs import CsvRows
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
    """Rows by their number from 1, the header not counted, each at its line, which counts it; an empty field is left out."""
    content, tabs = read_text(path), str(path).lower().endswith(".tsv")
    if not content.strip():
        raise InputError(f"{path} is empty; give a table with image, question and answer.")
    table = CsvRows(io.StringIO(content), "\t" if tabs else ",", str(path))
    names = [name.strip().lower() for name in table.names]
    for name in _NEEDED:
        if name not in names:
            raise InputError(
                f"{path} has no column {name!r} but {', '.join(names)}; name it in the first line."
            )
    found = []
    for number, (line, row) in enumerate(table.below(table.names[names.index("image")]), 1):
        if isinstance(row, str):
            raise InputError(f"{path}:{line} cannot be used: {row}; quote a field that holds a comma.")
        fields = {name.strip().lower(): str(value) for name, value in row.items()}
        found.append((number, _row(fields, f"{path}:{line}")))
    if not found:
        raise InputError(f"{path} has no rows; give at least one question.")
    return found


def _row(fields: dict[str, str], where: str) -> Row:
    known = {*_NEEDED, *_EXTRA}
    return Row({name: value for name, value in fields.items() if name in known and value.strip()}, where)
