"""COCO, Flickr30K and NoCaps: images with the captions that people wrote (paper 5.1 and 5.2).

Two forms of each: the benchmark's own file, and the lists that BLIP's authors published.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from blip.data.benchmarks.reading import (
    Identity,
    Row,
    by_identity,
    image_at,
    read_json,
    read_object,
    read_results,
    read_rows,
    write_results,
)
from blip.data.pairs import ImageRef, Pair
from blip.data.places import Place
from blip.errors import InputError

Split = Literal["train", "val", "test"]

# The published training set of COCO (113k images) holds the rest of COCO's own validation set too.
_MEMBERS = {"train": ("train", "restval"), "val": ("val",), "test": ("test",)}
_LAST_NUMBER = re.compile(r"(\d+)$")


@dataclass(frozen=True)
class CaptionedImage:
    """An image, its id in the benchmark, and its captions (none where they are not public).

    `image` is what a `Pair` may hold: a reference, encoded bytes, or pixels (H,W,3) uint8 (the generated world).
    `domain` is that of NoCaps: in-domain, near-domain or out-domain.
    """

    image_id: Identity
    image: ImageRef | bytes | np.ndarray
    captions: tuple[str, ...]
    domain: str | None = None


def read_karpathy(path: Place, image_root: Place, split: Split) -> list[CaptionedImage]:
    """One split of Karpathy's `dataset_coco.json` or `dataset_flickr30k.json`; train includes restval.

    Image files are `image_root/filepath/filename` (Flickr30K has no filepath).
    """
    members = [
        row for row in read_object(path).rows("images", "image") if row.text("split") in _MEMBERS[split]
    ]
    if not members:
        raise InputError(f"{path} has no image of the split {split!r}; give the file with all splits.")
    ids = by_identity(members, "cocoid" if members[0].has("cocoid") else "imgid")
    return [
        CaptionedImage(
            identity,
            image_at(image_root, [_file(row)], row),
            tuple(sentence.text("raw") for sentence in row.rows("sentences", "sentence")),
        )
        for identity, row in ids.items()
    ]


def read_caption_list(path: Place, image_root: Place) -> list[CaptionedImage]:
    """A published list: `coco_karpathy_{train,val,test}.json` or `flickr30k_{train,val,test}.json`.

    A training row has one caption, so rows of one image are joined, in reading order; the others have a list.
    The image id is the number that ends the file name (COCO's own id), as in the published evaluation.
    """
    rows: dict[str, Row] = {}
    captions: dict[str, list[str]] = {}
    for row in read_rows(path):
        name = row.text("image")
        rows.setdefault(name, row)
        captions.setdefault(name, []).extend(row.texts("caption"))
    names: dict[Identity, str] = {}
    for name, row in rows.items():
        if (identity := number_of(name)) in names:
            raise InputError(
                f"{row.where}: {name} has the id {identity!r} of {names[identity]}; rename one of them."
            )
        names[identity] = name
    return [
        CaptionedImage(identity, image_at(image_root, [name], rows[name]), tuple(captions[name]))
        for identity, name in names.items()
    ]


def read_nocaps(path: Place, image_root: Place) -> list[CaptionedImage]:
    """NoCaps: its own JSON (captions and domains in val, no captions in test) or the published list.

    The published `nocaps_{val,test}.json` has neither captions nor domains: its results go to the server.
    """
    content = read_json(path)
    if isinstance(content, list):
        listed = by_identity(read_rows(path), "img_id")
        return [
            CaptionedImage(identity, image_at(image_root, [row.text("image")], row), ())
            for identity, row in listed.items()
        ]
    whole = read_object(path)
    images = by_identity(whole.rows("images", "image"), "id")
    captions = _captions_of(whole, images) if whole.has("annotations") else {}
    return [
        CaptionedImage(
            identity,
            image_at(image_root, [row.text("file_name")], row),
            tuple(captions.get(identity, ())),
            row.text("domain") if row.has("domain") else None,
        )
        for identity, row in images.items()
    ]


def read_references(path: Place) -> dict[Identity, tuple[str, ...]]:
    """Captions by image id from a COCO captions file, such as the published `coco_karpathy_test_gt.json`."""
    whole = read_object(path)
    captions = _captions_of(whole, by_identity(whole.rows("images", "image"), "id"))
    return {identity: tuple(own) for identity, own in captions.items()}


def caption_pairs(images: Iterable[CaptionedImage]) -> list[Pair]:
    """One human-annotated pair for each caption; its key is the image id."""
    return [
        Pair(str(image.image_id), caption, image.image, origin="human")
        for image in images
        for caption in image.captions
    ]


def captions_and_images(images: Sequence[CaptionedImage]) -> tuple[list[str], list[int]]:
    """All T captions, image by image, and for each the row of its image, as retrieval is scored."""
    texts = [caption for image in images for caption in image.captions]
    return texts, [row for row, image in enumerate(images) for _ in image.captions]


def write_captions(path: str | Path, captions: Iterable[tuple[Identity, str]]) -> None:
    """The result file of the COCO and NoCaps servers: image_id, caption. InputError for a doubled id."""
    rows = [{"image_id": identity, "caption": caption} for identity, caption in captions]
    write_results(path, rows, "image_id")


def read_captions(path: Place) -> list[tuple[Identity, str]]:
    """Image ids and captions of a result file."""
    return [(row.identity("image_id"), row.text("caption")) for row in read_results(path, "image_id")]


def number_of(name: str) -> Identity:
    """The number that ends a file's name (391895 of COCO_val2014_000000391895.jpg), else the name's stem."""
    stem = Path(name).stem
    number = _LAST_NUMBER.search(stem)
    return int(number.group(1)) if number else stem


def _file(row: Row) -> str:
    folder = row.text("filepath") + "/" if row.has("filepath") else ""
    return folder + row.text("filename")


def _captions_of(whole: Row, images: Mapping[Identity, Row]) -> dict[Identity, list[str]]:
    found: dict[Identity, list[str]] = {}
    for row in whole.rows("annotations", "annotation"):
        identity = row.identity("image_id")
        if identity not in images:
            raise InputError(f"{row.where}: the image {identity!r} is not in 'images'; add it there.")
        found.setdefault(identity, []).append(row.text("caption"))
    return found
