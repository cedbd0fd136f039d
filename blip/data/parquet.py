"""Parquet tables of pairs: image paths, image bytes, or the struct of both that Hugging Face data
sets have.

Images held as bytes stay in the file: a pair refers to the row, and reading it reads that row's
group.
"""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from blip.data.collect import KEYED, PairCollector
from blip.data.pairs import ImageRef
from blip.data.places import open_file
from blip.data.rows import TableOptions, add_rows, choose_columns, image_root, texts
from blip.errors import InputError

_RECORDED = ("key", "origin", "truth", "noise_kind", "captions")
_ROWS_A_READ = 8192


def read_parquet(path: str, into: PairCollector, options: TableOptions) -> None:
    """Adds the rows of one table; InputError for missing columns, a reject if it is not Parquet."""
    try:
        with open_file(path) as source, pq.ParquetFile(source) as file:
            schema = file.schema_arrow
            columns = choose_columns(schema.names, path, options)
            leaf = _bytes_leaf(schema, columns.image, path) if columns.image else None
            wanted = {columns.caption, columns.url, None if leaf else columns.image, *_RECORDED}
            rows = _rows(file, [name for name in schema.names if name in wanted], columns.caption)
            if leaf is None:
                add_rows(rows, columns, path, into, image_root(path, options))
                return
            compare = not _keyed(schema)
            for number, row in rows:
                ref = ImageRef(path, number, None, leaf)
                into.add(f"{Path(path).stem}/{number}", ref, texts(row, columns), record=row, compare=compare)
    except (pa.ArrowException, UnicodeDecodeError) as error:  # the last for a column's name
        into.lose(path, path, f"not Parquet: {error}", whole_file=True)


def _keyed(schema: pa.Schema) -> bool:
    held = schema.metadata or {}
    return all(held.get(name.encode()) == word.encode() for name, word in KEYED.items())


def _rows(file: pq.ParquetFile, names: list[str], caption: str) -> Iterator[tuple[int, dict]]:
    number = 0
    for batch in file.iter_batches(batch_size=_ROWS_A_READ, columns=names):
        at = batch.schema.get_field_index(caption)
        batch = batch.set_column(at, caption, _as_bytes(batch.column(at)))
        for row in _listed(batch, caption):
            yield number, row
            number += 1


def _listed(batch: pa.RecordBatch, caption: str) -> list[dict]:
    """The rows of a batch; text that is not UTF-8 gets surrogates, so that the row alone is rejected."""
    try:
        return batch.to_pylist()
    except UnicodeDecodeError:
        plain = pa.RecordBatch.from_arrays([_as_bytes(column) for column in batch.columns], names=batch.schema.names)
        return [
            {name: _escaped(value) if name != caption else value for name, value in row.items()} for row in plain.to_pylist()
        ]


def _escaped(value: object) -> object:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


def _as_bytes(texts: pa.Array) -> pa.Array:
    """Text as bytes: in files Arrow does not check UTF-8, and one bad caption would end it all."""
    kind = texts.type
    if pa.types.is_dictionary(kind):
        return _as_bytes(texts.dictionary_decode())
    if pa.types.is_string(kind):
        return texts.cast(pa.binary())
    if pa.types.is_large_string(kind):
        return texts.cast(pa.large_binary())
    if pa.types.is_list(kind) and pa.types.is_string(kind.value_type):
        return texts.cast(pa.list_(pa.binary()))
    return texts


def _bytes_leaf(schema: pa.Schema, column: str, path: str) -> str | None:
    """The column that holds image bytes, or None where the column holds paths."""
    kind = schema.field(column).type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        return f"{column}.bytes"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return column
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind):
        return None
    raise InputError(
        f"the column {column!r} of {path} is of type {kind}: it must hold image paths or bytes."
    )
