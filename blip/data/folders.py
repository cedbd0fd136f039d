"""Plain folders of images, each with its caption in a text file of the same name."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from blip.data.collect import PairCollector
from blip.data.files import IMAGE_EXTENSIONS
from blip.data.jsons import parse_json
from blip.data.pairs import ImageRef
from blip.data.places import is_url, open_file, walk
from blip.data.rows import IMAGE_COLUMNS
from blip.data.text import MAX_CAPTION_BYTES
from blip.errors import InputError

_TABLES = ("csv", "tsv", "jsonl")  # in which Hugging Face's imagefolder and others keep captions beside the images
_HEAD = 65_536  # bytes of a table's first line that are read


def read_folder(folder: str, into: PairCollector) -> None:
    """Adds every image below `folder`, sorted; without a text file its caption is empty.

    A text file without an image is a reject, and so is a folder that cannot be listed. InputError where no image has
    a text file and a table beside them tells of images: it is what holds the captions.
    """

    def refused(error: OSError) -> None:
        at = str(error.filename or folder)
        into.lose(at, at, f"cannot be listed: {error}", whole_file=True)

    alone: list[str] = []
    tables: list[str] = []
    texts_used = False
    for at, names in _folders(folder, refused):
        texts = [name for name in names if _extension(name) == "txt"]
        # Of a.txt and a.TXT the first counts.
        text_of = {_stem(name): name for name in sorted(texts, key=lambda name: name.endswith(".txt"))}
        images = [name for name in names if _extension(name) in IMAGE_EXTENSIONS]
        for name in images:
            path, text = os.path.join(at, name), text_of.get(_stem(name))
            found = None if text is None else _text(os.path.join(at, text))
            into.add(_key(path, folder), ImageRef(path), [found])
        used = {text_of.get(_stem(name)) for name in images}
        texts_used = texts_used or bool(used - {None})
        tables += [os.path.join(at, name) for name in names if _extension(name) in _TABLES]
        alone += [os.path.join(at, name) for name in texts if name not in used]
    if not texts_used and (table := next(filter(_tells_of_images, tables), None)) is not None:
        raise InputError(
            f"the images in {folder} have no text files, and the table {table} tells of images: give that itself, or a "
            "folder with the images alone."
        )
    for path in alone:
        into.lose(_key(path, folder), path, "no image goes with this text")


def _tells_of_images(table: str) -> bool:
    """Whether a CSV, TSV or JSON lines file has a column of a usual name for images."""
    try:
        with open_file(table) as file:
            head = file.readline(_HEAD).decode("utf-8-sig", "replace")
        names = parse_json(head) if _extension(table) == "jsonl" else re.split(r"[,\t]", head)
    except (OSError, ValueError):
        return False
    names = names if isinstance(names, (list, dict)) else []
    return any(name.strip(' "\r\n').lower() in IMAGE_COLUMNS for name in names if isinstance(name, str))


def image_files(folder: str) -> Iterator[str]:
    """The paths of all images below a folder, sorted; dot files are left out."""
    for at, names in _folders(folder, refused=lambda error: None):
        yield from (os.path.join(at, name) for name in names if _extension(name) in IMAGE_EXTENSIONS)


def _folders(folder: str, refused: Callable[[OSError], object]) -> Iterator[tuple[str, list[str]]]:
    """Each folder with the names of its files, sorted; dot files are left out."""
    for at, folders, files in walk(folder, refused):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield at, sorted(name for name in files if not name.startswith("."))


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]


def _extension(name: str) -> str:
    return os.path.splitext(name)[1][1:].lower()


def _key(path: str, folder: str) -> str:
    return Path(os.path.relpath(_stem(path), folder)).as_posix()


def _text(path: str) -> bytes | OSError | None:
    """What a text file holds, or why that cannot be known."""
    try:
        with open_file(path) as file:
            return file.read(MAX_CAPTION_BYTES + 1)
    except FileNotFoundError as error:
        return error
    except OSError as error:
        if is_url(path):  # a store that cannot be reached may hold good texts
            raise
        return error
