"""Files that appear whole or not at all, and names for images in them."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from blip.errors import InputError

IMAGE_EXTENSIONS = frozenset(
    ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "jp2", "ppm")
)

_UNFINISHED = ".unfinished"
_MAGIC = {
    b"\xff\xd8": "jpg",
    b"\x89PNG": "png",
    b"GIF8": "gif",
    b"BM": "bmp",
    b"II*\0": "tif",
    b"MM\0*": "tif",
    b"\0\0\0\x0cjP": "jp2",
}


@contextmanager
def replacing(path: str | Path) -> Iterator[BinaryIO]:
    """A file to write that takes the place of `path` when the block ends: written under another
    name, then synced.

    Where the block fails nothing is left; a full disk is an InputError.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}{_UNFINISHED}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(unfinished, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
        _sync_folder(path.parent)
    except BaseException as error:
        unfinished.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(
                f"the disk of {path.parent} is full: free some space and start again."
            ) from error
        raise


def drop_unfinished(folder: str | Path) -> None:
    """Delete what `replacing` had begun below a folder in processes that were killed.

    A process counts as killed if it does not run on this machine.
    """
    for path in Path(folder).rglob(f".*{_UNFINISHED}"):
        number = path.name.removesuffix(_UNFINISHED).rpartition(".")[2]
        if number.isdigit() and not _runs(int(number)):
            path.unlink(missing_ok=True)


def image_extension(data: bytes) -> str:
    """The usual extension of encoded image bytes, by how they begin (jpg where that is unknown)."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[4:12] == b"ftypavif":
        return "avif"
    return next((extension for magic, extension in _MAGIC.items() if data.startswith(magic)), "jpg")


def free_name(key: str, taken: set[str]) -> str:
    """A file name for a key, not in `taken` yet (adds it); without dots, which end a tar's key."""
    stem = key.strip("/").replace(".", "_").replace("\0", "_") or "image"
    name, number = stem, 1
    while name in taken:
        number += 1
        name = f"{stem}~{number}"
    taken.add(name)
    return name


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)  # sends nothing
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
