"""Pictures of one's own pairs: which cannot be opened, and which are trained on and measured on at once."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import numpy as np

from blip.data.images import BadImage, open_image
from blip.data.pairs import ImageRef, Pair
from blip.data.places import is_url
from blip.distributed import from_all, own_rows
from lab.stages import READERS

Picture = ImageRef | bytes | np.ndarray
_COMPARED = 100_000  # training images up to which pictures of one size are compared byte by byte


def unreadable(pairs: Sequence[Pair]) -> dict[int, str]:
    """Of pairs whose picture cannot be opened the reason, by their number; each is decoded once, by one process of several."""
    own = own_rows(len(pairs))
    with ThreadPoolExecutor(READERS) as pool:
        faults = from_all(list(pool.map(_fault, pairs[own.start : own.stop])))
    return {number: reason for number, reason in enumerate(faults) if reason}


def known(shown: Sequence[Picture], measured: Sequence[Picture]) -> list[int]:
    """Numbers of the measured pictures that are among those shown in training.

    One is known by its place: its file, and its bytes in a tar or its row in a table. Up to 100,000 training images it
    is known by its bytes too, wherever it lies: of all files only those are read that are as long as one of the other
    set. Pictures in Parquet tables and behind URLs are compared by place alone.
    """
    places = {_place(one) for one in shown if isinstance(one, ImageRef)}
    found = {number for number, one in enumerate(measured) if isinstance(one, ImageRef) and _place(one) in places}
    if len(shown) <= _COMPARED:
        digests = set(_digests(shown, set(map(_length, measured))).values())
        own = _digests(measured, set(map(_length, shown)))
        found |= {number for number, digest in own.items() if digest in digests}
    return sorted(found)


def _fault(pair: Pair) -> str:
    try:
        open_image(pair)
    except BadImage as error:
        return error.reason
    return ""


def _place(ref: ImageRef) -> ImageRef:
    return ref if is_url(ref.path) else ImageRef(os.path.realpath(ref.path), ref.offset, ref.length, ref.column)


def _length(picture: Picture) -> int | None:
    """Bytes of an encoded picture; None where only reading it would tell."""
    if isinstance(picture, bytes):
        return len(picture)
    if not isinstance(picture, ImageRef) or picture.column is not None or is_url(picture.path):
        return None
    if picture.length is not None:
        return picture.length
    try:
        return os.path.getsize(picture.path) - picture.offset
    except OSError:
        return None


def _digests(pictures: Sequence[Picture], lengths: set[int | None]) -> dict[int, bytes]:
    """SHA-256 by number, of the pictures that can be read and have one of these lengths."""
    wanted = [number for number, one in enumerate(pictures) if _length(one) in lengths - {None}]
    with ThreadPoolExecutor(READERS) as pool:
        found = pool.map(_digest, (pictures[number] for number in wanted))
        return {number: digest for number, digest in zip(wanted, found, strict=True) if digest}


def _digest(picture: Picture) -> bytes:
    if isinstance(picture, np.ndarray):
        return b""
    try:
        return sha256(picture.read() if isinstance(picture, ImageRef) else picture).digest()
    except OSError:
        return b""
