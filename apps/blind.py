"""The blind audit: a drawn sample of captions, judged without their scores and verdicts, and what that says.

The draw and the estimates are those of `lab ledger audit`. Answers lie in apps/reviews.py, on a sheet that the
draw names: the same thresholds, size and seed go on with the same audit.
"""

import random
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from apps.reviews import Reviews, Word
from apps.service import Service
from apps.undoing import Said
from blip.capfilt import Policy
from blip.errors import InputError
from lab.audit_draw import Drawn, draw, identity
from lab.audit_files import WORDS, Key, answered
from lab.commands.ledger_audit import evaluated

PRECISION = 0.95
"""What the suggested threshold shall reach, as in `lab ledger audit`."""


@dataclass(frozen=True)
class Draw:
    """What names an audit: the thresholds, how many captions, and the seed."""

    web: float
    synthetic: float
    size: int
    seed: int

    @property
    def sheet(self) -> str:
        """The name of its sheet."""
        return f"audit web={self.web:g} synthetic={self.synthetic:g} size={self.size} seed={self.seed}"

    @property
    def policy(self) -> Policy:
        """The policy that is audited."""
        return Policy(web=self.web, synthetic=self.synthetic)


@dataclass(frozen=True)
class Question:
    """A caption to judge: its number from 0 in the sheet, its image, its text, and the last word on it."""

    number: int
    row_id: str
    image: int
    text: str
    word: Word | None

    @property
    def version(self) -> int:
        """What a person who sees the question has seen."""
        return self.word.version if self.word else 0


class Audit:
    """The blind audits of a ledger. Any number of threads may ask at the same time."""

    def __init__(self, service: Service, reviews: Reviews) -> None:
        self._service, self._reviews = service, reviews
        self._key = lru_cache(maxsize=8)(self._drawn)

    def captions(self, which: Draw) -> int:
        """How many captions were drawn. InputError where the size is too small for the ledger."""
        return len(self._key(which)[0].rows)

    def question(self, which: Draw, number: int) -> Question:
        """A caption of the sheet; the nearest one for a number beyond its ends."""
        places = self._key(which)[1]
        number = min(max(number, 0), len(places) - 1)
        row = self._service.ask("SELECT row_id, image, caption FROM captions WHERE row = $row", row=places[number])[0]
        word = self._reviews.of([row["row_id"]], which.sheet).get(row["row_id"])
        return Question(number, row["row_id"], row["image"], row["caption"], word)

    def number(self, which: Draw, row_id: str) -> int | None:
        """The number of a caption in the sheet; None where it was not drawn."""
        return next((n for n, row in enumerate(self._key(which)[0].rows) if row["row_id"] == row_id), None)

    def next_open(self, which: Draw, number: int) -> int:
        """The number of the next caption without an answer, after this one and then from the start; else this one."""
        answers = self._answers(which)
        rows = self._key(which)[0].rows
        order = [*range(number + 1, len(rows)), *range(number + 1)]
        return next((n for n in order if not answers.get(rows[n]["row_id"])), number)

    def answer(self, which: Draw, row_id: str, word: str, *, reviewer: str, seen: int) -> Word:
        """Say yes, no or unsure of a caption that was drawn. Errors are those of Reviews.save."""
        if word not in WORDS:
            raise InputError(f"{word!r} is no answer; say {', '.join(WORDS)}.")
        if self.number(which, row_id) is None:
            raise InputError("This caption is not one of those that were drawn; reload the page.")
        return self._reviews.save(row_id, word, reviewer=reviewer, seen=seen, sheet=which.sheet)

    def undo(self, said: Said, *, reviewer: str) -> Word:
        """Take an answer back. Errors are those of Reviews.undo."""
        return self._reviews.undo(said.row_id, reviewer=reviewer, version=said.version, to=said.before, sheet=said.sheet)

    def answers(self, which: Draw) -> Counter[str]:
        """How often each word was said, and "" for captions without an answer."""
        answers = self._answers(which)
        return Counter(answers.get(row["row_id"], "") for row in self._key(which)[0].rows)

    def result(self, which: Draw) -> dict[str, Any]:
        """The estimates, as `lab ledger audit --answers --json` prints them; InputError without an answer."""
        key, answers = self._key(which)[0], self._answers(which)
        words = {row["row_id"]: answers.get(row["row_id"], "") for row in key.rows}
        if not any(words.values()):
            raise InputError("Nobody has answered yet; say yes, no or unsure of some captions first.")
        return evaluated(key, answered(key, words), Counter(words.values()), PRECISION)

    def _answers(self, which: Draw) -> dict[str, str]:
        return {row: word.word for row, word in self._reviews.words(which.sheet).items() if word.word}

    def _drawn(self, which: Draw) -> tuple[Key, list[int]]:
        """The key of an audit, and where its captions stand in the ledger (from 1), both in the sheet's order."""
        ledger = self._service.ledger
        policy = self._service.over(which.policy)
        strata, drawn = draw(ledger, policy, which.size, which.seed)
        before, starts = 0, {}
        for entry in ledger.entries("candidates"):
            starts[entry.shard] = before
            before += entry.rows
        places = [starts[own.shard] + own.row + 1 for own in drawn]
        found = self._service.ask("SELECT row, row_id FROM captions WHERE row IN (SELECT unnest($rows::BIGINT[]))", rows=places)
        ids = {row["row"]: row["row_id"] for row in found}
        both = [(place, _facts(own, ids[place])) for place, own in zip(places, drawn, strict=True)]
        random.Random(which.seed).shuffle(both)
        key = Key(identity(ledger), policy, which.seed, strata, [facts for _, facts in both])
        return key, [place for place, _ in both]


def _facts(drawn: Drawn, row_id: str) -> dict[str, Any]:
    return {"row_id": row_id, "stratum": drawn.stratum, "score": drawn.score, "kept": drawn.kept}
