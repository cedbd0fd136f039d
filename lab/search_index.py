"""The search index of a ledger: unit features of its images and of its texts, in files that are memory mapped.

    index.json          what the features are: model, weights, counts, and the ledger's shards they belong to
    images.npy          (I, E) float32, a row an image in the ledger's order; NaN where it could not be read
    texts.npy           (T, E) float32, a row a different text in the order of first appearance
    text_of_row.npy     (N,) int64, the text of each caption in the ledger's order

index.json is written last: a folder without it is no index. A search is an exact matrix product, in parts.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tokenize import TokenError

import numpy as np
import torch
from torch import Tensor

from blip.capfilt import Ledger
from blip.data.files import replacing
from blip.data.jsons import parse_json
from blip.errors import InputError
from blip.matching import Matcher
from blip.precision import precision

FOLDER = "search"
"""Where the index lies in a ledger's folder, unless another place is named."""

VERSION = 1
_ABOUT = "index.json"
_ARRAYS = ("images", "texts", "text_of_row")
_AT_ONCE = 65_536  # rows of a matrix product: 64 MB of 256 dimensions


@dataclass(frozen=True, kw_only=True)
class About:
    """What an index is. model is the fingerprint of the weights, weights what they were opened by."""

    model: str
    weights: str
    vocab: str | None
    image_size: int | None
    shards: str
    unread: int
    """Images that could not be read."""
    version: int = VERSION


@dataclass(frozen=True)
class SearchIndex:
    """An opened index: its arrays are memory mapped, so that it may be larger than memory."""

    about: About
    images: np.ndarray
    texts: np.ndarray
    text_of_row: np.ndarray

    @classmethod
    def open(cls, folder: Path, ledger: Ledger) -> "SearchIndex":
        """The index of a ledger; InputError where there is none, or the ledger is not the one it was made of."""
        again = "make it with lab ledger embed"
        try:
            content = parse_json((folder / _ABOUT).read_text(encoding="utf-8"))
            if content["version"] != VERSION:
                raise InputError(f"The search index in {folder} is of another version; {again} again.")
            about = About(**content)
            arrays = {name: _array(folder / f"{name}.npy") for name in _ARRAYS}
            _check_shapes(**arrays)
        except FileNotFoundError:
            raise InputError(f"There is no search index in {folder}; {again}.") from None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise InputError(f"The search index in {folder} cannot be read ({error}); {again} again.") from None
        if about.shards != shards_digest(ledger):
            raise InputError(f"The search index in {folder} is not of this ledger as it is now; {again} again.")
        return cls(about, **arrays)


def _array(path: Path) -> np.ndarray:
    """An array on disk; ValueError where the file is none."""
    try:
        return np.load(path, mmap_mode="r")
    except (EOFError, TokenError, OverflowError) as error:  # what numpy raises for headers of any other content
        raise ValueError(f"{path.name} is no array: {error}") from None


def _check_shapes(images: np.ndarray, texts: np.ndarray, text_of_row: np.ndarray) -> None:
    features = images.ndim == texts.ndim == 2 and images.shape[1] == texts.shape[1] and images.dtype == texts.dtype == np.float32
    if not features or text_of_row.ndim != 1 or text_of_row.dtype != np.int64:
        raise ValueError("its arrays do not fit each other")
    if len(text_of_row) and not 0 <= text_of_row.min() <= text_of_row.max() < len(texts):
        raise ValueError("text_of_row.npy names texts that there are not")


def write_index(folder: Path, about: About, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an index, whole or not at all; one that is there is no index from the first change on."""
    (folder / _ABOUT).unlink(missing_ok=True)
    for name in _ARRAYS:
        with replacing(folder / f"{name}.npy") as file:
            np.save(file, arrays[name], allow_pickle=False)
    with replacing(folder / _ABOUT) as file:
        file.write(json.dumps(asdict(about), indent=1).encode() + b"\n")


def shards_digest(ledger: Ledger) -> str:
    """What the ledger's captions are, by the hashes of their shards; scores may be added without a change."""
    names = [f"{entry.shard}:{entry.sha256}" for entry in ledger.entries("candidates")]
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def nearest(features: np.ndarray, query: np.ndarray, k: int, *, at_once: int = _AT_ONCE) -> tuple[np.ndarray, np.ndarray]:
    """The k rows (k,) int64 of features (N, E) with the highest products with a query (E,), and these (k,) float32.

    Exact, in parts of `at_once` rows; the highest first, earlier rows first among equals, all where N is less.
    Rows of NaN are never found. InputError for k below 1 and a query of another width.
    """
    if k < 1 or features.shape[1:] != query.shape:
        raise InputError(f"{k} nearest of {features.shape} to a query {query.shape} cannot be; give k of 1 or more.")
    rows, scores = np.empty(0, np.int64), np.empty(0, np.float32)
    for start in range(0, len(features), at_once):
        found = np.asarray(features[start : start + at_once]) @ query
        rows, scores = _best(
            np.concatenate([rows, np.arange(start, start + len(found))]), np.concatenate([scores, found]), k
        )
    return rows, scores


@torch.inference_mode()
def image_features(model: Matcher, pictures: Tensor) -> np.ndarray:
    """Unit features (b, E) float32 of prepared pictures (b, 3, H, W)."""
    with precision(model.device, model.dtype):
        features = model.model.image_features(model.model.encode_image(pictures))
    return features.float().cpu().numpy()


def distinct(texts: Iterable[str]) -> tuple[list[str], np.ndarray]:
    """The different texts in order of first appearance, and the number (N,) int64 of each text among them."""
    numbers: dict[str, int] = {}
    of_row = [numbers.setdefault(text, len(numbers)) for text in texts]
    return list(numbers), np.array(of_row, np.int64)


def _best(rows: np.ndarray, scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    known = ~np.isnan(scores)
    rows, scores = rows[known], scores[known]
    if len(scores) > k:
        # All that reach the k-th are sorted: argpartition alone would choose among equals as it pleases.
        reach = scores >= np.partition(scores, len(scores) - k)[len(scores) - k]
        rows, scores = rows[reach], scores[reach]
    order = np.lexsort((rows, -scores))[:k]
    return rows[order], scores[order]
