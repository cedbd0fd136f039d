"""A ledger as it stands at one moment, so that what is counted of one that grows agrees with itself."""

from collections.abc import Iterator
from typing import Any

from blip.capfilt.ledger import READING, Ledger
from blip.capfilt.manifest import Entry
from blip.capfilt.store import Store


class Snapshot(Ledger):
    """A ledger to read whose entries are read once, when it is opened.

    Where its job is not finished, it holds the shards that are done: not one that is captioned and has no score yet.
    """

    def __init__(self, store: Store, about: dict[str, Any]) -> None:
        super().__init__(store, about)
        self._standing: dict[tuple[str, str], Entry] = {}
        # Rejects after candidates: those of a shard are written before them.
        for table in ("overrides", "candidates", "scores/*", "rejects"):
            self._standing |= {(entry.table, entry.shard): entry for entry in super().entries(table)}
        if (found := self.unfinished) is not None:
            done = {READING, *found.done}
            self._standing = {place: own for place, own in self._standing.items() if own.table == "overrides" or own.shard in done}

    def entry(self, table: str, shard: str) -> Entry | None:
        """As `Ledger.entry`, at the moment of opening."""
        return self._standing.get((table, shard))

    def entries(self, table: str) -> Iterator[Entry]:
        """As `Ledger.entries`, at the moment of opening."""
        for entry in self._standing.values():
            if entry.table == table or (table == "scores/*" and entry.table.startswith("scores/")):
                yield entry
