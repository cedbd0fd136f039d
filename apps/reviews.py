"""What people say of captions while they look: saved at once, in an SQLite file of their own beside the ledger.

Nothing is overwritten: every word is a new version of its caption, which the reviewer must have been shown the
version before. So two people who judge the same caption at the same time cannot undo each other unseen. The
ledger itself learns the last words when a person exports (apps/reviewing.py).
"""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from blip.errors import InputError

KEEP, DROP = "keep", "drop"
REVIEW = "review"
"""The sheet of the review; every audit has a sheet of its own."""

_WAIT = 10.0  # seconds until another's write must be done
_TABLES = """
CREATE TABLE IF NOT EXISTS about (ledger TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS words (
    sheet TEXT NOT NULL, row_id TEXT NOT NULL, version INTEGER NOT NULL, word TEXT, caption TEXT,
    reviewer TEXT NOT NULL, at TEXT NOT NULL, undone_by TEXT, PRIMARY KEY (sheet, row_id, version)
) WITHOUT ROWID;
"""
_WORD = "row_id, word, caption, reviewer, at, {undone_by}"
# With max() SQLite takes the other columns from the row that has it.
_LAST = f"SELECT {_WORD}, max(version) FROM words WHERE sheet = ? {{also}} GROUP BY row_id"
_VERSION = f"SELECT {_WORD}, version FROM words WHERE sheet = ? AND row_id = ? AND version = ?"


@dataclass(frozen=True)
class Word:
    """The last word on a caption: keep or drop, in an audit yes, no or unsure; None where it was taken back.

    caption: the better text, None for the caption as it is. at: the time in UTC, ISO 8601. undone_by: who took
    back a later word, so that this one holds again since then; None for a word that was said. version: 1, 2, ...
    """

    row_id: str
    word: str | None
    caption: str | None
    reviewer: str
    at: str
    undone_by: str | None
    version: int

    @property
    def by(self) -> str:
        """Who made this version."""
        return self.undone_by or self.reviewer

    @property
    def time(self) -> datetime:
        """When it was said."""
        return datetime.fromisoformat(self.at)


class Changed(InputError):
    """Somebody else has judged the caption since it was shown; newer is what they said."""

    def __init__(self, newer: Word) -> None:
        how = f"{newer.reviewer} has judged this caption since you opened it"
        if newer.word and newer.undone_by:
            how = f"{newer.reviewer}'s verdict holds again since {newer.undone_by} took a later one back"
        super().__init__(f"{how} ({self._said(newer)}, {clock(newer)}); that verdict stands, judge again to replace it.")
        self.newer = newer

    def own(self) -> str:
        """The same to the one who said it, and has gone on to another caption since."""
        return f"You had already judged the caption that was here ({self._said(self.newer)}, {clock(self.newer)}); that verdict stands, ↑ leads back to it."

    @staticmethod
    def _said(newer: Word) -> str:
        said = newer.word or "took the verdict back"
        return f"{said} with another text" if newer.caption is not None else said


