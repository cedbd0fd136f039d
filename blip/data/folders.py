"""Plain folders of images, each with its caption in a text file of the same name."""

import os
from collections.abc import Iterator
from pathlib import Path

from blip.data.collect import PairCollector
from blip.data.files import IMAGE_EXTENSIONS
from blip.data.pairs import ImageRef
from blip.data.places import open_file, walk
from blip.data.text import MAX_CAPTION_BYTES


def read_folder(folder: str, into: PairCollector) -> None:
    """Adds every image below `folder`, sorted; without a text file its caption is empty.

    A text file without an image is a reject.
    """
    stems = set()
    for path in image_files(folder):
        stem = os.path.splitext(path)[0]
        stems.add(stem)
        into.add(_key(stem, folder), ImageRef(path), [_text(f"{stem}.txt")])
    for path in _files(folder, frozenset({"txt"})):
        stem = os.path.splitext(path)[0]
        if stem not in stems:
            into.lose(_key(stem, folder), path, "no image goes with this text")


def image_files(folder: str) -> Iterator[str]:
    """The paths of all images below a folder, sorted; dot files are left out."""
    return _files(folder, IMAGE_EXTENSIONS)


def _files(folder: str, extensions: frozenset[str]) -> Iterator[str]:
    for at, folders, files in walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            extension = os.path.splitext(name)[1][1:].lower()
            if not name.startswith(".") and extension in extensions:
                yield os.path.join(at, name)


def _key(stem: str, folder: str) -> str:
    return Path(os.path.relpath(stem, folder)).as_posix()


def _text(path: str) -> bytes | None:
    try:
        with open_file(path) as file:
            return file.read(MAX_CAPTION_BYTES + 1)
    except FileNotFoundError:
        return None
