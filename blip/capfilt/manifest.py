"""The manifest of a ledger: the entries by which its shards exist, and the order in which they stand.

Shards are numbered from 0. In an object store those of people's decisions have more behind the number,
`00000.MOMENT`, since there several writers may have found the same one free.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from blip.data.jsons import parse_json


@dataclass(frozen=True)
class Entry:
    """A manifest entry: a shard that exists."""

    table: str
    shard: str
    rows: int
    bytes: int
    sha256: str
    counts: dict[str, int]


def entry_name(table: str, shard: str) -> str:
    """The file of a shard's entry, below the ledger's place."""
    return f"manifest/{_flat(table)}-{shard}.json"


def entry_names(table: str, names: Iterable[str]) -> list[str]:
    """Of the names in the manifest the files of a table's entries, in order; scores/* stands for every filter."""
    first = "scores." if table == "scores/*" else f"{_flat(table)}-"
    found = (name for name in names if name.startswith(first) and name.endswith(".json"))
    return [f"manifest/{name}" for name in sorted(found, key=_place)]


def entry_in(name: str, content: bytes | None) -> Entry | None:
    """The entry in a file of the manifest; None where it is damaged, or is not what the file is named by."""
    try:
        entry = None if content is None else Entry(**parse_json(content))
    except (ValueError, TypeError):
        return None
    return entry if entry is not None and _sound(entry) and name == entry_name(entry.table, entry.shard) else None


def _sound(entry: Entry) -> bool:
    texts, numbers = (entry.table, entry.shard, entry.sha256), (entry.rows, entry.bytes)
    if not all(isinstance(text, str) for text in texts) or not isinstance(entry.counts, dict):
        return False
    return all(type(number) is int and number >= 0 for number in (*numbers, *entry.counts.values()))


def _flat(table: str) -> str:
    return table.replace("/", ".")


def _place(name: str) -> tuple[str, bool, int, str]:
    """Sorts entries by table and number; a shard without a number stands last."""
    table, _, shard = name.removesuffix(".json").rpartition("-")
    number = shard.partition(".")[0]
    return table, not number.isdecimal(), len(number), shard
