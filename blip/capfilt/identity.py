"""The identity of the data that a ledger is made from, so that a run goes on with the same pairs only."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from blip.data.pairs import ImageRef, Pair
from blip.data.pairset import PairSet, PairTable

_SCHEMA = pa.schema(
    [
        *((name, pa.large_string()) for name in ("key", "caption", "origin", "truth", "noise_kind", "path", "column")),
        *((name, pa.int64()) for name in ("offset", "length")),
    ]
)
_ROWS_A_READ = 65_536  # part of the identity: lengths and texts of so many rows follow one another
_IN_MEMORY = ImageRef("")


def data_sha256(pairs: PairSet) -> str:
    """Hex digest of the rows of a data set in their order: keys, captions, what is known of them, and their places in files.

    It is the same however the rows are held, and wherever the files lie: data that was moved is the same data. Of the
    images themselves it knows nothing: each candidate has the hash of its own. Ten million rows take seconds.
    """
    digest = hashlib.sha256()
    for rows in _parts(pairs.rows):
        for column in rows.columns:
            # Lengths keep texts apart that read alike when joined; -1 stands for null.
            numbers = column if pa.types.is_integer(column.type) else pc.binary_length(column)
            digest.update(np.asarray(pc.fill_null(numbers, -1)).astype("<i8").tobytes())
            if numbers is not column:
                digest.update(_joined(column))
    return digest.hexdigest()


def comparable(about: dict[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """A job's `about` without the hash of its data where a ledger's, of an earlier program, has none to compare with."""
    if "data" not in about or "sha256" in known.get("data", {}):
        return about
    return about | {"data": {name: value for name, value in about["data"].items() if name != "sha256"}}


def _parts(rows: Sequence[Pair] | PairTable) -> Iterator[pa.RecordBatch]:
    for start in range(0, len(rows), _ROWS_A_READ):
        if isinstance(rows, PairTable):
            part = rows.table.select(_SCHEMA.names).slice(start, _ROWS_A_READ).cast(_SCHEMA)
        else:
            part = pa.Table.from_pylist([_row(pair) for pair in rows[start : start + _ROWS_A_READ]], _SCHEMA)
        names = pc.replace_substring_regex(part["path"], r"(?s)^.*[/\\]", "")
        (whole,) = part.set_column(part.schema.get_field_index("path"), "path", names).combine_chunks().to_batches()
        yield whole


def _row(pair: Pair) -> dict[str, object]:
    ref = pair.image if isinstance(pair.image, ImageRef) else _IN_MEMORY
    texts = {name: getattr(pair, name) for name in ("key", "caption", "origin", "truth", "noise_kind")}
    return texts | {name: getattr(ref, name) for name in ("path", "column", "offset", "length")}


def _joined(texts: pa.LargeStringArray) -> memoryview:
    """The bytes of all texts, one after the other."""
    texts = pc.fill_null(texts, "")
    _, ends, content = texts.buffers()
    places = np.frombuffer(ends, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return memoryview(content or b"")[places[0] : places[-1]]
