"""A ledger as large as one likes, in the true format, with drawn keys, texts and scores: no model made it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from blip.capfilt import Ledger
from blip.capfilt.ledger import shard_name
from blip.capfilt.schema import CANDIDATES, scores_schema

SYNTHETIC = 4
EACH = 1 + SYNTHETIC
"""Captions an image: one that came with it, and the synthetic ones."""
IMAGES_PER_SHARD = 50_000
_HEX = np.array([list(f"{byte:02x}".encode()) for byte in range(256)], np.uint8)
_WORDS = [pa.array([f"{start}{number:02d}" for number in range(64)]) for start in ("big", "red", "ball", "near", "cup")]
_STEP, _MIXES = 0x9E3779B97F4A7C15, ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1))


def simulate(
    folder: Path, images: int, seed: int, images_per_shard: int = IMAGES_PER_SHARD, pictures: pa.Table | None = None
) -> Ledger:
    """Write candidates and itm scores of so many images, with 1 web and 4 synthetic captions each.

    Texts repeat as on the web: few often, most seldom. Equal texts have equal hashes. pictures: ref and sha256 of
    pictures that really open; the images are these, round and round. By default references lead nowhere.
    """
    about = {
        "captioner": "simulated",
        "candidates": SYNTHETIC,
        "seed": seed,
        "images_per_shard": images_per_shard,
        "filters": {"itm": "simulated"},
        "data": {"images": images, "pairs": images, "reading_rejects": 0},
    }
    ledger = Ledger.create(folder, about)
    for number, first in enumerate(range(0, images, images_per_shard)):
        count = min(images_per_shard, images - first)
        rng = np.random.default_rng([seed, number])
        candidates = _candidates(rng, number, first, count, pool=max(1, images), pictures=pictures)
        counts = {"images": count, "given_rows": count, "synthetic_rows": SYNTHETIC * count, "failed_captions": 0}
        ledger.write("candidates", shard_name(number), candidates, counts)
        ledger.write("scores/itm", shard_name(number), _scores(rng, candidates["row_id"]))
    return ledger


def _candidates(
    rng: np.random.Generator, shard: int, first: int, count: int, *, pool: int, pictures: pa.Table | None
) -> pa.Table:
    """The rows of one shard; pool: of so many texts they are drawn."""
    rows = count * EACH
    image = pa.array(np.repeat(np.arange(count), EACH))
    place = pa.array(np.tile(np.arange(EACH), count))
    keys = _digits(np.arange(first, first + count))
    texts = (pool * rng.random(rows) ** 3).astype(np.int64)
    kind = pa.array(["web"] + ["synthetic"] * SYNTHETIC)
    row_ids = _hex(rng, rows, 10)
    if pictures is None:
        refs = pc.binary_join_element_wise(f"pairs/{shard:05d}.tar#", keys, "+4096", "")
        hashes = _hex(rng, count, 32)
    else:
        refs, hashes = pictures.select(["ref", "sha256"]).take(np.arange(first, first + count) % len(pictures)).columns
    columns = {
        "row_id": row_ids,
        "image_key": keys.take(image),
        "image_sha256": hashes.take(image),
        "image_ref": refs.take(image),
        "caption": _captions(texts),
        "caption_hash": pa.array(_hashes(texts)),
        "origin": kind.take(place),
        "candidate": pa.array([0, *range(SYNTHETIC)], pa.int16()).take(place),
        "round": pa.array(np.zeros(rows, np.int16)),
        "captioner_id": pa.array(["", *["simulated"] * SYNTHETIC]).take(place),
        "decoding": pa.array(["", *["nucleus p=0.9"] * SYNTHETIC]).take(place),
        "seed": pa.array([None, *[0] * SYNTHETIC], pa.int64()).take(place),
        "mean_logprob": pa.array([None, *[-1.0] * SYNTHETIC], pa.float32()).take(place),
        "truth": pa.nulls(rows, pa.string()),
        "noise_kind": pa.nulls(rows, pa.string()),
    }
    return pa.table(columns, schema=CANDIDATES)


def _scores(rng: np.random.Generator, row_ids: pa.ChunkedArray) -> pa.Table:
    logit = rng.normal(0.5, 2.0, len(row_ids)).astype(np.float32)
    probability = 1 / (1 + np.exp(-logit))
    columns = {"row_id": row_ids, "itm_logit": logit, "itm_prob": probability, "itc": probability / 2}
    return pa.table(columns, schema=scores_schema(("itm_logit", "itm_prob", "itc")))


def _hashes(numbers: np.ndarray) -> np.ndarray:
    """As evenly scattered as true hashes, and different for different numbers (SplitMix64)."""
    mixed = (numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(_STEP)
    for shift, factor in _MIXES:
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed.view(np.int64)


def _captions(numbers: np.ndarray) -> pa.Array:
    """A text of five words for each number below 2 to the 30."""
    words = [pool.take(pa.array((numbers >> 6 * at) & 63)) for at, pool in enumerate(_WORDS)]
    return pc.binary_join_element_wise("a picture of", *words, " ")


def _hex(rng: np.random.Generator, count: int, size: int) -> pa.Array:
    return _texts(_HEX[rng.integers(0, 256, (count, size), np.uint8)].reshape(count, 2 * size))


def _digits(numbers: np.ndarray, width: int = 12) -> pa.Array:
    powers = 10 ** np.arange(width - 1, -1, -1, dtype=np.int64)
    return _texts((numbers[:, None] // powers % 10 + ord("0")).astype(np.uint8))


def _texts(letters: np.ndarray) -> pa.Array:
    """Letters (N, width) uint8 as N strings."""
    count, width = letters.shape
    offsets = np.arange(count + 1, dtype=np.int32) * width
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(letters)))
