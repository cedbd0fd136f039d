"""JSON rows with checked fields, images that are there, ids that occur once, and result files."""

import json
import os
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blip.data.files import replacing
from blip.data.jsons import parse_json
from blip.data.pairs import ImageRef
from blip.data.places import Place, is_url, local, open_file
from blip.data.text import UTF16_MARKS
from blip.errors import InputError

_BRIEF = reprlib.Repr()  # Python's own repr fails where lists nest too deep
_BRIEF.maxstring = _BRIEF.maxother = _BRIEF.maxlong = 60

Identity = int | str
"""How a benchmark names an image, a question, a video."""


@dataclass(frozen=True)
class Row:
    """One JSON object or row of a table and where it stands ("FILE, row 3", "FILE:4"), for the sentence that refuses it."""

    values: Mapping[str, object]
    where: str

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self.values.get(name) is not None

    def text(self, *names: str) -> str:
        """The text in the first of these fields that is there."""
        return self._first(names, str, "text")

    def whole(self, name: str) -> int:
        """A whole number."""
        return self._first((name,), int, "a whole number")

    def identity(self, *names: str) -> Identity:
        """A whole number or a text, in the first of these fields that is there."""
        return self._first(names, (int, str), "a whole number or text")

    def items(self, name: str) -> list[object]:
        """A list that is not empty."""
        found = self._first((name,), list, "a list")
        if not found:
            raise InputError(f"{self.where}: {name!r} is an empty list; give at least one.")
        return found

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts, not empty; one text counts as a list of one."""
        found = self._first((name,), (str, list), "a text or a list of texts")
        if isinstance(found, str):
            return (found,)
        return self._all(name, str, "texts")

    def wholes(self, name: str) -> tuple[int, ...]:
        """A list of whole numbers, not empty."""
        return self._all(name, int, "whole numbers")

    def numbers(self, name: str) -> tuple[float, ...]:
        """A list of numbers, not empty."""
        try:
            return tuple(map(float, self._all(name, (int, float), "numbers")))
        except OverflowError:
            raise InputError(f"{self.where}: {name!r} holds a number that is too large; correct it.") from None

    def rows(self, name: str, kind: str) -> list["Row"]:
        """A list of objects, not empty, each called `kind` and its number."""
        return [
            _row(value, f"{self.where}, {kind} {number}") for number, value in enumerate(self.items(name), 1)
        ]

    def _first(self, names: Sequence[str], kind: type | tuple[type, ...], said: str) -> Any:
        name = next((name for name in names if self.has(name)), None)
        if name is None:
            raise InputError(
                f"{self.where} has no {' or '.join(map(repr, names))}; give a file with it in every row."
            )
        value = self.values[name]
        if isinstance(value, bool) or not isinstance(value, kind):
            raise InputError(f"{self.where}: {name!r} must be {said}, not {_shown(value)}; correct it.")
        return value

    def _all(self, name: str, kind: type | tuple[type, ...], said: str) -> tuple[Any, ...]:
        for value in (found := self.items(name)):
            if isinstance(value, bool) or not isinstance(value, kind):
                raise InputError(f"{self.where}: {name!r} must hold {said}, not {_shown(value)}; correct it.")
        return tuple(found)


def read_json(path: Place) -> object:
    """What a JSON file holds; InputError where it is missing or not JSON."""
    return _parsed(path, read_text(path))


def read_object(path: Place) -> Row:
    """A JSON file that holds one object."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no JSON object but {_shown(content)}; give the benchmark's own file.")
    return Row(content, str(path))


def read_rows(path: Place) -> list[Row]:
    """A JSON file that holds a list of objects, or JSON lines (.jsonl; NLVR2's own files are named .json).

    InputError where it is empty.
    """
    text = read_text(path)
    if str(path).endswith(".jsonl") or _has_lines(text):
        lines = enumerate(text.split("\n"), 1)  # other line ends may stand in a JSON text
        rows = [_json_line(line, f"{path}, row {number}") for number, line in lines if line.strip()]
    else:
        content = _parsed(path, text)
        if not isinstance(content, list):
            raise InputError(
                f"{path} holds no JSON list but {_shown(content)}; give the benchmark's own file."
            )
        rows = [_row(value, f"{path}, row {number}") for number, value in enumerate(content, 1)]
    if not rows:
        raise InputError(f"{path} has no rows; give the benchmark's own file.")
    return rows


