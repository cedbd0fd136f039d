"""Images with captions, for retrieval and captioning: your own pairs, a benchmark's file, or the generated world."""

import os
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from blip.data.benchmarks.captions import (
    CaptionedImage,
    Split,
    caption_pairs,
    read_caption_list,
    read_karpathy,
    read_nocaps,
)
from blip.data.benchmarks.reading import Identity, read_json
from blip.data.loading import Source
from blip.data.pairs import ImageRef, Pair, Reject, image_ref
from blip.data.pairset import PairSet
from blip.data.places import is_url, local
from blip.data.readers import read_pairs
from blip.data.sources import PhotoSource
from blip.data.text import clean_caption
from blip.data.transforms import FINETUNE_SCALE, train_transform
from blip.errors import InputError
from lab.own_pictures import unreadable
from lab.reading import several
from lab.sources import array_source
from lab.world.scene import Scene
from lab.world.sets import World, WorldPair

WORLD_PAIRS = 8_000  # human-annotated pairs that the generated task trains on, two a scene
WORLD_SCENES = 400  # held-out scenes of a domain, of which the distinct ones are evaluated on


@dataclass(frozen=True, kw_only=True)
class Material:
    """Where images and captions come from: --data or --world."""

    data: str | None = None
    """Pairs: a CSV, TSV, JSON, JSONL or Parquet table of image and caption, tars ('shards/*.tar', quoted), or a
    folder of images with .txt files. With --images a .json is the benchmark's own file: dataset_coco.json or
    dataset_flickr30k.json (Karpathy's), the published coco_karpathy_*.json and flickr30k_*.json, or NoCaps."""
    images: str | None = None
    """Folder that the image paths of --data start from; by default the folder of the file. Karpathy's file is known
    without it."""
    image_column: str | None = None
    """Column of a table, of --val too, with the image path or bytes; of several, parted by commas, the first that a
    table has; by default one of a usual name (image, path, file_name, ...)."""
    caption_column: str | None = None
    """Column of a table, of --val too, with the caption, or several as above; by default one of a usual name (caption,
    captions, text, title)."""
    world: str | None = None
    """The generated task in place of --data: nano, tiny, small, medium or rich."""

    @property
    def place(self) -> str:
        """Where they come from, for a sentence."""
        return self.data or f"--world {self.world}"

    def read(self, data: str) -> PairSet:
        """The pairs of a table, of tars or of a folder."""
        columns = several(self.image_column), several(self.caption_column)
        return read_pairs(data, image_root=self.images, image_column=columns[0], caption_column=columns[1])


@dataclass(frozen=True)
class Training:
    """Pairs to train on: all their captions and the keys of their images, and what a loader reads at an image size."""

    texts: list[str]
    keys: list[str]
    source: Callable[[int], Source]
    rejects: Sequence[Reject] = ()
    pairs: PairSet | Sequence[Pair] = ()
    """What is read from files; nothing in the generated world."""

    @property
    def images(self) -> list[ImageRef | bytes | np.ndarray]:
        """Every image of the pairs, once."""
        firsts = self.pairs.images if isinstance(self.pairs, PairSet) else {one.key: one for one in self.pairs}.values()
        return [pair.image for pair in firsts]


@dataclass(frozen=True)
class Gallery:
    """Images to evaluate on, with their captions; in the generated world their scenes as well.

    rejects: rows of the data that could not be used; their images or captions are not among them.
    """

    images: list[CaptionedImage]
    scenes: tuple[Scene, ...] = ()
    rejects: Sequence[Reject] = ()

    def texts(self) -> Iterator[str]:
        """The captions of all images, image by image."""
        return (caption for image in self.images for caption in image.captions)

    def left_out(self) -> list[str]:
        """What a user must know where rows were not used: how many, and why the first."""
        return [f"not among them: {unused_line(self.rejects)}"] if self.rejects else []


def training(material: Material) -> Training:
    """The training pairs: all of --data (of Karpathy's file its training split), or human-annotated world pairs."""
    place = _place(material)
    if isinstance(place, World):
        items = place.human(WORLD_PAIRS, captions_each=2)
        return Training([item.caption for item in items], [item.key for item in items], partial(array_source, items))
    if _is_benchmark(place, material):
        pairs: PairSet | Sequence[Pair] = caption_pairs(_benchmark(place, material, "train"))
    else:
        pairs = material.read(place)
    if not len(pairs):
        raise InputError(f"{material.data} has no pair that can be used: {_why(pairs)}.")
    told = [(clean_caption(pair.caption), pair.key) for pair in pairs]
    rejects = pairs.rejects if isinstance(pairs, PairSet) else ()
    texts, keys = map(list, zip(*told, strict=True))
    return Training(texts, keys, lambda px: PhotoSource(pairs, train_transform(px, FINETUNE_SCALE)), rejects, pairs)


def unused(pairs: Training, source: Source) -> list[Reject]:
    """What could not be used for training: rows that were refused, and pictures that could not be opened."""
    return [*pairs.rejects, *(source.rejects if isinstance(source, PhotoSource) else ())]


def unused_line(rejects: Sequence[Reject]) -> str:
    """How much could not be used, and why the first of it."""
    first = f", the first: {rejects[0].ref}: {rejects[0].reason}" if rejects else ""
    return f"{len(rejects)} rejects{first}"


