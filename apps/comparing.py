"""Two filters, two captioners, two rounds: the same images under two score columns of one ledger or of two.

Plain Python, no Gradio. Two columns are joined when they are asked for first (apps/pairing.py), and again after
people have decided; everything else is a query (apps/comparison.py).
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import duckdb

from apps.compared import Pair
from apps.comparison import Comparison
from apps.pairing import Column, pair_table, side_table
from apps.pictures import Picture, Pictures
from apps.score_names import score_name
from blip.capfilt import Ledger
from blip.capfilt.decide import deciding_column
from blip.errors import InputError


class Comparing:
    """The ledgers that can be compared. Any number of threads may ask at the same time.

    roots: folders below which further ledgers may be opened by `add`; none by default.
    """

    def __init__(self, ledgers: Sequence[Ledger], roots: Sequence[Path] = ()) -> None:
        self.roots = tuple(root.resolve() for root in roots)
        self._ledgers, self._lock = list(ledgers), Lock()
        self._pictures = [_pictures(ledger) for ledger in ledgers]
        self.columns: dict[str, Column] = {}
        """Every score column of every ledger, by the words it is chosen by."""
        for number in range(len(ledgers)):
            self._enter(number)
        self._scratch = tempfile.TemporaryDirectory(prefix="blip-lab-studio-")
        self._connection = duckdb.connect(str(Path(self._scratch.name) / "compare.duckdb"))
        self._sides: dict[tuple[Column, int], str] = {}
        self._known: dict[tuple[Column, Column], tuple[tuple[int, int], Comparison]] = {}
        self._tables = 0

    def close(self) -> None:
        """Let go of the tables and remove their file."""
        with self._lock:  # a join that is under way ends first
            self._connection.close()
        self._scratch.cleanup()

    def start(self) -> tuple[str, str]:
        """The two columns to begin with: those that decide in the first two ledgers or filters, else any two."""
        if not self.columns:
            raise InputError("The ledger has no scores to compare; run lab capfilt first.")
        first, *others = self.columns
        own = self.columns[first]
        return first, min(others or [first], key=lambda label: _likeness(own, self.columns[label]))

    def choices(self) -> list[tuple[str, str]]:
        """What every column is called for people, and the words of `columns` it is chosen by.

        The filter is named where there are several, the ledger where there are several.
        """
        several = len({own.filter for own in self.columns.values()}) > 1
        return [
            (
                score_name(own.name)
                + (f", {own.filter}" if several else "")
                + (f" · {words.partition(' · ')[0]}" if len(self._ledgers) > 1 else ""),
                words,
            )
            for words, own in self.columns.items()
        ]

    def words_of(self, column: Column) -> str:
        """The words that a column is chosen by: ledger, filter and name of the column."""
        return next(words for words, own in self.columns.items() if own == column)

    def ready(self, a: Column, b: Column) -> bool:
        """Whether the two columns are joined already, with all that people have decided since."""
        return (a, b) in self._known and self._known[a, b][0] == (self._words(a), self._words(b))

    def compare(self, a: Column, b: Column) -> Comparison:
        """The two columns, joined when they are asked for first; InputError where scores are missing."""
        with self._lock:
            words = (self._words(a), self._words(b))
            known, comparison = self._known.get((a, b), (None, None))
            if comparison is None or known != words:
                sides = (self._side(a, words[0]), self._side(b, words[1]))
                table = self._new("pairs")
                pair_table(self._connection, *sides, table, one_ledger=a.ledger == b.ledger)
                comparison = Comparison(self._connection, (a, b), (*sides, table))
                self._known[a, b] = (words, comparison)
            return comparison

    def add(self, folder: str) -> str:
        """Open one more ledger, below one of the roots; its name. InputError where it may not or cannot be opened, or has no scores."""
        place = Path(folder.strip()).expanduser().resolve()
        if not any(place.is_relative_to(root) for root in self.roots):
            allowed = ", ".join(map(str, self.roots)) or "none"
            raise InputError(
                f"{folder!r} is outside the folders that may be opened here ({allowed}); give one below them."
            )
        with self._lock:
            if all(_place(ledger) != place for ledger in self._ledgers):
                ledger = Ledger.open(place)
                if not ledger.filters:
                    raise InputError(f"{_name(place)} has no scores yet; open it again when lab capfilt has written its first shard.")
                self._ledgers.append(ledger)
                self._pictures.append(_pictures(ledger))
                self._enter(len(self._ledgers) - 1)
        return _name(place)

    def picture(self, comparison: Comparison, pair: Pair) -> Picture:
        """The thumbnail of a pair's image, as the ledger of side A names it, or why there is none."""
        return self._pictures[comparison.columns[0].ledger].of(pair.key, pair.ref, pair.sha256)

    def _enter(self, number: int) -> None:
        """List a ledger's columns, of each filter first the one that decides."""
        ledger = self._ledgers[number]
        taken = {label.partition(" · ")[0] for label in self.columns}
        name = _name(_place(ledger))
        name = f"{name} ({number + 1})" if name in taken else name
        found = dict(self.columns)
        for filter in ledger.filters:
            table = f"scores/{filter}"
            own = [c for c in ledger.columns(table, next(ledger.entries(table)).shard) if c != "row_id"]
            first = deciding_column(own)
            for column in sorted(own, key=lambda column: column != first):
                found[f"{name} · {filter}.{column}"] = Column(number, filter, column)
        self.columns = found

    def _side(self, column: Column, words: int) -> str:
        if (column, words) not in self._sides:
            table = self._new("side")
            side_table(self._connection, self._ledgers[column.ledger], column, table)
            self._sides[column, words] = table
        return self._sides[column, words]

    def _words(self, column: Column) -> int:
        """How often people have decided in a column's ledger: with every word the tables are made anew.

        Those before stay until the studio ends, for whoever still reads them.
        """
        return sum(1 for _ in self._ledgers[column.ledger].entries("overrides"))

    def _new(self, kind: str) -> str:
        self._tables += 1
        return f"{kind}_{self._tables}"


def _likeness(one: Column, other: Column) -> tuple[bool, bool, bool]:
    """Small where two columns are worth comparing; logit and probability of one ITM head always agree."""
    same_filter = one.ledger == other.ledger and one.filter == other.filter
    return one.ledger == other.ledger, same_filter, same_filter and other.name.startswith("itm_")


def _place(ledger: Ledger) -> Path:
    return Path(str(ledger.folder)).resolve()


def _name(place: Path) -> str:
    return "/".join(place.parts[-2:])


def _pictures(ledger: Ledger) -> Pictures:
    return Pictures(ledger.about.get("notes", {}).get("world"))
