"""Fingerprints of pairs by what they hold: a run over other pictures or captions is another run, wherever they lie."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from blip.data.benchmarks.captions import CaptionedImage
from blip.data.pairs import Pair, image_ref, image_sha256
from blip.data.pairset import PairSet, Selection
from blip.errors import InputError
from lab.stages import READERS

_IMAGES_A_READ = 4096


def image_digests(images: Sequence[Pair] | Selection, place: str) -> list[str]:
    """SHA-256 of each image, "" where it cannot be read; InputError where none can."""
    with ThreadPoolExecutor(READERS) as pool:
        found = list(pool.map(_digest, images))
    if not any(found):
        where = image_ref(images[0]) or images[0].key
        raise InputError(f"None of the {len(found)} images of {place} can be read; check the paths, the first is {where}.")
    return found


def pairs_print(pairs: PairSet, digests: Sequence[str]) -> str:
    """16 hex digits of the hash of keys, image bytes (by their digests) and captions, in order; it knows no folder."""
    return _print(_rows(pairs, digests))


def images_print(images: Sequence[CaptionedImage], place: str) -> str:
    """The same of images with their captions; InputError as `image_digests`."""
    digests = image_digests([Pair(str(one.image_id), "", one.image) for one in images], place)
    return _print((str(one.image_id), digest, one.captions) for one, digest in zip(images, digests, strict=True))


def _rows(pairs: PairSet, digests: Sequence[str]) -> Iterator[tuple[str, str, list[str]]]:
    total = len(pairs.images)
    for start in range(0, total, _IMAGES_A_READ):
        rows = pairs.with_captions(range(start, min(start + _IMAGES_A_READ, total)))
        for (first, own), digest in zip(rows, digests[start : start + _IMAGES_A_READ], strict=True):
            yield first.key, digest, [pair.caption for pair in own]


def _print(rows: Iterable[tuple[str, str, Sequence[str]]]) -> str:
    found = hashlib.sha256()
    for row in rows:
        found.update(json.dumps(row).encode() + b"\n")
    return found.hexdigest()[:16]


def _digest(pair: Pair) -> str:
    try:
        return image_sha256(pair)
    except OSError:
        return ""
