"""A data set as a map: rows that say where each image lies and what was written about it.

Read from files, the rows are an Arrow table of about a hundred bytes a pair, so that ten million
pairs fit in a laptop; nothing is decoded until somebody opens an image. The generated world keeps
its pairs in a list.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from blip.data.pairs import ImageRef, Origin, Pair, Reject

_FIELDS = ("key", "caption", "path", "offset", "length", "column", "origin", "truth", "noise_kind")
_ROWS_A_READ = 4096


class PairTable:
    """Pairs as rows of an Arrow table (columns as in `collect.SCHEMA`), built when indexed."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self._columns = [table.column(name) for name in _FIELDS]

    def __len__(self) -> int:
        return self.table.num_rows

    def __getitem__(self, row: int) -> Pair:
        return _pair(*(values[row].as_py() for values in self._columns))

    def many(self, rows: np.ndarray) -> list[Pair]:
        """The pairs of several rows, three times faster than one by one."""
        part = self.table.take(pa.array(rows))
        columns = (part.column(name).to_pylist() for name in _FIELDS)
        return [_pair(*row) for row in zip(*columns, strict=True)]


@dataclass(frozen=True)
class Selection:
    """Some rows of a sequence of pairs, in the order of `index` (int64), as a sequence."""

    rows: Sequence[Pair] | PairTable
    index: np.ndarray
    shard_of_row: np.ndarray | None = None
    """As in `PairSet`."""

    @property
    def shards(self) -> np.ndarray | None:
        """For each pair the number of the file it was read from; None for pairs in memory."""
        return None if self.shard_of_row is None else self.shard_of_row[self.index]

    def __len__(self) -> int:
        return len(self.index)

    @overload
    def __getitem__(self, at: int) -> Pair: ...
    @overload
    def __getitem__(self, at: slice | np.ndarray) -> "Selection": ...
    def __getitem__(self, at: int | slice | np.ndarray) -> "Pair | Selection":
        if isinstance(at, (slice, np.ndarray)):
            return replace(self, index=self.index[at])
        return self.rows[int(self.index[at])]

    def __iter__(self) -> Iterator[Pair]:
        for start in range(0, len(self), _ROWS_A_READ):
            yield from _many(self.rows, self.index[start : start + _ROWS_A_READ])


@dataclass(frozen=True)
class PairSet:
    """What a reader found. As a sequence it is its `pairs`.

    An unusable text (empty, too long, not UTF-8) is a `Reject` of kind "text" and gives no pair,
    but its image stays in `images`, to be captioned. Input pairs = len(pairs) + number of rejects
    of kind "image" or "text".
    """

    rows: Sequence[Pair] | PairTable
    """One row for every usable caption, and one with caption "" for every image that has none."""

    image_of_row: np.ndarray
    """Number of each row's image (int64), counted from 0 in order of first appearance."""

    rejects: list[Reject] = field(default_factory=list)
    shard_of_row: np.ndarray | None = None
    """Number of the file (tar, table, list) each row was read from; None for pairs in memory."""

    renamed: int = 0
    """How many images bore the key of an earlier image and were renamed `key~2`, `key~3`, ..."""

    @classmethod
    def of(cls, pairs: Iterable[Pair], rejects: Iterable[Reject] = ()) -> "PairSet":
        """A set of pairs in memory: an equal key is the same image, caption "" is no text."""
        rows = list(pairs)
        numbers: dict[str, int] = {}
        images = [numbers.setdefault(pair.key, len(numbers)) for pair in rows]
        return cls(rows, np.array(images, dtype=np.int64), list(rejects))

    @cached_property
    def pairs(self) -> Selection:
        """Every row with a usable caption, in reading order."""
        return self._selected(np.flatnonzero(self._has_text))

    @cached_property
    def images(self) -> Selection:
        """One pair for each image, in reading order, with its first usable caption or else ""."""
        order, starts = self._by_image
        return self._selected(order[starts[:-1]])

    def captions(self, image: int) -> Selection:
        """The pairs of `images[image]` that have a usable caption: none, one or several."""
        order, starts = self._by_image
        rows = order[starts[image] : starts[image + 1]]
        return self._selected(rows[self._has_text[rows]])

    def with_captions(self, images: range) -> list[tuple[Pair, list[Pair]]]:
        """Some of `images`, each with its `captions`, all read at once."""
        order, starts = self._by_image
        rows = order[starts[images.start] : starts[images.stop]]
        pairs, has_text = _many(self.rows, rows), self._has_text[rows]
        ends = starts[images.start : images.stop + 1] - starts[images.start]
        return [
            (pairs[first], [pairs[row] for row in range(first, end) if has_text[row]])
            for first, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)
        ]

    @property
    def shards(self) -> np.ndarray | None:
        """For each of `pairs` the number of the file it was read from; None for pairs in memory."""
        return self.pairs.shards

    def first(self, images: int) -> "PairSet":
        """The first so many images, with all their captions and rejected texts."""
        keep = np.flatnonzero(self.image_of_row < images)
        rows = _many(self.rows, keep)
        keys = {pair.key for pair in rows}
        texts = (reject for reject in self.rejects if reject.kind == "text")
        rejects = [reject for reject in texts if reject.key in keys]
        shards = None if self.shard_of_row is None else self.shard_of_row[keep]
        return PairSet(rows, self.image_of_row[keep], rejects, shards, self.renamed)

    def __len__(self) -> int:
        return len(self.pairs)

    @overload
    def __getitem__(self, at: int) -> Pair: ...
    @overload
    def __getitem__(self, at: slice | np.ndarray) -> Selection: ...
    def __getitem__(self, at: int | slice | np.ndarray) -> Pair | Selection:
        return self.pairs[at]

    def __iter__(self) -> Iterator[Pair]:
        return iter(self.pairs)

    def _selected(self, index: np.ndarray) -> Selection:
        return Selection(self.rows, index, self.shard_of_row)

    @cached_property
    def _has_text(self) -> np.ndarray:
        if isinstance(self.rows, PairTable):
            return pc.not_equal(self.rows.table.column("caption"), "").to_numpy()
        return np.array([pair.caption != "" for pair in self.rows], dtype=bool)

    @cached_property
    def _by_image(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows by image, those with text first, and where each image's begin (and the last end)."""
        order = np.lexsort((~self._has_text, self.image_of_row))
        count = int(self.image_of_row.max()) + 1 if len(order) else 0
        return order, np.searchsorted(self.image_of_row[order], np.arange(count + 1))


def _pair(
    key: str,
    caption: str,
    path: str,
    offset: int,
    length: int | None,
    column: str | None,
    origin: Origin,
    truth: str | None,
    noise_kind: str | None,
) -> Pair:
    """A pair from the values of `_FIELDS`."""
    return Pair(key, caption, ImageRef(path, offset, length, column), origin, truth, noise_kind)


def _many(rows: Sequence[Pair] | PairTable, index: np.ndarray) -> list[Pair]:
    if isinstance(rows, PairTable):
        return rows.many(index)
    return [rows[row] for row in index.tolist()]
