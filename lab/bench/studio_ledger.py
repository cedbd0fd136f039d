"""What `lab bench studio` opens: large simulated ledgers whose pictures really open, and a search index of drawn features."""

import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from blip.capfilt import Ledger
from blip.data.pairs import ImageRef
from blip.data.tar_members import tar_members
from blip.data.text import clean_caption
from lab.bench.pictures import drawn_jpeg
from lab.bench.simulated_ledger import EACH, simulate
from lab.search_index import FOLDER, About, distinct, shards_digest, write_index
from lab.weights import WEIGHTS, shipped

_GRAIN = 8
"""With it a thumbnail has a third of a byte a pixel, as those of real photos (0.41 for Flickr8k at 128 pixels, less if larger)."""


def write_ledgers(folder: Path, rows: int, pictures: int, seed: int) -> tuple[Path, Path]:
    """Two ledgers of the same images, with other captions and scores, about `rows` captions each.

    So many different pictures stand for all images. The first ledger has an index for the room Search.
    """
    places = write_pictures(folder / "pictures.tar", pictures, seed)
    first, second = folder / "first", folder / "second"
    _write_index(simulate(first, rows // EACH, seed, pictures=places), seed)
    simulate(second, rows // EACH, seed + 1, pictures=places)
    return first, second


def write_pictures(path: Path, count: int, seed: int) -> pa.Table:
    """A tar of different drawn JPEG pictures: ref and sha256 of each, as ledgers have them."""
    rng, hashes = np.random.default_rng(seed), []
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number in range(count):
            data = drawn_jpeg(rng, _GRAIN)
            member = tarfile.TarInfo(f"{number:09d}.jpg")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
            hashes.append(hashlib.sha256(data).hexdigest())
    with open(path, "rb") as file:
        refs = [str(ImageRef(str(path), member.offset, member.size)) for member in tar_members(file)]
    return pa.table({"ref": refs, "sha256": hashes})


def _write_index(ledger: Ledger, seed: int) -> None:
    """An index for the weights that came with the package; its features are drawn, so that it finds just anything."""
    rows = ledger.table("candidates", ["image_key", "caption"])
    texts, text_of_row = distinct(map(clean_caption, rows["caption"].to_pylist()))
    loaded, rng = shipped("filter"), np.random.default_rng(seed)
    about = About(
        model=loaded.fingerprint,
        weights=str(WEIGHTS / "filter.safetensors"),
        vocab=None,
        image_size=None,
        shards=shards_digest(ledger),
        unread=0,
    )
    sizes = {"images": len(rows) // EACH, "texts": len(texts)}
    features = {name: _unit(rng, size, loaded.model.config.embed_dim) for name, size in sizes.items()}
    write_index(Path(ledger.folder) / FOLDER, about, {**features, "text_of_row": text_of_row})


def _unit(rng: np.random.Generator, count: int, width: int) -> np.ndarray:
    """Directions (count, width) float32, evenly spread."""
    drawn = rng.standard_normal((count, width), np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
