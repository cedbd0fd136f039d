"""Files by path or by URL: local disk, and any object store that fsspec knows (s3://, gs://, memory://, ...).

A URL of a local file (file://) is its path. fsspec is imported when the first URL is met.
"""

import glob
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from blip.errors import InputError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

Place = str | Path
"""A path, or a URL as a str."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_FILE = "file://"


def is_url(place: Place) -> bool:
    """Whether a place is in an object store."""
    return isinstance(place, str) and bool(_URL.match(place)) and not place.startswith(_FILE)


def local(path: str) -> str:
    """A path from a file:// URL; anything else as it is."""
    return path.removeprefix(_FILE)


def filesystem(url: str) -> tuple["AbstractFileSystem", str]:
    """The store of a URL and the path in it; InputError where its package is missing or nobody knows it."""
    try:
        from fsspec.core import url_to_fs
    except ModuleNotFoundError:
        raise InputError(f"To read and write {url} install fsspec, or give a folder of this machine.") from None
    try:
        return url_to_fs(url)
    except ImportError as error:
        raise InputError(f"{url} needs another package ({error}); install it.") from None
    except ValueError as error:
        raise InputError(f"{url} cannot be used ({error}); give a path, or the URL of a known store.") from None


def exists(path: str) -> bool:
    """Whether a file or folder is there."""
    if not is_url(path):
        return os.path.exists(path)
    store, inside = filesystem(path)
    return store.exists(inside)


def is_folder(path: str) -> bool:
    """Whether a path is a folder, or the beginning of names in an object store."""
    if not is_url(path):
        return os.path.isdir(path)
    store, inside = filesystem(path)
    return store.isdir(inside)


def matching(pattern: str) -> list[str]:
    """The paths that fit a pattern (`*`, `?`, `**`), sorted."""
    if not is_url(pattern):
        return sorted(glob.glob(pattern, recursive=True))
    store, inside = filesystem(pattern)
    return sorted(store.unstrip_protocol(path) for path in store.glob(inside))


def listed(folder: str, suffix: str) -> list[str]:
    """The files in a folder whose names end in `suffix`, sorted."""
    if not is_url(folder):
        return sorted(str(file) for file in Path(folder).glob(f"*{suffix}"))
    return matching(f"{folder.rstrip('/')}/*{suffix}")


def walk(folder: str, refused: Callable[[OSError], object]) -> Iterator[tuple[str, list[str], list[str]]]:
    """As os.walk: each folder from the top with the names of its folders, which may be changed, and files.

    Linked folders too, but none twice. refused: is told of each folder that cannot be listed.
    """
    if not is_url(folder):
        yield from _walk_here(folder, refused)
        return
    store, inside = filesystem(folder)
    for at, folders, files in store.walk(inside, on_error=refused):
        yield store.unstrip_protocol(at), folders, files


def _walk_here(folder: str, refused: Callable[[OSError], object]) -> Iterator[tuple[str, list[str], list[str]]]:
    top, seen = os.path.realpath(folder), set[str]()
    for at, folders, files in os.walk(folder, onerror=refused, followlinks=True):
        if (real := os.path.realpath(at)) in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not _comes_anyway(os.path.join(at, name), top)]
        yield at, folders, files


def _comes_anyway(path: str, top: str) -> bool:
    """Whether a path is a link to a folder that a walk from the top meets by its own name, or to one around it."""
    if not os.path.islink(path):
        return False
    inside = os.path.relpath(os.path.realpath(path), top)
    # The walk passes over dot folders, so what is linked in them does not come by its own name.
    return set(inside.split(os.sep)) <= {".", ".."} or not any(part.startswith(".") for part in inside.split(os.sep))


def open_file(path: str) -> BinaryIO:
    """A file to read, with random access; OSError where that cannot be."""
    if not is_url(path):
        return open(path, "rb")
    store, inside = filesystem(path)
    return store.open(inside, "rb")


def read_part(path: str, offset: int = 0, length: int | None = None) -> bytes:
    """Bytes of a file from `offset` on, of a URL by one ranged request.

    OSError where the file is missing. A store that cannot be reached is an InputError: what it holds may be
    good, so nobody must take it for lost.
    """
    if not is_url(path):
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read(-1 if length is None else length)
    store, inside = filesystem(path)
    try:
        return store.cat_file(inside, offset, None if length is None else offset + length)
    except FileNotFoundError:
        raise
    except Exception as error:  # every store has errors of its own
        raise InputError(f"{path} cannot be read ({error}); once it can, the same command continues.") from error


def version(path: str) -> str:
    """A text that changes when a file is written again."""
    if not is_url(path):
        return str(Path(path).stat().st_mtime_ns)
    store, inside = filesystem(path)
    return str(store.ukey(inside))
