"""The records of a data set: an image with a text, and what could not be used.

A key names an image within its set. Several captions of one image are several pairs that share its
key; two different images never do (readers rename the later one `key~2`, `key~3`, in reading
order). A pair does not hold its image when a file does: an `ImageRef` says where the bytes lie, and
they are read when somebody looks.
"""

import hashlib
import io
import re
from dataclasses import dataclass, field
from functools import lru_cache
from threading import Lock
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from blip.data.places import open_file, read_part, version

Origin = Literal["web", "human", "synthetic"]
ORIGINS: tuple[Origin, ...] = ("web", "human", "synthetic")

_one_at_a_time = Lock()
_RANGE = re.compile(r"#(\d+)(?:\+(\d*)|@([^#]+))$")


@dataclass(frozen=True, slots=True)
class ImageRef:
    """Where the encoded bytes of an image lie: a file, a byte range of a tar, or a row of a Parquet
    column.

    With `column`, `offset` is the row number. `str()` gives `path`, `path#offset+length` or
    `path#row@column`, and `ImageRef.parse` reads it back.
    """

    path: str
    offset: int = 0
    length: int | None = None
    column: str | None = None

    def __str__(self) -> str:
        if self.column is not None:
            return f"{self.path}#{self.offset}@{self.column}"
        if self.length is not None or self.offset or _RANGE.search(self.path):
            return f"{self.path}#{self.offset}+{'' if self.length is None else self.length}"
        return self.path

    @classmethod
    def parse(cls, text: str) -> "ImageRef":
        """The reference that `str()` wrote."""
        if (found := _RANGE.search(text)) is None:
            return cls(text)
        offset, length, column = found.groups()
        return cls(text[: found.start()], int(offset), int(length) if length else None, column)

    def read(self) -> bytes:
        """The encoded bytes, and nothing before them; OSError where they are not complete."""
        if self.column is not None:
            return _parquet_value(self)
        data = read_part(self.path, self.offset, self.length)
        if self.length is not None and len(data) < self.length:
            raise OSError(f"{self.path} ends inside the image at byte {self.offset}")
        return data


@dataclass(frozen=True, slots=True)
class Pair:
    """One image with one text. `caption` is kept byte for byte; "" means that the image has no
    usable text.

    `image` is a reference, encoded bytes, or pixels (H,W,3) uint8 (the generated world). `truth`
    and `noise_kind` are known only in the generated world. Equality leaves the image out: the key
    stands for it.
    """

    key: str
    caption: str
    image: ImageRef | bytes | np.ndarray = field(compare=False)
    origin: Origin = "web"
    truth: str | None = None
    noise_kind: str | None = None


@dataclass(frozen=True, slots=True)
class Reject:
    """An input that cannot be used, and why.

    `kind` says what is lost: "image" the pair with its picture, "text" one caption (its image stays
    in the set), "file" an unknown number of pairs (a tar cut in the middle). Only the first two
    count as rejected pairs.
    """

    key: str
    ref: str
    reason: str
    kind: Literal["image", "text", "file"] = "image"


def image_bytes(pair: Pair) -> bytes:
    """The encoded image of a pair (PNG of pixels); OSError where it cannot be read."""
    if isinstance(pair.image, ImageRef):
        return pair.image.read()
    if isinstance(pair.image, bytes):
        return pair.image
    png = io.BytesIO()
    Image.fromarray(pair.image).save(png, format="PNG")
    return png.getvalue()


def image_sha256(pair: Pair) -> str:
    """Hex digest of the image: of its encoded bytes, or of shape and pixels."""
    if isinstance(pair.image, np.ndarray):
        pixels = np.ascontiguousarray(pair.image)
        return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
    return hashlib.sha256(image_bytes(pair)).hexdigest()


def image_ref(pair: Pair) -> str:
    """Where the image is found again: the reference as text, "" where the pair itself holds it."""
    return str(pair.image) if isinstance(pair.image, ImageRef) else ""


def _parquet_value(ref: ImageRef) -> bytes:
    changed = version(ref.path)
    try:
        value = _held(ref, changed)
    except pa.ArrowException as error:
        raise OSError(f"{ref.path} cannot be read: {error}") from error
    if not isinstance(value, bytes):
        raise OSError(f"row {ref.offset} of {ref.path} holds no image bytes")
    return value


def _held(ref: ImageRef, changed: str) -> object:
    starts = _row_group_starts(ref.path, changed)
    group = int(np.searchsorted(starts, ref.offset, side="right")) - 1
    if not 0 <= group < len(starts) - 1:
        raise OSError(f"{ref.path} has no row {ref.offset}")
    with _one_at_a_time:  # threads that want the same row group would each read it
        values = _row_group(ref.path, changed, group, ref.column)
    return values[ref.offset - int(starts[group])].as_py()


@lru_cache(maxsize=64)
def _row_group_starts(path: str, changed: str) -> np.ndarray:
    with open_file(path) as file:
        meta = pq.read_metadata(file)
    rows = [meta.row_group(group).num_rows for group in range(meta.num_row_groups)]
    return np.concatenate([[0], np.cumsum(rows)])


@lru_cache(maxsize=2)  # a row group may hold hundreds of megabytes of images
def _row_group(path: str, changed: str, group: int, column: str) -> pa.ChunkedArray:
    with open_file(path) as source, pq.ParquetFile(source) as file:
        table = file.read_row_group(group, columns=[column])
    while pa.types.is_struct(table.schema.field(0).type):  # "image.bytes": the one leaf of a struct
        table = table.flatten()
    return table.column(0)
