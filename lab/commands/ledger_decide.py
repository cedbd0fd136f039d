"""`lab ledger decide`: the verdict on every caption under a policy, as a file."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pyarrow.csv
import pyarrow.parquet as pq
from tyro.conf import Positional, arg

from blip.capfilt import Ledger, Policy, decide_duckdb
from blip.data.files import replacing
from blip.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Options:
    """Write row_id, image_key, origin, caption, score, kept and by for every caption."""

    ledger: Annotated[Path, Positional, arg(metavar="LEDGER")]
    """Folder of the ledger."""
    out: Path
    """File to write, .parquet or .csv."""
    policy: Policy = field(default_factory=Policy)
    """Which captions are kept."""


def main(options: Options) -> int:
    """Decide and write."""
    if options.out.suffix not in (".parquet", ".csv"):
        raise InputError(f"{options.out} must end in .parquet or .csv: that says what to write.")
    rows = decide_duckdb(Ledger.open(options.ledger), options.policy)
    write = pq.write_table if options.out.suffix == ".parquet" else pyarrow.csv.write_csv
    with replacing(options.out) as file:
        write(rows, file)
    kept = sum(rows["kept"].to_pylist())
    print(f"{kept:,} of {rows.num_rows:,} captions kept by {options.policy}: {options.out}")
    return 0