def read_text(path: Place) -> str:
    """A UTF-8 file; InputError where it cannot be read."""
    try:
        with open_file(local(str(path))) as file:
            content = file.read()
        return content.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}); check the path.") from None
    except UnicodeDecodeError:
        if content[:2] in UTF16_MARKS:
            raise InputError(f"{path} is UTF-16 text: save it as UTF-8.") from None
        raise InputError(f"{path} is not UTF-8 text; give the benchmark's own file.") from None


def by_identity(rows: Iterable[Row], name: str, *, needed: bool = True) -> dict[Identity, Row]:
    """Rows by an id field; InputError names the first id that occurs twice.

    Where the field is not needed, the number of a row without it is its id.
    """
    found: dict[Identity, Row] = {}
    for number, row in enumerate(rows, 1):
        identity = row.identity(name) if needed or row.has(name) else number
        if identity in found:
            raise InputError(f"{row.where}: {name!r} {identity!r} occurs a second time; keep one row of it.")
        found[identity] = row
    return found


def image_at(root: Place, names: Sequence[str], row: Row) -> ImageRef:
    """The first of these files below `root` that exists; InputError where none does. A store is not asked."""
    paths = [os.path.join(local(str(root)), name) for name in names]
    for path in paths:
        if is_url(path) or os.path.isfile(path):
            return ImageRef(path)
    raise InputError(
        f"{row.where}: the image {paths[0]} is missing; check the folder that was given for the images."
    )


def write_results(path: str | Path, rows: Sequence[Mapping[str, object]], *ids: str) -> None:
    """A result file (a JSON list) for a benchmark's server, whole or not at all.

    `ids` are the fields that together name a row; InputError where there is no row or an id occurs twice.
    """
    _check_once([Row(row, f"result {number}") for number, row in enumerate(rows, 1)], ids, str(path))
    with replacing(path) as file:
        file.write(json.dumps(list(rows)).encode("utf-8"))


def read_results(path: Place, *ids: str) -> list[Row]:
    """The rows of a result file; `ids` as above."""
    rows = read_rows(path)
    _check_once(rows, ids, str(path))
    return rows


def _check_once(rows: Sequence[Row], ids: Sequence[str], path: str) -> None:
    if not rows:
        raise InputError(f"There are no results for {path}; give at least one.")
    seen = set()
    for row in rows:
        identity = tuple(row.identity(name) for name in ids)
        if identity in seen:
            shown = ", ".join(f"{name} {value!r}" for name, value in zip(ids, identity, strict=True))
            raise InputError(f"{row.where}: the result of {shown} occurs a second time; give it once.")
        seen.add(identity)


def _parsed(path: Place, text: str) -> object:
    try:
        return parse_json(text)
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}); fetch it again.") from None


def _has_lines(text: str) -> bool:
    """Whether the first line is a whole object and others follow."""
    first, _, rest = text.strip().partition("\n")
    try:
        return bool(rest) and isinstance(parse_json(first), dict)
    except ValueError:
        return False


def _json_line(line: str, where: str) -> Row:
    try:
        value = parse_json(line)
    except ValueError as error:
        raise InputError(f"{where} is not JSON ({error}); fetch the file again.") from None
    return _row(value, where)


def _row(value: object, where: str) -> Row:
    if not isinstance(value, dict):
        raise InputError(f"{where} is no JSON object but {_shown(value)}; correct it.")
    return Row(value, where)


def _shown(value: object) -> str:
    text = _BRIEF.repr(value)
    return f"{text if len(text) <= 40 else text[:40] + '...'} ({type(value).__name__})"
