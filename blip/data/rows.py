"""Rows of any table: which columns hold image and caption, and what each row gives."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from blip.data.collect import PairCollector, captions
from blip.data.pairs import ImageRef
from blip.data.places import is_url
from blip.errors import InputError

IMAGE_COLUMNS = (
    "image",
    "image_path",
    "path",
    "filepath",
    "file_path",
    "file_name",
    "filename",
    "jpg",
    "bytes",
    "image_bytes",
)
CAPTION_COLUMNS = ("caption", "captions", "text", "title")

ONLY_URL = "only a url: download the images with img2dataset and give the tars it writes"

Row = Mapping[str, object] | str
"""A row by column name, or the reason why this row cannot be read."""


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """How to read tables: where image paths start (else their folder) and which columns to use."""

    image_root: str | None = None
    image_columns: tuple[str, ...] = ()
    """Of several the first that a table has is read, so that tables of different make are read in one go."""
    caption_columns: tuple[str, ...] = ()
    text: str = "caption"
    """What the text of a row is called where its column is missing."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns of one table; without one for the image every row has only a url."""

    image: str | None
    caption: str
    url: str | None
    caption_given: bool
    """Whether somebody chose the caption's column; else a list `captions` beside it counts."""


def choose_columns(names: Iterable[str], source: str, options: TableOptions) -> Columns:
    """The columns by options or usual names (any case); InputError names found and expected."""
    found = list(names)
    url = _choose(found, (), ("url",), "url", source)
    caption = _choose(found, options.caption_columns, CAPTION_COLUMNS, options.text, source)
    image = _choose(found, options.image_columns, IMAGE_COLUMNS, "image", source)
    if caption is None:
        raise _lacking(found, options.text, CAPTION_COLUMNS, source)
    if image is None and url is None:
        raise _lacking(found, "image", IMAGE_COLUMNS, source)
    if twice := [column for column in (caption, image) if column is not None and found.count(column) > 1]:
        raise InputError(f"{source} has more than one column {twice[0]!r}: rename all but one.")
    return Columns(image=image, caption=caption, url=url, caption_given=bool(options.caption_columns))


def add_rows(
    rows: Iterable[tuple[int, Row]], columns: Columns, source: str, into: PairCollector, root: str
) -> None:
    """Adds rows whose images are files under `root`; an unusable row becomes a numbered reject."""
    for number, row in rows:
        ref = f"{source}:{number}"
        if isinstance(row, str):
            into.lose(ref, ref, row)
            continue
        image, found = _held(row, columns.image), texts(row, columns)
        if not isinstance(image, str) or not image:
            reason = ONLY_URL if _held(row, columns.url) else "no image path"
            into.lose(ref, ref, reason, pairs=max(1, len(found)))
            continue
        path = os.path.join(root, image)
        if not is_url(path) and not os.path.isfile(path):  # asking a store for each row takes hours
            into.lose(_key(image), ref, f"the file {path} is missing", pairs=max(1, len(found)))
        else:
            into.add(_key(image), ImageRef(path), found, record=row)


def texts(row: Mapping[str, object], columns: Columns) -> list[object]:
    """The texts of a row: what the caption's column holds, a text or a list."""
    if not columns.caption_given:
        return captions(row, columns.caption)
    held = row.get(columns.caption)
    return held if isinstance(held, list) else [held]


def image_root(source: str, options: TableOptions) -> str:
    """The folder from which the image paths of a table start."""
    if options.image_root is not None:
        return options.image_root
    return os.path.dirname(source) if is_url(source) else str(Path(source).parent)


def _held(row: Mapping[str, object], column: str | None) -> object:
    return None if column is None else row.get(column)


def _key(image: str) -> str:
    return os.path.splitext(image)[0]


def _lacking(names: list[str], role: str, usual: tuple[str, ...], source: str) -> InputError:
    return InputError(
        f"{source} has the columns {', '.join(names) or '(none)'} and none for the {role}: "
        f"call it one of {', '.join(usual)}, or name it as the {role} column."
    )


def _choose(
    names: list[str], given: tuple[str, ...], usual: tuple[str, ...], role: str, source: str
) -> str | None:
    if not given:
        lower = {name.lower(): name for name in reversed(names)}
        return next((lower[name] for name in usual if name in lower), None)
    if (found := next((name for name in given if name in names), None)) is None:
        raise InputError(
            f"{source} has no column {' or '.join(map(repr, given))} for the {role}; its columns are {', '.join(names)}."
        )
    return found
