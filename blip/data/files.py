"""Files that appear whole or not at all, and names for images in them."""

import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from blip.errors import InputError

IMAGE_EXTENSIONS = frozenset(
    ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "jp2", "ppm")
)

_UNFINISHED = ".unfinished"
_LONGEST_NAME = 200  # bytes, of the 255 that disks allow: numbers, extensions and process ids come after
_TOGETHER = 1024  # files that are synced together
_SYNCERS = 16  # threads that wait for the disk, which then writes many files at once
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d+)")
_STANDARD = {"/dev/stdout": 1, "/dev/stderr": 2}
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

    Where the block fails nothing is left; a full disk, or a place where nothing can be written, is an InputError.
    A device, a pipe or an open file (/dev/fd/N) stays what it is, and is handed the whole when the block ends.
    """
    path = Path(path)
    if (stream := _stream(path)) is not None:
        with _handing_over(path, stream) as file:
            yield file
        return
    waiting: dict[Path, Path] = {}
    with _or_nothing(path.parent, waiting):
        unfinished = _begin(path, waiting)
        with open(unfinished, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
        _sync(path.parent)


@contextmanager
def replacing_many(folder: Path) -> Iterator[Callable[[str, bytes], None]]:
    """A function that writes files below a folder, by names there, each whole or not at all.

    They are synced many together, which is faster than one by one, and only then take their places,
    the last when the block ends. Where it fails, those that have not are deleted; a full disk, or a place where
    nothing can be written, is an InputError.
    """
    waiting: dict[Path, Path] = {}

    def write(name: str, data: bytes) -> None:
        with open(_begin(folder / name, waiting), "wb") as file:
            file.write(data)
        if len(waiting) == _TOGETHER:
            _place(waiting)

    with _or_nothing(folder, waiting):
        yield write
        _place(waiting)


def reserve(path: str | Path) -> bool:
    """Create an empty file, which of several writers at the same moment one alone can; False where there is one.

    A full disk, or a place where nothing can be written, is an InputError.
    """
    path = Path(path)
    with _refusing(path.parent, {path: path}):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except FileExistsError:
            return False
    return True


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


def free_name(key: str, taken: set[str], reserved: AbstractSet[str] = frozenset()) -> str:
    """A file name for a key, not in `taken` yet (adds it) nor `reserved`; without dots, which end a tar's key.

    Names of folders and files in it are cut to 200 bytes.
    """
    plain = key.strip("/").replace(".", "_").replace("\0", "_")
    stem = "/".join(map(_cut, plain.split("/"))) or "image"
    name, number = stem, 1
    while name in taken or name in reserved:
        number += 1
        name = f"{stem}~{number}"
    taken.add(name)
    return name


def _cut(name: str) -> str:
    whole = name.encode("utf-8", "surrogatepass")
    if len(whole) <= _LONGEST_NAME:
        return name
    return whole[:_LONGEST_NAME].decode("utf-8", "ignore")


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)  # sends nothing
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def _begin(path: Path, waiting: dict[Path, Path]) -> Path:
    """The name under which a file is written; `waiting` maps it to its own name until it has that.

    No two are alike, so that threads, and machines with equal process ids, may write the same file.
    """
    name = os.fsencode(path.name)
    short = path.name if len(name) <= _LONGEST_NAME else hashlib.sha256(name).hexdigest()
    unfinished = path.with_name(f".{short}.{secrets.token_hex(4)}.{os.getpid()}{_UNFINISHED}")
    waiting[unfinished] = path
    path.parent.mkdir(parents=True, exist_ok=True)
    return unfinished


def _stream(path: Path) -> Path | int | None:
    """What to open to write into what is no file of its own: a path, or the number of an open one; else None."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return _STANDARD.get(str(path))
    if (opened := _DESCRIPTOR.fullmatch(str(path))) is not None:
        return int(opened[1])
    special = not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)
    return _STANDARD.get(str(path), path if special else None)


@contextmanager
def _handing_over(path: Path, stream: Path | int) -> Iterator[BinaryIO]:
    """A scratch file, for a pipe can neither be read again nor take anything back, that goes to a stream in the end."""
    with tempfile.TemporaryFile() as scratch:
        with _or_nothing(Path(tempfile.gettempdir()), {}):
            yield scratch
        scratch.seek(0)
        # A duplicate, so that whoever holds the open file goes on where this ends.
        with _or_nothing(path, {}), open(os.dup(stream) if isinstance(stream, int) else stream, "wb") as out:
            shutil.copyfileobj(scratch, out)


def _place(waiting: dict[Path, Path]) -> None:
    with ThreadPoolExecutor(_SYNCERS) as pool:
        list(pool.map(_sync, waiting))
    for unfinished, path in waiting.items():
        os.replace(unfinished, path)
    for folder in {path.parent for path in waiting.values()}:
        _sync(folder)
    waiting.clear()


@contextmanager
def _or_nothing(folder: Path, waiting: dict[Path, Path]) -> Iterator[None]:
    """Where the block fails, what waits for its place is deleted; what the disk refuses is an InputError."""
    with _refusing(folder, waiting):
        try:
            yield
        except BaseException:
            for unfinished in waiting:
                with suppress(OSError):  # what could not be begun cannot be deleted either
                    unfinished.unlink()
            raise


@contextmanager
def _refusing(folder: Path, waiting: dict[Path, Path]) -> Iterator[None]:
    """Within it, what the disk refuses of the files that wait for their places is an InputError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(
                f"the disk of {folder} is full: free some space and start again."
            ) from error
        if sentence := _refusal(error, waiting):
            raise InputError(sentence) from error
        raise


def _refusal(error: OSError, waiting: dict[Path, Path]) -> str:
    """What the system refused of the files that wait for their places; "" where it was another file."""
    if not isinstance(error.filename, str | Path):
        return ""
    refused = Path(error.filename)
    for unfinished, path in waiting.items():
        if refused == unfinished or refused in path.parents:
            reason = "Not a directory" if isinstance(error, FileExistsError) else error.strerror
            place = "" if refused == unfinished else f": {refused}"
            return f"{path} cannot be written ({reason}{place}): give another place, or the right to write there."
    return ""


def _sync(path: Path) -> None:
    """A file or a folder, so that a power cut does not lose it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
