"""The ledger: every caption, every score, every reject, in append-only Parquet shards.

    ledger.json                     what the ledger is: version, and the job that fills it
    candidates/00000.parquet        one row a caption; all captions of an image lie in one shard
    scores/FILTER/00000.parquet     the filter's columns, row-aligned with the candidates
    rejects/00000.parquet           what could not be used, and why
    overrides/00000.parquet         what people decided
    manifest/TABLE-00000.json       one entry a shard: rows, bytes, content hash, counts (see `manifest`)
    agreement.json                  how far scores move with device and precision, where that was measured

A shard without a valid entry does not exist: on disk it is written to a temporary name, synced, renamed, in
an object store put there whole, and only then entered. A job that was killed anywhere continues, and ends
with the same bytes.
"""

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from blip.capfilt.identity import comparable
from blip.capfilt.manifest import Entry, entry_in, entry_name, entry_names
from blip.capfilt.policy import THRESHOLDS, are_thresholds
from blip.capfilt.schema import SCHEMAS, VERSION, check_columns
from blip.capfilt.store import Store, store_at
from blip.capfilt.unfinished import Unfinished, unfinished
from blip.data.jsons import parse_json
from blip.data.places import Place
from blip.errors import InputError

_BY_FILTER = ("filters", "scored")  # what a ledger says of each of its filters, to which others may be added
_PARTS = (*_BY_FILTER, "notes", "data", THRESHOLDS)  # objects within that description
_ABOUT = "ledger.json"
READING = "reading"  # the shard of rejects found before any image was opened


class AnotherJob(InputError):
    """The ledger at a place is whole, and of other data, weights, settings or another version of this program."""


