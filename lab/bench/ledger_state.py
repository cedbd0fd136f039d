"""Where a killed CapFilt run stood, told from the files it left."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CAPTIONING, WRITING, ENTERING, BETWEEN = (
    "captioning",
    "shard writing",
    "between rename and manifest entry",
    "between two tables of a shard",
)
_TABLES = ("rejects", "candidates", "scores/itm")  # in the order in which a shard's are committed

State = dict[str, tuple[int, int]]
"""Every file of a ledger by its path, with the inode and time that change when it is written again."""


@dataclass(frozen=True)
class Place:
    """A phase of the work, and the shard it was at (None: all shards are done)."""

    phase: str
    shard: str | None
    table: str = ""


def state(folder: Path) -> State:
    """The files of a ledger as they are now; those that vanish meanwhile are left out."""
    found = {}
    for path in folder.rglob("*") if folder.exists() else ():
        try:
            stat = path.stat()
        except FileNotFoundError:
            continue
        if path.is_file():
            found[path.relative_to(folder).as_posix()] = (stat.st_ino, stat.st_mtime_ns)
    return found


def place(before: State, after: State, pid: int, shards: int) -> Place:
    """Where a process stands that found the files `before` and left `after`.

    Only what it wrote itself counts: a shard without an entry that an earlier kill left is no sign.
    """
    new = {name for name, mark in after.items() if before.get(name) != mark}
    for shard, table in ((shard, table) for shard in _shards(shards) for table in _TABLES):
        data, entry = f"{table}/{shard}.parquet", _entry(table, shard)
        begun = f"{table}/.{shard}.parquet."
        if any(name.startswith(begun) and name.endswith(f".{pid}.unfinished") for name in new):
            return Place(WRITING, shard, table)
        if data in new and entry not in new:
            return Place(ENTERING, shard, table)
    ahead = next((s for s in _shards(shards) if any(_entry(t, s) not in after for t in _TABLES)), None)
    entered = any(_entry(table, ahead) in new for table in _TABLES) if ahead else False
    return Place(BETWEEN if entered else CAPTIONING, ahead)


def _shards(count: int) -> Iterator[str]:
    return (f"{number:05d}" for number in range(count))


def _entry(table: str, shard: str) -> str:
    return f"manifest/{table.replace('/', '.')}-{shard}.json"
