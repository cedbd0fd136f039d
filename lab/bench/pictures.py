"""Pictures opened at random from a large tar: by where their bytes lie, as a ledger says, and by tarfile."""

import io
import os
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from blip.data.images import decode_image, open_image
from blip.data.pairs import ImageRef, Pair
from blip.data.tar_members import tar_members
from blip.errors import InputError
from lab.bench.alone import alone

_DRAWN, _SIDE, _GRAIN = 32, 384, 24
_QUALITY = 80
_COPY = 2**20


def measure(folder: Path, size: int, pictures: int, seed: int) -> dict[str, Any]:
    """Write a tar of so many bytes, open so many of its pictures both ways from a cold cache, delete the tar.

    Both must give the same pictures. The tarfile that a picture at a time is opened with reads every header
    before it finds one; that is measured once, and told for all pictures.
    """
    path, start = folder / "pictures.tar", time.perf_counter()
    members = write_tar(path, size, seed)
    seconds = time.perf_counter() - start
    try:
        ways = _ways(path, min(pictures, members), seed)
    finally:
        path.unlink()
    return {"bytes": size, "members": members, "seconds_to_write_it": round(seconds, 1), **ways}


def write_tar(path: Path, size: int, seed: int) -> int:
    """A tar of at least so many bytes of drawn JPEG pictures, each many times; how many members it has."""
    rng, members = np.random.default_rng(seed), 0
    drawn = [drawn_jpeg(rng) for _ in range(_DRAWN)]
    with open(path, "wb", buffering=_COPY) as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            while tar.offset < size:
                member = tarfile.TarInfo(f"{members:09d}.jpg")
                data = drawn[int(rng.integers(_DRAWN))]
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
                members += 1
        file.flush()
        os.fsync(file.fileno())
    return members


def index(path: Path, pictures: int, seed: int) -> dict[str, list[str]]:
    """So many members of a tar at random: their names, and references as they stand in a ledger."""
    with open(path, "rb") as file:
        members = list(tar_members(file))
    chosen = [members[at] for at in np.random.default_rng(seed).choice(len(members), pictures, replace=False)]
    references = [str(ImageRef(str(path), member.offset, member.size)) for member in chosen]
    return {"names": [member.name for member in chosen], "references": references}


def by_reference(references: list[str]) -> dict[str, Any]:
    """Open each picture by its reference: the mean colors of all, and milliseconds a picture."""
    colors, clock = [], []
    for text in references:
        start = time.perf_counter()
        picture = open_image(Pair("", "", ImageRef.parse(text)))
        clock.append(time.perf_counter() - start)
        colors.append(_color(picture))
    return {"colors": colors, **_milliseconds(clock)}


def by_tarfile(path: Path, names: list[str]) -> dict[str, Any]:
    """The same by tarfile, which reads all headers first: seconds for that, then milliseconds a picture."""
    colors, clock, begun = [], [], time.perf_counter()
    with tarfile.open(path) as tar:
        tar.getmembers()
        seconds = time.perf_counter() - begun
        for name in names:
            start = time.perf_counter()
            member = tar.extractfile(name)
            if member is None:
                raise InputError(f"{name} in {path} is no file; give a tar of pictures.")
            picture = decode_image(member.read())
            clock.append(time.perf_counter() - start)
            colors.append(_color(picture))
    return {"colors": colors, "seconds_for_headers": round(seconds, 2), **_milliseconds(clock)}


def _ways(path: Path, pictures: int, seed: int) -> dict[str, Any]:
    _cool(path)
    walk = alone(index, path, pictures, seed)
    chosen = walk.pop("found")
    _cool(path)
    ours = alone(by_reference, chosen["references"])
    _cool(path)
    theirs = alone(by_tarfile, path, chosen["names"])
    same = ours["found"].pop("colors") == theirs["found"].pop("colors")
    each = theirs["found"]["seconds_for_headers"]
    sizes = [ImageRef.parse(text).length or 0 for text in chosen["references"]]
    return {
        "pictures": pictures,
        "bytes_of_the_pictures": sum(sizes),
        "walk over the headers, once": walk,
        "by reference": ours,
        "by tarfile, opened once": theirs,
        "by tarfile, opened for each picture": {"seconds_extrapolated": round(each * pictures, 1)},
        "same_pictures": same,
    }


def drawn_jpeg(rng: np.random.Generator, grain: float = _GRAIN) -> bytes:
    """Soft colors with the grain of a photo, about 50 kB. grain: its standard deviation, of 255."""
    soft = Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8)).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    noise = rng.normal(0, grain, (_SIDE, _SIDE, 3))
    pixels = np.clip(np.asarray(soft) + noise, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def _cool(path: Path) -> None:
    """Ask the system to forget what it holds of a file, so that the disk must bring it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)


def _color(picture: Image.Image) -> list[int]:
    return np.asarray(picture).sum(axis=(0, 1), dtype=np.int64).tolist()


def _milliseconds(clock: list[float]) -> dict[str, dict[str, float]]:
    middle, late, last = (1000 * float(np.quantile(clock, share)) for share in (0.5, 0.99, 1.0))
    return {"milliseconds_a_picture": {"median": round(middle, 3), "99 of 100": round(late, 3), "max": round(last, 3)}}