class Ledger:
    """A ledger in a folder or an object store. Tables: candidates, scores/FILTER, rejects, overrides."""

    def __init__(self, store: Store, about: dict[str, Any]) -> None:
        self.store, self.about = store, about

    @classmethod
    def create(cls, folder: Place, about: dict[str, Any]) -> "Ledger":
        """A new ledger, or the one that the same job began; for that of another it is AnotherJob."""
        store = store_at(folder)
        about = json.loads(json.dumps({"version": VERSION} | about))
        if store.size(_ABOUT) is None:
            if any(name.endswith(".parquet") for name in store.names("")):
                raise InputError(f"{folder} holds Parquet files that are no ledger; give another --out.")
            store.write(_ABOUT, _json(about))
            ledger = cls(store, about)
        else:
            ledger = cls.open(folder)
            ledger.about |= {THRESHOLDS: about.get(THRESHOLDS, {})}  # the last run's count
            if not ledger.about[THRESHOLDS]:
                del ledger.about[THRESHOLDS]
            ledger._continue(about)
        store.tidy()
        return ledger

    @classmethod
    def open(cls, folder: Place) -> "Ledger":
        """An existing ledger, by the path or URL of its folder."""
        store = store_at(folder)
        try:
            about = parse_json(store.read(_ABOUT).decode("utf-8"))
        except FileNotFoundError:
            raise InputError(f"There is no ledger in {folder}; give a folder that lab capfilt wrote.") from None
        except (OSError, ValueError) as error:
            raise InputError(f"{store.path(_ABOUT)} cannot be read ({error}); restore it.") from None
        sound = isinstance(about, dict) and all(isinstance(about.get(part, {}), dict) for part in _PARTS)
        if not sound or not are_thresholds(about.get(THRESHOLDS, {})):
            raise InputError(f"{store.path(_ABOUT)} is not what BLIP Lab wrote; restore it.")
        if about.get("version") != VERSION:
            raise AnotherJob(
                f"The ledger in {folder} has version {about.get('version')}, this program reads {VERSION}; "
                "use the version of BLIP Lab that wrote it."
            )
        return cls(store, about)

    def with_filters(self, about: dict[str, Any], *, write: bool) -> "Ledger":
        """This ledger with more filters, read anew; AnotherJob where a name has scores by another filter.

        about: `filters`, and `scored` where it is known. A name without any score yet is free, whoever began with it.
        write: whether they are entered in ledger.json, or only looked at.
        """
        ledger = type(self).open(self.folder)
        kept = set(ledger.filters)
        for part in _BY_FILTER:
            own = ledger.about.get(part, {})
            ledger.about[part] = {name: value for name, value in own.items() if name in kept or name not in about.get(part, {})}
        ledger._continue(json.loads(json.dumps(about)), write=write)
        if write:
            ledger.store.tidy()
        return ledger

    @property
    def folder(self) -> Place:
        """Where it lies: a path, or the URL of an object store as a str."""
        return self.store.place

    @property
    def filters(self) -> list[str]:
        """The filters that have scored anything, by name."""
        return sorted({entry.table.removeprefix("scores/") for entry in self.entries("scores/*")})

    @property
    def unfinished(self) -> Unfinished | None:
        """How far its job has come, where that was stopped or goes on; None where all is there, or no size is told."""
        captioned, scored = {entry.shard for entry in self.entries("candidates")}, dict[str, set[str]]()
        for entry in self.entries("scores/*"):
            scored.setdefault(entry.table.removeprefix("scores/"), set()).add(entry.shard)
        return unfinished(self.folder, self.about, captioned, scored)

    def has(self, table: str, shard: str) -> bool:
        """Whether a shard exists: its entry is there and its file has the size entered."""
        entry = self.entry(table, shard)
        return entry is not None and self.store.size(_data(table, shard)) == entry.bytes

    def whole(self, table: str) -> set[str]:
        """The shards of a table that exist, as `has` says of one; by few requests where each takes its time."""
        sizes = self.store.sizes(table)
        return {entry.shard for entry in self.entries(table) if sizes.get(f"{entry.shard}.parquet") == entry.bytes}

    def entry(self, table: str, shard: str) -> Entry | None:
        """The manifest entry of a shard, None where there is none or it was cut off."""
        name = entry_name(table, shard)
        return entry_in(name, next(self.store.read_each([name])))

    def entries(self, table: str) -> Iterator[Entry]:
        """The entries of a table's shards in order; scores/* stands for those of every filter."""
        names = entry_names(table, self.store.names("manifest"))
        for entry in map(entry_in, names, self.store.read_each(names)):
            if entry is not None and table in (entry.table, "scores/*"):
                yield entry

    def path(self, table: str, shard: str) -> Place:
        """Where a shard's rows lie: a path, or a URL of the store's filesystem."""
        return self.store.path(_data(table, shard))

    def content(self, table: str, shard: str) -> bytes | None:
        """The bytes of a shard's file, None where they cannot be read."""
        return next(self.store.read_each([_data(table, shard)]))

    def write(self, table: str, shard: str, rows: pa.Table, counts: dict[str, int] | None = None) -> Entry:
        """Commit a shard: data first, entry last."""
        file = io.BytesIO()
        pq.write_table(rows, file, compression="zstd")
        content = file.getvalue()
        self.store.write(_data(table, shard), content)
        digest = hashlib.sha256(content).hexdigest()
        entry = Entry(table, shard, rows.num_rows, len(content), digest, counts or {})
        self.store.write(entry_name(table, shard), _json(asdict(entry)))
        return entry

    def read(
        self, table: str, shard: str, columns: list[str] | None = None, coded: Sequence[str] = ()
    ) -> pa.Table:
        """The rows of one shard. coded: columns that come as dictionaries, which is fast where values are few.

        InputError where it is damaged: not Parquet, a column missing or of another type, text that is not UTF-8.
        """
        with self._reading(table, shard) as path:
            rows = pq.read_table(
                path, columns=columns, filesystem=self.store.filesystem, read_dictionary=list(coded)
            )
            rows.validate(full=True)
            check_columns(table, rows, columns, coded)
            return rows

    def columns(self, table: str, shard: str) -> list[str]:
        """The names of a shard's columns."""
        with self._reading(table, shard) as path:
            return pq.read_schema(path, filesystem=self.store.filesystem).names

    def table(self, table: str, columns: list[str] | None = None) -> pa.Table:
        """All rows of a table, shard by shard; the empty table where there are none."""
        parts = [self.read(table, entry.shard, columns) for entry in self.entries(table)]
        if parts:
            # A column that a later program added is null in the shards of an earlier one.
            return pa.concat_tables(parts, promote_options="default")
        if table not in SCHEMAS:
            raise InputError(f"The ledger in {self.folder} has no {table}; it has {self._known()}.")
        empty = SCHEMAS[table].empty_table()
        return empty if columns is None else empty.select(columns)

    def counts(self) -> dict[str, int]:
        """The counts of all shards' entries, added up."""
        total: dict[str, int] = {}
        for table in ("candidates", "rejects"):
            for entry in self.entries(table):
                for name, value in entry.counts.items():
                    total[name] = total.get(name, 0) + value
        return total

    def _continue(self, about: dict[str, Any], *, write: bool = True) -> None:
        """Go on with the same job; filters may be added, nothing else may differ."""
        about = comparable(about, self.about)
        known, new = ({part: one.get(part, {}) for part in _BY_FILTER} for one in (self.about, about))
        clash = {n for part in _BY_FILTER for n, own in new[part].items() if known[part].get(n, own) != own}
        same = {n for n in about if n in _BY_FILTER or self.about.get(n) == about[n]}
        differs = [_named(n, self.about.get(n), about[n]) for n in about if n not in same]
        differs += [f"filter {name}" for name in sorted(clash)]
        if differs:
            raise AnotherJob(
                f"{self.folder} is the ledger of another job (its {differs[0]} differs); give another --out, "
                "or the same data and settings to continue."
            )
        self.about |= {part: known[part] | new[part] for part in _BY_FILTER if part in about}
        if write:
            self.store.write(_ABOUT, _json(self.about))

    @contextmanager
    def _reading(self, table: str, shard: str) -> Iterator[Place]:
        path = self.path(table, shard)
        try:
            yield path
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:  # the last for a column's name
            remedy = "delete its entry in manifest and run the job again"
            if table == "overrides":  # which no job makes again
                remedy = "restore it from a copy, or delete its entry in manifest to go on without its decisions"
            raise InputError(f"{path} cannot be read ({error}); {remedy}.") from None

    def _known(self) -> str:
        return ", ".join(["candidates", "rejects", *(f"scores/{name}" for name in self.filters)])


def shard_name(number: int) -> str:
    """Shards are numbered from 0 in the order of the images; from 100,000 on the names are longer."""
    return f"{number:05d}"


def _named(name: str, was: Any, now: Any) -> str:
    """What differs; of the notes, the one that does."""
    if name != "notes":
        return name
    return next(f"note {own!r}" for own in (was or {}) | now if (was or {}).get(own) != now.get(own))


def _data(table: str, shard: str) -> str:
    return f"{table}/{shard}.parquet"


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, indent=1).encode() + b"\n"
