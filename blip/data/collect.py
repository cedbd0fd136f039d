"""What every reader fills: it checks texts, joins captions of an image, counts what is lost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from blip.data.pairs import ORIGINS, ImageRef, Origin, Reject
from blip.data.pairset import PairSet, PairTable
from blip.data.text import decode_caption
from blip.errors import one_line

SCHEMA = pa.schema(
    {
        "key": pa.large_string(),
        "caption": pa.large_string(),
        "path": pa.dictionary(pa.int32(), pa.large_string()),
        "offset": pa.int64(),
        "length": pa.int64(),
        "column": pa.dictionary(pa.int32(), pa.string()),
        "origin": pa.dictionary(pa.int32(), pa.string()),
        "truth": pa.dictionary(pa.int32(), pa.string()),
        "noise_kind": pa.dictionary(pa.int32(), pa.string()),
        "shard": pa.int32(),
        "image": pa.int64(),
    }
)
KEYED = {"blip.keys": "images"}
"""Metadata of a file in which pairs with one key have one image, so that none must be read to know it."""

_ROWS_A_BATCH = 65_536

Record = Mapping[str, object]
"""What a source says of a pair beside its caption."""


@dataclass(frozen=True)
class Part:
    """What was collected of one file, whose images are numbered from 0: another process can send it."""

    batches: list[pa.RecordBatch]
    rejects: list[tuple[int | None, Reject]]
    images: int


class PairCollector:
    """Collects rows and rejects into a `PairSet`; `origin` overrides what the source records."""

    def __init__(self, origin: Origin | None = None) -> None:
        self._origin = origin
        self._rows: list[tuple] = []
        self._batches: list[pa.RecordBatch] = []
        self._rejects: list[tuple[int | None, Reject]] = []
        self._shard = -1
        self._images = 0
        self._files: dict[str, int] = {}
        self._last: tuple[str, ImageRef] | None = None

    def begin_shard(self) -> None:
        """What follows comes from the next file (tar, table, list)."""
        self._shard += 1
        self._last = None

    def add(
        self,
        key: str,
        ref: ImageRef,
        texts: Sequence[object],
        *,
        record: Record | None = None,
        compare: bool = False,
    ) -> None:
        """One image with its texts, of which the unusable become rejects.

        The same file again is the same image. Byte ranges and table rows are images of their own,
        unless the source itself gives the neighbour before the same key, and, if `compare`, their
        bytes are equal. `record`: may hold key, origin, truth and noise_kind.
        """
        record = record or {}
        own_key = record.get("key")
        named = isinstance(own_key, str) and own_key != ""
        key = str(own_key) if named else key
        if not (_storable(key) and _storable(ref.path)):
            self.lose(key, str(ref), "its name is not UTF-8: rename it", pairs=max(1, len(texts)))
            return
        image = self._number(key, ref, named, compare)
        decoded = [decode_caption(text) for text in texts or [None]]
        faults = [Reject(key, str(ref), fault, "text") for _, fault in decoded if fault]
        self._rejects.extend((image, reject) for reject in faults)
        usable = [caption for caption, fault in decoded if not fault]
        place = (ref.path, ref.offset, ref.length, ref.column)
        after = (*place, *self._provenance(record), self._shard, image)
        self._rows.extend((key, caption, *after) for caption in usable or [""])
        if len(self._rows) >= _ROWS_A_BATCH:
            self._flush()

    def lose(
        self, key: str, ref: str, reason: str, *, pairs: int = 1, whole_file: bool = False
    ) -> None:
        """Rejects an image, once for each of its `pairs`, or the unknown rest of a whole file."""
        reject = Reject(_shown(key), _shown(ref), one_line(reason), "file" if whole_file else "image")
        self._rejects.extend([(None, reject)] * pairs)

    def lose_file(self, path: str, error: OSError) -> None:
        """Rejects the unknown rest of a file that cannot be read."""
        self.lose(path, path, f"cannot be read: {error}", whole_file=True)

    def part(self) -> Part:
        """What was added so far."""
        self._flush()
        return Part(self._batches, self._rejects, self._images)

    def absorb(self, part: Part) -> None:
        """Add what another collector collected of a file whose images are none of another file's: a tar."""
        self._flush()
        for batch in part.batches:
            image = pc.add(batch.column("image"), self._images)
            shard = pa.repeat(pa.scalar(self._shard, pa.int32()), batch.num_rows)
            own = {"image": image, "shard": shard}
            arrays = [own[name] if name in own else batch.column(name) for name in SCHEMA.names]
            self._batches.append(pa.RecordBatch.from_arrays(arrays, schema=SCHEMA))
        shifted = ((None if image is None else image + self._images, reject) for image, reject in part.rejects)
        self._rejects.extend(shifted)
        self._images += part.images

    def done(self) -> PairSet:
        """The set of all that was added."""
        self._flush()
        table = pa.Table.from_batches(self._batches, SCHEMA).unify_dictionaries().combine_chunks()
        image_of_row = table.column("image").to_numpy()
        _, first_row = np.unique(image_of_row, return_index=True)
        keys, renamed = unique_keys(table.column("key").take(pa.array(first_row)).combine_chunks())
        table = table.set_column(0, "key", keys.take(pa.array(image_of_row)))
        table = table.filter(pa.array(_rows_to_keep(table, image_of_row, first_row)))
        rejects = [
            reject if image is None else replace(reject, key=keys[image].as_py())
            for image, reject in self._rejects
        ]
        image_of_row, shard_of_row = (table.column(name).to_numpy() for name in ("image", "shard"))
        rows = PairTable(table.drop_columns(["image", "shard"]))
        return PairSet(rows, image_of_row, rejects, shard_of_row, renamed)

    def _number(self, key: str, ref: ImageRef, named: bool, compare: bool) -> int:
        if ref.length is None and ref.column is None:
            number = self._files.setdefault(_plain(ref.path), self._images)
        else:
            number = self._images - 1 if named and self._again(key, ref, compare) else self._images
        self._last = key, ref
        self._images = max(self._images, number + 1)
        return number

    def _again(self, key: str, ref: ImageRef, compare: bool) -> bool:
        """Whether this is the image of the neighbour before."""
        if self._last is None:
            return False
        last_key, last = self._last
        if (key, ref.path, ref.length) != (last_key, last.path, last.length):
            return False
        try:
            return not compare or last.read() == ref.read()
        except OSError:  # two that cannot be read are not known to be one
            return False

    def _provenance(self, record: Record) -> tuple[str, str | None, str | None]:
        recorded = record.get("origin")
        origin = self._origin or (recorded if recorded in ORIGINS else "web")
        known = (record.get(name) or None for name in ("truth", "noise_kind"))
        truth, noise_kind = (text if isinstance(text, str) and _storable(text) else None for text in known)
        return origin, truth, noise_kind

    def _flush(self) -> None:
        if not self._rows:
            return
        columns = list(zip(*self._rows, strict=True))
        arrays = [
            pa.array(values, type=kind) for values, kind in zip(columns, SCHEMA.types, strict=True)
        ]
        self._batches.append(pa.RecordBatch.from_arrays(arrays, schema=SCHEMA))
        self._rows = []


