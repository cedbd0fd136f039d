"""Proof that a ledger is whole: files as entered, rows aligned, nothing lost between input and output."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from blip.capfilt.ledger import READING, Ledger
from blip.capfilt.manifest import Entry
from blip.capfilt.schema import row_id
from blip.capfilt.unfinished import shards_of
from blip.errors import InputError


@dataclass(frozen=True)
class Finding:
    """One invariant: its statement, whether it holds, and the numbers or names behind that."""

    invariant: str
    holds: bool
    detail: str = ""


def verify(ledger: Ledger) -> list[Finding]:
    """Every invariant of a ledger, checked against the files themselves; InputError where ledger.json tells no job."""
    _check_job(ledger)
    return [
        _files(ledger),
        _complete(ledger),
        _aligned(ledger),
        _identities(ledger),
        _whole_images(ledger),
        _pairs(ledger),
        _synthetic(ledger),
    ]


def _check_job(ledger: Ledger) -> None:
    data, about = ledger.about.get("data", {}), ledger.about
    counts = (data.get("images"), data.get("pairs"), about.get("images_per_shard"), about.get("candidates"))
    if not all(type(count) is int for count in counts) or about["images_per_shard"] < 1 or "filters" not in about:
        raise InputError(f"{ledger.folder} has a ledger.json that does not tell its job; restore it.")


def _files(ledger: Ledger) -> Finding:
    bad = [f"{e.table} {e.shard}" for e in _every_entry(ledger) if not _as_entered(ledger, e)]
    return Finding("every shard is as it was entered (rows, bytes, SHA-256)", not bad, ", ".join(bad[:5]))


def _as_entered(ledger: Ledger, entry: Entry) -> bool:
    content = ledger.content(entry.table, entry.shard)
    if content is None:
        return False
    same = len(content) == entry.bytes and hashlib.sha256(content).hexdigest() == entry.sha256
    rows = _read(ledger, entry.table, entry.shard) if same else None
    return rows is not None and rows.num_rows == entry.rows


def _complete(ledger: Ledger) -> Finding:
    wanted = shards_of(ledger.about)
    tables = ["candidates", *(f"scores/{name}" for name in ledger.about["filters"])]
    found = {table: sum(1 for _ in ledger.entries(table)) for table in tables}
    found["rejects"] = sum(1 for e in ledger.entries("rejects") if e.shard != READING)
    missing = [f"{table} has {count} of {wanted}" for table, count in found.items() if count != wanted]
    if (stopped := ledger.unfinished) is not None:
        missing.append(f"{stopped.images:,} of {stopped.of_images:,} images are done")
    return Finding("every table has every shard", not missing, ", ".join(missing))


def _aligned(ledger: Ledger) -> Finding:
    bad = []
    for entry in ledger.entries("scores/*"):
        ids = _column(ledger, "candidates", entry.shard, "row_id")
        if ids is None or ids != _column(ledger, entry.table, entry.shard, "row_id"):
            bad.append(f"{entry.table} {entry.shard}")
    return Finding("scores are row-aligned with their candidates", not bad, ", ".join(bad[:5]))


def _identities(ledger: Ledger) -> Finding:
    seen: set[str] = set()
    wrong = repeated = 0
    for entry in ledger.entries("candidates"):
        rows = _read(ledger, "candidates", entry.shard)
        for row in rows.to_pylist() if rows is not None else []:
            wrong += row["row_id"] != _identity(row)
            repeated += row["row_id"] in seen
            seen.add(row["row_id"])
    detail = f"{wrong} wrong, {repeated} repeated" if wrong or repeated else f"{len(seen)} rows"
    return Finding("every row_id is that of its content, and unique", not wrong and not repeated, detail)


def _identity(row: dict) -> str:
    made = {name: row[name] for name in ("captioner_id", "decoding")} | {"seed": row["seed"] or 0}
    place = {"candidate": row["candidate"], "round": row["round"]}
    return row_id(row["image_key"], row["image_sha256"], row["origin"], row["caption"], **place, **made)


def _whole_images(ledger: Ledger) -> Finding:
    home: dict[str, str] = {}
    split = set()
    for entry in ledger.entries("candidates"):
        keys = _column(ledger, "candidates", entry.shard, "image_key")
        for key in pc.unique(keys).to_pylist() if keys is not None else []:
            if home.setdefault(key, entry.shard) != entry.shard:
                split.add(key)
    return Finding("all captions of an image lie in one shard", not split, ", ".join(sorted(split)[:5]))


def _pairs(ledger: Ledger) -> Finding:
    counts, reading = ledger.counts(), ledger.entry("rejects", READING)
    given = ledger.about["data"]["pairs"] + (reading.counts.get("rejected_pairs", 0) if reading else 0)
    rows, rejected = counts.get("given_rows", 0), counts.get("rejected_pairs", 0)
    return Finding(
        "input pairs = web rows + rejected pairs", given == rows + rejected, f"{given} = {rows} + {rejected}"
    )


def _synthetic(ledger: Ledger) -> Finding:
    counts, each = ledger.counts(), ledger.about["candidates"]
    rows, failed = counts.get("synthetic_rows", 0), counts.get("failed_captions", 0)
    images = counts.get("images", 0)
    return Finding(
        "synthetic rows + failed captions = captions per image x accepted images",
        rows + failed == each * images,
        f"{rows} + {failed} = {each} x {images}",
    )


def _every_entry(ledger: Ledger) -> Iterator[Entry]:
    for table in ("candidates", "scores/*", "rejects", "overrides"):
        yield from ledger.entries(table)


def _column(ledger: Ledger, table: str, shard: str, name: str) -> pa.ChunkedArray | None:
    rows = _read(ledger, table, shard)
    return None if rows is None else rows[name]


def _read(ledger: Ledger, table: str, shard: str) -> pa.Table | None:
    """A shard's rows; None where it is missing or damaged, which `_files` reports."""
    try:
        return ledger.read(table, shard)
    except InputError:
        return None
