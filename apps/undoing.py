"""What a person said since the page was opened, and how it is taken back, word by word."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from apps.reviews import REVIEW, Word


@dataclass(frozen=True)
class Said:
    """A word that a person may take back: the version that says it now, and the one whose word held before it.

    before: 0 where the caption had no word.
    """

    row_id: str
    version: int
    before: int
    sheet: str = REVIEW

    @classmethod
    def of(cls, word: Word, sheet: str = REVIEW) -> "Said":
        """For a word that was just saved."""
        return cls(word.row_id, word.version, word.version - 1, sheet)


def last(done: Sequence[Said], sheet: str = REVIEW) -> Said | None:
    """The last word said on a sheet."""
    return next((said for said in reversed(done) if said.sheet == sheet), None)


def without(done: Sequence[Said], said: Said, back: Word | None = None) -> list[Said]:
    """What is left to take back. back: the word that holds again, a newer version of the one before."""
    left = [own for own in done if own != said]
    if back is None:
        return left
    again = (said.sheet, said.row_id, said.before)
    return [replace(own, version=back.version) if (own.sheet, own.row_id, own.version) == again else own for own in left]