def captions(record: Record, column: str = "caption") -> list[object]:
    """The texts of a record: its list `captions`, else what `column` holds, a text or a list.

    A text in `captions` counts where `column` is empty.
    """
    more, own = record.get("captions"), record.get(column)
    found = more if more and (isinstance(more, list) or own in (None, "", b"", [])) else own
    return found if isinstance(found, list) else [found]


def unique_keys(keys: pa.Array) -> tuple[pa.Array, int]:
    """One key per image, later bearers of a key renamed `key~2`, `key~3`, and how many of these."""
    codes = pc.dictionary_encode(keys).indices.to_numpy()
    _, firsts = np.unique(codes, return_index=True)
    later = np.setdiff1d(np.arange(len(codes)), firsts)
    if not len(later):
        return keys, 0
    names = keys.to_pylist()
    taken = set(names)
    count: dict[str, int] = {}
    for image in later.tolist():
        name = names[image]
        number = count.get(name, 1) + 1
        while f"{name}~{number}" in taken:
            number += 1
        count[name] = number
        names[image] = f"{name}~{number}"
        taken.add(names[image])
    return pa.array(names, type=keys.type), len(later)


def _plain(path: str) -> str:
    """A path without `./` and `//`; what `..` means depends on links, so it stays."""
    return str(PurePath(path)) if "./" in path or "//" in path else path


def _storable(text: str) -> bool:
    """Names of files and escapes in JSON may hold half characters, which no table can store."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _shown(text: str) -> str:
    """The text with what cannot be stored written as an escape."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _rows_to_keep(table: pa.Table, image_of_row: np.ndarray, first_row: np.ndarray) -> np.ndarray:
    """Rows with text, and one row without for an image that has no text in any row."""
    has_text = pc.not_equal(table.column("caption"), "").to_numpy()
    texts_of_image = np.bincount(image_of_row, weights=has_text, minlength=len(first_row))
    is_first = np.zeros(len(has_text), dtype=bool)
    is_first[first_row] = True
    return has_text | (is_first & (texts_of_image[image_of_row] == 0))