class Reviews:
    """The words of people on the captions of one ledger, in a file. Any number of threads and processes may use it.

    file: made with the first word. ledger: what names the ledger's captions (lab.audit_draw.identity).
    """

    def __init__(self, file: Path, ledger: str) -> None:
        self.file, self._ledger = file, ledger
        with self._connected():
            pass  # a file that cannot be used is refused now, not at the first word

    def words(self, sheet: str = REVIEW) -> dict[str, Word]:
        """The last word on each caption that anybody judged, by row_id; word None where it was taken back."""
        return self._last(sheet, "")

    def of(self, row_ids: Sequence[str], sheet: str = REVIEW) -> dict[str, Word]:
        """The same of these captions alone."""
        marks = ", ".join("?" * len(row_ids))
        return self._last(sheet, f"AND row_id IN ({marks})", *row_ids)

    def sheets(self) -> list[str]:
        """The sheets on which anybody has said anything, sorted."""
        with self._connected() as db:
            return [] if db is None else [name for (name,) in db.execute("SELECT DISTINCT sheet FROM words ORDER BY 1")]

    def save(
        self, row_id: str, word: str, *, reviewer: str, seen: int, caption: str | None = None, sheet: str = REVIEW
    ) -> Word:
        """Say a word. seen: the version that the reviewer was shown, 0 for none.

        Changed where there is a newer version; InputError without a reviewer's name.
        """
        return self._add(sheet, Word(row_id, word, caption, reviewer.strip(), _now(), None, seen + 1))

    def undo(self, row_id: str, *, reviewer: str, version: int, to: int | None = None, sheet: str = REVIEW) -> Word:
        """Take back the word of this version: an earlier one holds again, as a new version, under its own reviewer.

        to: the version whose word holds again, 0 for none; by default the one before. Changed where there is a
        newer version; InputError without a reviewer's name.
        """
        with self._connected() as db:
            before = None if db is None else _version(db, sheet, row_id, version - 1 if to is None else to)
        word, caption = (before.word, before.caption) if before else (None, None)
        by = reviewer.strip()
        whose = before.reviewer if before and before.word and by else by
        return self._add(sheet, Word(row_id, word, caption, whose, _now(), by, version + 1))

    def _add(self, sheet: str, new: Word) -> Word:
        if not new.reviewer:
            raise InputError("Give your name first: every verdict says whose it is.")
        row = {"sheet": sheet} | vars(new)
        sql = f"INSERT INTO words ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"
        with self._open(make=True) as db:
            try:
                db.execute(sql, tuple(row.values()))
            except sqlite3.IntegrityError:
                db.rollback()
                newer = db.execute(_said(db, _LAST, also="AND row_id = ?"), (sheet, new.row_id)).fetchone()
                raise Changed(Word(*newer)) from None
        return new

    def _last(self, sheet: str, also: str, *row_ids: str) -> dict[str, Word]:
        with self._connected() as db:
            rows = [] if db is None else db.execute(_said(db, _LAST, also=also), (sheet, *row_ids)).fetchall()
        return {row[0]: self._word(row) for row in rows}

    def _word(self, row: tuple[Any, ...]) -> Word:
        """A row as a word; InputError where the file holds what the studio never wrote."""
        row_id, word, caption, reviewer, at, undone_by, version = row
        texts = (row_id, word or "", caption or "", reviewer, at, undone_by or "")
        try:
            if all(isinstance(text, str) for text in texts) and isinstance(version, int) and datetime.fromisoformat(at):
                return Word(*row)
        except ValueError:
            pass
        raise InputError(f"{self.file} holds a verdict that the studio did not write; give another file with --reviews.")

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection | None]:
        """A connection; None where there is no file yet, or no table in it."""
        if not self.file.exists():
            yield None
            return
        with self._open() as db:
            yield db if self._made(db) else None

    @contextmanager
    def _open(self, make: bool = False) -> Iterator[sqlite3.Connection]:
        """A connection, whose changes are kept when the block ends well; make: the tables, where they are not there."""
        try:
            with closing(sqlite3.connect(self.file, timeout=_WAIT)) as db:
                if make:
                    self._make(db)
                with db:
                    yield db
        except sqlite3.Error as error:
            raise InputError(
                f"{self.file} cannot be used for reviews ({error}); free it, or give another file with --reviews."
            ) from None

    def _make(self, db: sqlite3.Connection) -> None:
        _write_ahead(db)
        db.execute("PRAGMA synchronous = FULL")  # a saved word outlives a loss of power
        if not self._made(db):
            db.executescript(_TABLES)
            db.execute("INSERT INTO about SELECT ? WHERE NOT EXISTS (SELECT 1 FROM about)", (self._ledger,))
            db.commit()
        elif not _knows_undone(db):
            _learn_undone(db)

    def _made(self, db: sqlite3.Connection) -> bool:
        """Whether the tables are there; InputError where they are those of another ledger."""
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'words'").fetchone():
            return False
        row = db.execute("SELECT ledger FROM about").fetchone()
        if row is not None and row[0] != self._ledger:
            raise InputError(
                f"{self.file} holds the reviews of another ledger; give the file of this one with --reviews, or move that one away."
            )
        return row is not None


def _write_ahead(db: sqlite3.Connection) -> None:
    """Set the journal to WAL; SQLite itself does not wait where another connection sets it at the same time."""
    last = time.monotonic() + _WAIT
    while db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > last:
                raise
            time.sleep(0.01)


def clock(word: Word) -> str:
    """When a word was said, for people."""
    return f"{word.time:%d %b %Y, %H:%M:%S} UTC"


def kappa(first: Sequence[bool], second: Sequence[bool]) -> float | None:
    """Cohen's kappa of two raters: their agreement beyond chance, 1 for perfect (Cohen 1960, eq. 1).

    None where it is not defined: nothing was rated, or both always said the same.
    """
    count = len(first)
    if not count:
        return None
    same = sum(a == b for a, b in zip(first, second, strict=True)) / count
    yes = sum(first) / count, sum(second) / count
    chance = yes[0] * yes[1] + (1 - yes[0]) * (1 - yes[1])
    return None if chance == 1 else (same - chance) / (1 - chance)


def _version(db: sqlite3.Connection, sheet: str, row_id: str, version: int) -> Word | None:
    row = db.execute(_said(db, _VERSION), (sheet, row_id, version)).fetchone()
    return Word(*row) if row else None


def _said(db: sqlite3.Connection, sql: str, **parts: str) -> str:
    """A query of words; those of an earlier file do not say who took a later word back."""
    return sql.format(undone_by="undone_by" if _knows_undone(db) else "NULL", **parts)


def _knows_undone(db: sqlite3.Connection) -> bool:
    return any(name == "undone_by" for _, name, *_ in db.execute("PRAGMA table_info(words)"))


def _learn_undone(db: sqlite3.Connection) -> None:
    """Give an earlier file the column; another process may do so at the same time."""
    db.execute("BEGIN IMMEDIATE")
    if not _knows_undone(db):
        db.execute("ALTER TABLE words ADD COLUMN undone_by TEXT")
    db.commit()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
