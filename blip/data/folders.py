"""Plain folders of images, each with its caption in a text file of the same name."""

import os
from collections.abc import Iterator
from pathlib import Path

from blip.data.collect import PairCollector
from blip.data.files import IMAGE_EXTENSIONS
from blip.data.pairs import ImageRef
from blip.data.text import MAX_CAPTION_BYTES


def read_folder(folder: str, into: PairCollector) -> None:
    """Adds every image below `folder`, sorted; without a text file its caption is empty."""
    for path in image_files(folder):
        stem = os.path.splitext(path)[0]
        key = Path(os.path.relpath(stem, folder)).as_posix()
        into.add(key, ImageRef(path), [_text(f"{stem}.txt")])


def image_files(folder: str) -> Iterator[str]:
    """The paths of all images below a folder, sorted; dot files are left out."""
    for at, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if (
                not name.startswith(".")
                and os.path.splitext(name)[1][1:].lower() in IMAGE_EXTENSIONS
            ):
                yield os.path.join(at, name)


def _text(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read(MAX_CAPTION_BYTES + 1)
    except FileNotFoundError:
        return None
