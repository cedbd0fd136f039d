"""Rows of CSV and TSV files, in which one quote that never closes does not swallow the rows after it."""

import csv
import os
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain

from blip.data.files import IMAGE_EXTENSIONS
from blip.data.rows import Row
from blip.errors import InputError

UNCLOSED = "a quote begins in this line and its end is not certain: close it, or double the quotes of a quoted text"


class CsvRows:
    """A file's rows below its first one, which names the columns; InputError where that cannot be read."""

    def __init__(self, file: Iterable[str], delimiter: str, path: str) -> None:
        self._lines, self._delimiter = _Lines(file), delimiter
        self._reader = csv.reader(self._lines, delimiter=delimiter)
        try:
            self.names = next(self._reader)
        except csv.Error as error:
            raise InputError(f"The first line of {path} cannot be read ({error}): name the columns there.") from None
        if len(self._lines.taken) > 1 and not self._whole(self._lines.taken):
            raise InputError(f"The first line of {path} has a quote that does not close: name the columns there.")

    def below(self, image: str | None) -> Iterator[tuple[int, Row]]:
        """Each row, or why it is none, with the number of its last line from 1; blank lines are left out.

        A quoted text may go over several lines. Where its quotes are not those of a quoted text, or one of the
        lines in it would be a row by itself, with a file in the column `image`, it may be a text that happens to
        begin with a quote: then the first line alone is none, and the next one is read by itself.
        """
        while True:
            self._lines.taken = []
            row: Row
            try:
                fields = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:  # a field beyond the limit of the csv module
                fields, row = [], f"cannot be read: {error}"
            else:
                row = self._row(fields)
            if len(self._lines.taken) > 1 and not self._certain(fields, image):
                self._lines.keep_first()
                row = UNCLOSED
            if row:
                yield self._lines.number, row

    def _row(self, fields: list[str]) -> Row:
        if fields and len(fields) != len(self.names):
            return f"{len(fields)} fields instead of {len(self.names)}"
        return dict(zip(self.names, fields, strict=False))  # a blank line has none

    def _certain(self, fields: list[str], image: str | None) -> bool:
        """Whether the lines taken are surely one row."""
        if not fields or not self._whole(self._lines.taken):
            return False
        rows = (next(csv.reader([line], delimiter=self._delimiter), []) for line in self._lines.taken[1:])
        alike = [row for row in rows if len(row) == len(self.names)]
        if image is None or len(fields) != len(self.names):
            return not alike
        at = self.names.index(image)
        ends = {*IMAGE_EXTENSIONS, _extension(fields[at])}
        return not any(_extension(row[at]) in ends for row in alike)

    def _whole(self, lines: list[str]) -> bool:
        """Whether lines are one row with every quote where the format has one."""
        try:
            return len(list(csv.reader(lines, delimiter=self._delimiter, strict=True))) == 1
        except csv.Error:
            return False


class _Lines:
    """The lines of a file, of which those that the csv module took for one row can be given back."""

    def __init__(self, file: Iterable[str]) -> None:
        # The blank one at the end lets a quote that is open in the last line go on beyond it.
        self._ahead, self._back = chain(file, ["\n"]), deque[str]()
        self.taken: list[str] = []
        self.number = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._back.popleft() if self._back else next(self._ahead)
        self.taken.append(line)
        self.number += 1
        return line

    def keep_first(self) -> None:
        """Give back all lines taken but the first."""
        self._back.extendleft(reversed(self.taken[1:]))
        self.number -= len(self.taken) - 1


def _extension(path: str) -> str:
    return os.path.splitext(path)[1][1:].lower()
