"""A set of pairs on disk: an Arrow file, which the processes of a machine map into memory and share, and its rejects."""

from dataclasses import asdict, fields
from pathlib import Path

import pyarrow as pa

from blip.data.collect import SCHEMA
from blip.data.pairs import Reject
from blip.data.pairset import PairSet, PairTable

_ROWS, _REJECTS = "rows.arrow", "rejects.arrow"
_RENAMED = b"blip.renamed"
_REJECT = pa.schema([(field.name, pa.large_string()) for field in fields(Reject)])


def write_pairs(pairs: PairSet, folder: Path) -> None:
    """Write what a reader found into a folder that is there; OSError where the disk does not take it.

    ValueError for a set that no reader made: pairs in memory have pictures, which this does not keep.
    """
    if not isinstance(pairs.rows, PairTable) or pairs.shard_of_row is None:
        raise ValueError("Only pairs that were read from files can be written as places in them.")
    own = {"shard": pa.array(pairs.shard_of_row), "image": pa.array(pairs.image_of_row)}
    columns = [own[name] if name in own else pairs.rows.table.column(name) for name in SCHEMA.names]
    told = SCHEMA.with_metadata({_RENAMED: str(pairs.renamed).encode()})
    _write(pa.Table.from_arrays(columns, schema=told), folder / _ROWS)
    _write(pa.Table.from_pylist([asdict(reject) for reject in pairs.rejects], schema=_REJECT), folder / _REJECTS)


def mapped_pairs(folder: Path) -> PairSet:
    """What `write_pairs` wrote, its rows not read but mapped; OSError or pyarrow.ArrowException where that cannot be."""
    table = _mapped(folder / _ROWS)
    rejects = [Reject(**row) for row in _mapped(folder / _REJECTS).to_pylist()]
    image_of_row, shard_of_row = (table.column(name).to_numpy() for name in ("image", "shard"))
    renamed = int((table.schema.metadata or {})[_RENAMED])
    return PairSet(PairTable(table.drop_columns(["image", "shard"])), image_of_row, rejects, shard_of_row, renamed)


def _write(table: pa.Table, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        # One batch: columns in one piece are indexed and handed to NumPy without a copy.
        writer.write_table(table.combine_chunks(), max_chunksize=max(1, table.num_rows))


def _mapped(path: Path) -> pa.Table:
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
