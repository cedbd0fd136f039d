"""`lab ledger decide`: the verdict on every caption under a policy, as a file."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from tyro.conf import Positional, arg

from blip.capfilt import Policy, usual
from blip.capfilt.decide import verdicts
from blip.data.files import replacing
from blip.errors import InputError
from lab.ledgers import standing

_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("row_id", "image_key", "origin", "caption")),
        ("score", pa.float32()),
        ("kept", pa.bool_()),
        ("by", pa.string()),
        ("borderline", pa.bool_()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Write row_id, image_key, origin, caption, score, kept, by and borderline for every caption."""

    ledger: Annotated[str, Positional, arg(metavar="LEDGER")]
    """Folder or URL of the ledger."""
    out: Path
    """File to write, .parquet or .csv."""
    policy: Policy = field(default_factory=Policy)
    """Which captions are kept."""
    json: bool = False
    """Print the counts as JSON for scripts."""


def main(options: Options) -> int:
    """Decide and write, shard by shard."""
    if options.out.suffix not in (".parquet", ".csv"):
        raise InputError(f"{options.out} must end in .parquet or .csv: that says what to write.")
    ledger = standing(options.ledger)
    policy = usual(ledger, options.policy)
    with replacing(options.out) as file:
        kept, rows = _write(verdicts(ledger, policy), file, options.out.suffix)
    if options.json:
        print(json.dumps({"kept": kept, "captions": rows, "policy": str(policy), "out": str(options.out)}))
    else:
        print(f"{kept:,} of {rows:,} captions kept by {policy}: {options.out}")
    return 0


def _write(shards: Iterable[pa.Table], file: BinaryIO, suffix: str) -> tuple[int, int]:
    """Captions kept and captions in all."""
    writer = pq.ParquetWriter if suffix == ".parquet" else pyarrow.csv.CSVWriter
    kept = rows = 0
    with writer(file, _SCHEMA) as out:
        for shard in shards:
            out.write_table(shard.cast(_SCHEMA))
            kept += pc.sum(shard["kept"]).as_py() or 0
            rows += shard.num_rows
    return kept, rows
