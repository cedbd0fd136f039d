"""The ledger: every caption, every score, every reject, in append-only Parquet shards.

    ledger.json                     what the ledger is: version, and the job that fills it
    candidates/00000.parquet        one row a caption; all captions of an image lie in one shard
    scores/FILTER/00000.parquet     the filter's columns, row-aligned with the candidates
    rejects/00000.parquet           what could not be used, and why
    overrides/00000.parquet         what people decided
    manifest/TABLE-00000.json       one entry a shard: rows, bytes, content hash, counts

A shard without a valid entry does not exist: it is written to a temporary name, synced, renamed, and
only then entered. A job that was killed anywhere continues, and ends with the same bytes.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from blip.capfilt.schema import CANDIDATES, OVERRIDES, REJECTS, VERSION
from blip.data.files import drop_unfinished, replacing
from blip.errors import InputError

_Read = TypeVar("_Read")
READING = "reading"  # the shard of rejects found before any image was opened


@dataclass(frozen=True)
class Entry:
    """A manifest entry: a shard that exists."""

    table: str
    shard: str
    rows: int
    bytes: int
    sha256: str
    counts: dict[str, int]


class Ledger:
    """A ledger on disk. Tables: candidates, scores/FILTER, rejects, overrides."""

    def __init__(self, folder: Path, about: dict[str, Any]) -> None:
        self.folder, self.about = folder, about

    @classmethod
    def create(cls, folder: str | Path, about: dict[str, Any]) -> "Ledger":
        """A new ledger, or the one that the same job began; another job's is an InputError."""
        folder = Path(folder)
        about = json.loads(json.dumps({"version": VERSION} | about))
        if not (folder / "ledger.json").exists():
            if folder.is_dir() and any(folder.glob("*.parquet")):
                raise InputError(f"{folder} holds Parquet files that are no ledger; give another --out.")
            _write_json(folder / "ledger.json", about)
            ledger = cls(folder, about)
        else:
            ledger = cls.open(folder)
            ledger._continue(about)
        drop_unfinished(folder)
        return ledger

    @classmethod
    def open(cls, folder: str | Path) -> "Ledger":
        """An existing ledger."""
        folder = Path(folder)
        try:
            about = json.loads((folder / "ledger.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(f"There is no ledger in {folder}; give a folder that lab capfilt wrote.") from None
        except (OSError, ValueError) as error:
            raise InputError(f"{folder / 'ledger.json'} cannot be read ({error}); restore it.") from None
        if about.get("version") != VERSION:
            raise InputError(
                f"The ledger in {folder} has version {about.get('version')}, this program reads {VERSION}; "
                "use the version of BLIP Lab that wrote it."
            )
        return cls(folder, about)

    @property
    def filters(self) -> list[str]:
        """The filters that have scored anything, by name."""
        return sorted({entry.table.removeprefix("scores/") for entry in self.entries("scores/*")})

    def has(self, table: str, shard: str) -> bool:
        """Whether a shard exists: its entry is there and its file has the size entered."""
        entry = self.entry(table, shard)
        path = self.path(table, shard)
        return entry is not None and path.exists() and path.stat().st_size == entry.bytes

    def entry(self, table: str, shard: str) -> Entry | None:
        """The manifest entry of a shard, None where there is none or it was cut off."""
        return _read_entry(self._entry_path(table, shard))

    def entries(self, table: str) -> Iterator[Entry]:
        """The entries of a table's shards in order; scores/* stands for those of every filter."""
        for path in sorted((self.folder / "manifest").glob(f"{_flat(table)}-*.json")):
            entry = _read_entry(path)
            if entry is not None and table in (entry.table, "scores/*"):
                yield entry

    def path(self, table: str, shard: str) -> Path:
        """Where a shard's rows lie."""
        return self.folder / table / f"{shard}.parquet"

    def write(self, table: str, shard: str, rows: pa.Table, counts: dict[str, int] | None = None) -> Entry:
        """Commit a shard: data first, entry last."""
        path = self.path(table, shard)
        with replacing(path) as file:
            pq.write_table(rows, file, compression="zstd")
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        entry = Entry(table, shard, rows.num_rows, len(content), digest, counts or {})
        _write_json(self._entry_path(table, shard), asdict(entry))
        return entry

    def read(self, table: str, shard: str, columns: list[str] | None = None) -> pa.Table:
        """The rows of one shard."""
        return self._opened(lambda path: pq.read_table(path, columns=columns), table, shard)

    def columns(self, table: str, shard: str) -> list[str]:
        """The names of a shard's columns."""
        return self._opened(pq.read_schema, table, shard).names

    def table(self, table: str, columns: list[str] | None = None) -> pa.Table:
        """All rows of a table, shard by shard; the empty table where there are none."""
        parts = [self.read(table, entry.shard, columns) for entry in self.entries(table)]
        if parts:
            return pa.concat_tables(parts)
        schemas = {"candidates": CANDIDATES, "rejects": REJECTS, "overrides": OVERRIDES}
        if table not in schemas:
            raise InputError(f"The ledger in {self.folder} has no {table}; it has {self._known()}.")
        empty = schemas[table].empty_table()
        return empty if columns is None else empty.select(columns)

    def counts(self) -> dict[str, int]:
        """The counts of all shards' entries, added up."""
        total: dict[str, int] = {}
        for table in ("candidates", "rejects"):
            for entry in self.entries(table):
                for name, value in entry.counts.items():
                    total[name] = total.get(name, 0) + value
        return total

    def _continue(self, about: dict[str, Any]) -> None:
        """Go on with the same job; filters may be added, nothing else may differ."""
        filters = self.about.get("filters", {})
        clash = {n for n, used in about.get("filters", {}).items() if filters.get(n, used) != used}
        differs = [n for n in about if n != "filters" and self.about.get(n) != about[n]]
        differs += [f"filter {name}" for name in sorted(clash)]
        if differs:
            raise InputError(
                f"{self.folder} is the ledger of another job (its {differs[0]} differs); give another --out, "
                "or the same data and settings to continue."
            )
        self.about["filters"] = filters | about.get("filters", {})
        _write_json(self.folder / "ledger.json", self.about)

    def _opened(self, read: Callable[[Path], _Read], table: str, shard: str) -> _Read:
        path = self.path(table, shard)
        try:
            return read(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise InputError(
                f"{path} cannot be read ({error}); delete its entry in manifest and run the job again."
            ) from None

    def _known(self) -> str:
        return ", ".join(["candidates", "rejects", *(f"scores/{name}" for name in self.filters)])

    def _entry_path(self, table: str, shard: str) -> Path:
        return self.folder / "manifest" / f"{_flat(table)}-{shard}.json"


def shard_name(number: int) -> str:
    """Shards are numbered from 0 in the order of the images."""
    return f"{number:05d}"


def _flat(table: str) -> str:
    return table.replace("/", ".")


def _read_entry(path: Path) -> Entry | None:
    try:
        return Entry(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with replacing(path) as file:
        file.write(json.dumps(content, indent=1).encode() + b"\n")
