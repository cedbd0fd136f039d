"""What a data set holds before a model reads it: pictures that open, texts, equal ones, and what cannot be used."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np

from blip.data.images import BadImage, decode_image
from blip.data.pairs import Pair, Reject, image_bytes, image_ref
from blip.data.pairset import PairSet
from blip.data.text import clean_caption, normalized_text_hash
from lab.datacard import length_summary, plain_reason
from lab.stages import READERS

SIDES = (224, 384)
"""Sides in pixels that the paper pre-trains and fine-tunes at: a picture with a shorter one is enlarged."""
_AT_ONCE = 1024  # images whose pictures are opened by threads before the next are asked for


@dataclass(frozen=True)
class Contents:
    """What `contents` found: counts as plain JSON values, and every input that cannot be used."""

    numbers: dict[str, Any]
    rejects: list[Reject]
    pictures: frozenset[bytes]
    """Hashes of the encoded pictures."""
    texts: frozenset[int]
    """Hashes of the captions, blind to case, spacing and marks."""


def contents(pairs: PairSet, progress: Callable[[int], None] = lambda done: None) -> Contents:
    """Open every picture and read every caption of a set; progress is told how many more images are done.

    Memory: a hash a picture and one a caption.
    """
    pictures, sides, unreadable = Counter[bytes](), [], []
    for pair, digest, side, reason in _looked(pairs):
        progress(1)
        if digest:
            pictures[digest] += 1
        if reason:
            unreadable.append(Reject(pair.key, image_ref(pair) or pair.key, reason))
        else:
            sides.append(side)
    rejects = [*pairs.rejects, *unreadable]
    texts, numbers = _texts(pairs)
    sources = None if pairs.shard_of_row is None else len(np.unique(pairs.shard_of_row))
    found = {
        "sources": sources,
        "images": len(pairs.images),
        "pictures": _pictures(sides, pictures) | {"unreadable": len(unreadable)},
        "captions": numbers,
        "renamed": pairs.renamed,
        "rejects": _reasons(rejects),
    }
    return Contents(found, rejects, frozenset(pictures), frozenset(texts))


def shared(one: Contents, other: Contents) -> dict[str, int]:
    """How many different pictures (byte for byte) and captions two sets have in common."""
    return {"pictures": len(one.pictures & other.pictures), "captions": len(one.texts & other.texts)}


def _looked(pairs: PairSet) -> Iterator[tuple[Pair, bytes, int, str]]:
    """Of each image its first pair, a hash of its bytes (b"" where there are none), its shorter side, and why it cannot be used."""
    images = pairs.images
    with ThreadPoolExecutor(READERS) as pool:
        for start in range(0, len(images), _AT_ONCE):
            part = list(images[start : start + _AT_ONCE])
            yield from ((pair, *found) for pair, found in zip(part, pool.map(_look, part), strict=True))


def _look(pair: Pair) -> tuple[bytes, int, str]:
    try:
        data = image_bytes(pair)
    except OSError as error:
        return b"", 0, BadImage(f"cannot be read: {error}").reason
    digest = sha256(data).digest()[:16]
    try:
        return digest, min(decode_image(data).size), ""
    except BadImage as error:
        return digest, 0, error.reason


def _pictures(sides: list[int], known: Counter[bytes]) -> dict[str, Any]:
    shown = np.array(sides)
    quantiles = {name: int(np.quantile(shown, at, method="lower")) if sides else None for name, at in _QUANTILES.items()}
    return {
        "readable": len(sides),
        "equal_to_an_earlier": sum(known.values()) - len(known),
        "shorter_side": quantiles,
        "smaller_than": {str(side): int((shown < side).sum()) for side in SIDES},
    }


_QUANTILES = {"least": 0.0, "median": 0.5, "most": 1.0}


def _texts(pairs: PairSet) -> tuple[Counter[int], dict[str, Any]]:
    known, first, words = Counter[int](), {}, Counter[int]()
    for pair in pairs.pairs:
        hashed = normalized_text_hash(pair.caption)
        known[hashed] += 1
        words[len(clean_caption(pair.caption, None).split())] += 1
        if known[hashed] == 2:  # only what comes again can be the most frequent one
            first[hashed] = pair.caption
    often = max(first, key=known.__getitem__, default=None)
    frequent = None if often is None else {"caption": first[often], "times": known[often]}
    with_text = len(np.unique(pairs.image_of_row[pairs.pairs.index]))
    return known, {
        "captions": len(pairs),
        "different": len(known),
        "most_often": frequent,
        "words": length_summary(words),
        "images_without": len(pairs.images) - with_text,
    }


def _reasons(rejects: list[Reject]) -> list[dict[str, Any]]:
    """Rejects by kind and reason, the most frequent first, each with the place of its first."""
    counts, first = Counter[tuple[str, str]](), dict[tuple[str, str], str]()
    for one in rejects:
        name = one.kind, plain_reason(one.reason)
        counts[name] += 1
        missing = _MISSING.fullmatch(one.reason)  # its ref is the row of a table
        first.setdefault(name, missing.group(1) if missing else one.ref)
    return [
        {"kind": kind, "reason": reason, "count": count, "first": first[kind, reason]}
        for (kind, reason), count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


_MISSING = re.compile(r"the file (.*) is missing")