def gallery(
    material: Material, image_size: int, *, split: Split = "test", domains: Sequence[str] = ("all",)
) -> Gallery:
    """The images to evaluate on: all of --data (of Karpathy's file one split), or held-out scenes drawn at image_size."""
    place, domain_of = _place(material), len(domains) > 1
    if not isinstance(place, World):
        return captioned(place, material, split)
    items = [(item, domain) for domain in domains for item in distinct(place.evaluation(WORLD_SCENES, domain))]
    images = [
        CaptionedImage(item.key, item.image(image_size), item.references, f"{domain}-domain" if domain_of else None)
        for item, domain in items
    ]
    return Gallery(images, tuple(item.scene for item, _ in items))


def validation(material: Material, val: str | None, image_size: int) -> Gallery | None:
    """What a training is measured on: the images of --val (of Karpathy's file the split val), else held-out scenes."""
    if val is not None:
        return captioned(val, material, "val")
    return gallery(material, image_size) if material.world is not None else None


def captioned(data: str, material: Material, split: Split) -> Gallery:
    """Images with all their captions from any file; of your own pairs one is known by its key, in COCO's form by its id.

    material: where its images lie and which columns a table has; its own pairs are not looked at. Every picture of your
    own pairs is opened once, and one that cannot be opened is a reject as a missing one is; a benchmark stays whole.
    """
    if _is_benchmark(data, material):
        return Gallery(_benchmark(data, material, split))
    pairs, ids = material.read(data), _coco_ids(data)
    images = pairs.with_captions(range(len(pairs.images)))
    broken = unreadable([first for first, _ in images])
    found = [
        CaptionedImage(ids.get(first.key, first.key), first.image, tuple(pair.caption for pair in own))
        for number, (first, own) in enumerate(images)
        if number not in broken
    ]
    # An image without a caption is no reject where there are no captions at all.
    rejects = [reject for reject in pairs.rejects if reject.kind != "text" or len(pairs)]
    for number, reason in broken.items():
        first, own = images[number]
        rejects += [Reject(first.key, image_ref(first) or first.key, reason)] * max(1, len(own))  # one a pair, as of a missing file
    if not found:
        raise InputError(f"{data} has no image that can be used: {unused_line(rejects) if rejects else _why(pairs)}.")
    return Gallery(found, rejects=rejects)


def distinct(items: Sequence[WorldPair]) -> list[WorldPair]:
    """The items of which no two show the same things before the same background, wherever they stand.

    Texts need not say where, so that of two such pictures no text could tell which is meant.
    """
    seen: dict[Hashable, WorldPair] = {}
    for item in items:
        looks = sorted(thing.look for thing in item.scene.things)
        seen.setdefault((item.scene.background, *looks), item)
    return list(seen.values())


def _place(material: Material) -> World | str:
    """The generated world, or the file or folder of pairs."""
    if material.data is not None and material.world is None:
        return material.data
    if material.world is not None and material.data is None:
        return World.of(material.world)
    raise InputError("Images with captions come from --data or from --world; give one of the two.")


def _is_benchmark(data: str, material: Material) -> bool:
    """Whether a file is a benchmark's own: the folder of its images was given, or it is Karpathy's.

    Without a look the images of Karpathy's test split would be trained on, and all splits would be evaluated on.
    """
    if material.images is not None:
        return Path(data).suffix == ".json"
    content = _json_object(data)
    return content is not None and {"split", "sentences"} <= _first(content).keys()


def _coco_ids(data: str) -> dict[str, Identity]:
    """Ids by the keys of images, of a COCO captions file: what COCO's tools and servers know an image by."""
    content = _json_object(data)
    if content is None or not isinstance(content.get("images"), list):
        return {}
    images = [one for one in content["images"] if isinstance(one, dict) and isinstance(one.get("file_name"), str)]
    return {os.path.splitext(one["file_name"])[0]: one["id"] for one in images if isinstance(one.get("id"), (int, str))}


def _json_object(data: str) -> dict[str, Any] | None:
    """The object that a .json file holds; None of all else, and of what cannot be read (the reader of pairs says why)."""
    if Path(data).suffix != ".json":
        return None
    try:
        content = read_json(data)
    except InputError:
        return None
    return content if isinstance(content, dict) else None


def _first(content: Any) -> Mapping[str, Any]:
    """The first image of a benchmark's file."""
    rows = content.get("images") if isinstance(content, dict) else content
    return rows[0] if isinstance(rows, list) and rows and isinstance(rows[0], dict) else {}


def _benchmark(data: str, material: Material, split: Split) -> list[CaptionedImage]:
    """The form of a benchmark's file by what it holds; its images lie beside it where no folder was given."""
    images = material.images or (os.path.dirname(data) if is_url(data) else str(Path(local(data)).parent))
    content = read_json(data)
    first = _first(content)
    if "split" in first:
        return read_karpathy(data, images, split)
    if isinstance(content, list) and "img_id" not in first:
        return read_caption_list(data, images)
    return read_nocaps(data, images)


def _why(pairs: PairSet | Sequence[Pair]) -> str:
    if isinstance(pairs, PairSet) and len(pairs.rejects):
        return unused_line(pairs.rejects)
    return "give a file with images and captions"
