"""`lab ledger embed`: the search index of a ledger, for the room Search of the studio."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from tyro.conf import Positional, arg

from blip.capfilt import Ledger
from blip.checkpoint import Loaded
from blip.data.images import BadImage, open_image
from blip.data.pairs import ImageRef, Pair, image_sha256
from blip.data.text import clean_caption
from blip.errors import InputError
from blip.matching import MAX_TOKENS, Matcher
from blip.precision import precision
from blip.tasks.ranking import text_features
from lab.inference import Machine, Weights
from lab.ledgers import standing, world_images
from lab.progress import images_bar
from lab.reading import Reading
from lab.search_index import FOLDER, About, distinct, image_features, shards_digest, write_index

_AT_ONCE = 1024  # texts that are tokenized together


@dataclass(frozen=True, kw_only=True)
class Options:
    """Index a ledger's images and captions by their ITC features, so that lab studio can search it."""

    ledger: Annotated[Path, Positional, arg(metavar="LEDGER")]
    """Folder of the ledger."""
    weights: Weights
    """A filter, a retrieval model or a pre-trained model: with ITC for the shortlist and ITM to re-rank it."""
    out: Path | None = None
    """Folder of the index; by default search in the ledger's folder, where lab studio looks for it."""
    data: str | None = None
    """The pairs again, for a ledger that does not say where its images lie, or whose images have moved.
    Those of lab demo are drawn again."""
    reading: Reading = field(default_factory=Reading)
    """How a table of them is read."""
    machine: Machine = field(default_factory=Machine)
    """How the model runs."""


def main(options: Options) -> int:
    """Write the index, and say what could not be read."""
    ledger = standing(options.ledger)
    rows = ledger.table("candidates", ["image_key", "image_sha256", "image_ref", "caption"])
    if not len(rows):
        raise InputError(f"The ledger in {options.ledger} holds no captions yet; run lab capfilt first.")
    loaded, machine = options.weights.load(options.machine.device), options.machine
    model = Matcher(loaded, device=machine.device, dtype=machine.precision)
    images = _images(model, _homes(rows), _elsewhere(options, ledger), machine)
    texts, text_of_row = distinct(map(clean_caption, rows["caption"].to_pylist()))
    unread = int(np.isnan(images[:, 0]).sum())
    if unread == len(images):
        raise InputError("No image of the ledger can be read; give the data where it lies now (--data).")
    about = About(
        model=loaded.fingerprint,
        weights=_absolute(options.weights.weights),
        vocab=str(options.weights.vocab.resolve()) if options.weights.vocab else None,
        image_size=options.weights.image_size,
        shards=shards_digest(ledger),
        unread=unread,
    )
    out = options.out or options.ledger / FOLDER
    write_index(out, about, {"images": images, "texts": _texts(loaded, texts, machine), "text_of_row": text_of_row})
    print(f"{len(images):,} images, {len(texts):,} different texts, {unread:,} images unread: {out}")
    place = "" if options.out is None else f" --search-index {out}"
    print(f"search it with: lab studio {options.ledger}{place}")
    return 0


def _homes(rows: pa.Table) -> list[Pair]:
    """The images in the ledger's order, each once; the caption holds the hash of its bytes."""
    first: dict[str, Pair] = {}
    columns = (rows[name].to_pylist() for name in ("image_key", "image_ref", "image_sha256"))
    for key, ref, sha256 in zip(*columns, strict=True):
        if key not in first:
            first[key] = Pair(key, sha256, ImageRef.parse(ref))
    return list(first.values())


def _elsewhere(options: Options, ledger: Ledger) -> Mapping[str, Pair]:
    """Pairs by image key, where the ledger's own references do not do."""
    if options.data is not None:
        return {pair.key: pair for pair in options.reading.pairs(options.data).images}
    return world_images(ledger) or {}


def _images(model: Matcher, homes: Sequence[Pair], elsewhere: Mapping[str, Pair], machine: Machine) -> np.ndarray:
    """Features (I, E) float32; NaN where a picture cannot be read or is no longer the one that was captioned."""
    features = np.full((len(homes), model.model.config.embed_dim), np.nan, np.float32)
    with images_bar(len(homes), "embed") as show:
        for start, pictures in _prepared(model, homes, elsewhere, machine):
            read = {start + place: picture for place, picture in enumerate(pictures) if picture is not None}
            if read:
                stacked = torch.stack(list(read.values())).to(machine.device)
                features[list(read)] = image_features(model, stacked)
            show(len(pictures))
    return features


def _prepared(
    model: Matcher, homes: Sequence[Pair], elsewhere: Mapping[str, Pair], machine: Machine
) -> Iterator[tuple[int, list[Tensor | None]]]:
    """Batches with the number of their first image: what the model reads of each, None where that is nothing."""

    def prepare(home: Pair) -> Tensor | None:
        pair = elsewhere.get(home.key, home)
        try:
            same = image_sha256(pair) == home.caption
            return model.prepare(open_image(pair)) if same else None
        except (BadImage, OSError):
            return None

    with ThreadPoolExecutor(machine.workers) as pool:
        for start in range(0, len(homes), machine.batch):
            yield start, list(pool.map(prepare, homes[start : start + machine.batch]))


def _texts(loaded: Loaded, texts: Sequence[str], machine: Machine) -> np.ndarray:
    """Features (T, E) float32 of cleaned texts."""
    parts = []
    for start in range(0, len(texts), _AT_ONCE):
        tokens = loaded.tokenizer(list(texts[start : start + _AT_ONCE]), MAX_TOKENS).to(machine.device)
        with precision(torch.device(machine.device), machine.precision):
            parts.append(text_features(loaded.model, tokens).cpu().numpy())
    return np.concatenate(parts)


def _absolute(weights: str) -> str:
    """The weights as they are found from any folder."""
    return str(Path(weights).resolve()) if Path(weights).exists() else weights
