"""The review: queues of captions to judge, what people said of them, how far that agrees, and the export.

Plain Python, no Gradio. Queues are queries over the index (apps/index.py); words lie in apps/reviews.py.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from apps.answers import Caption
from apps.exporting import Exported, Exports
from apps.links import Place
from apps.questions import LIMIT
from apps.queues import QUEUES, ROWS, SEARCHED
from apps.reviews import KEEP, REVIEW, Reviews, Word, kappa
from apps.service import Service
from blip.capfilt import Policy
from blip.capfilt.override import Decision, decisions, record
from blip.errors import InputError
from lab.audit_draw import identity
from lab.locks import locked

_PAPER = Policy()


@dataclass(frozen=True)
class Item:
    """A caption of a queue with its image (number and key) and the last word on it, None where there is none."""

    image: int
    key: str
    caption: Caption
    word: Word | None

    @property
    def version(self) -> int:
        """What a reviewer who sees the item has seen."""
        return self.word.version if self.word else 0


@dataclass(frozen=True)
class Stretch:
    """A page of a queue: where it is (with the focused caption's row_id), its items, the focused one's number
    among them (None where the queue is empty), and how many captions the queue has."""

    place: Place
    items: tuple[Item, ...]
    focus: int | None
    captions: int

    @property
    def pages(self) -> int:
        """Pages in all, at least one."""
        return max(1, -(-self.captions // ROWS))

    @property
    def number(self) -> int:
        """The place of the focused caption in its queue, from 1; 0 where the queue is empty."""
        return 0 if self.focus is None else self.place.page * ROWS + self.focus + 1

    @property
    def around(self) -> tuple[bool, bool, bool, bool]:
        """Whether there is a caption before and after the focused one, a page before and after this one."""
        return self.number > 1, self.number < self.captions, self.place.page > 0, self.place.page + 1 < self.pages


@dataclass(frozen=True)
class Agreement:
    """People beside the filter's own verdicts (those of its scores), on the captions that people kept or dropped.

    Captions with a better text are counted apart: the word is on that text. kappas are Cohen's, None where not
    defined. truth counts those of the captions whose truth is known.
    """

    counts: dict[tuple[bool, bool], int]
    """Captions by (kept by people, kept by the filter)."""
    edited: int
    reviewers: dict[str, int]
    people_filter: float | None
    truth: int
    people_truth: float | None
    filter_truth: float | None

    @property
    def captions(self) -> int:
        """Captions compared."""
        return sum(self.counts.values())


class Desk:
    """Where captions of a ledger are reviewed. Any number of threads may ask at the same time.

    policy: the thresholds that the room begins with.
    """

    def __init__(self, service: Service, reviews: Reviews, policy: Policy = _PAPER) -> None:
        self.service, self.reviews, self.policy = service, reviews, policy
        self._exports = Exports(service.ledger)
        self.ledger = identity(service.ledger)[:12]
        """What names the ledger in links."""

    def close(self) -> None:
        """Remove what was exported here."""
        self._exports.close()

    def queues(self, opinion: str = "") -> dict[str, str]:
        """The queues that this ledger can fill: the name that people see, by the word links have for them.

        opinion: what disagrees with the filter in one of them, as in a Place.
        """
        service = self.service
        can = {"borderline": service.margin > 0, "disagree": bool(service.opinions), "wrong": service.truth_known}
        names = {"disagree": service.disagreeing(opinion)} if service.opinions else {}
        return {word: names.get(word, queue.name) for word, queue in QUEUES.items() if can.get(word, True)}

    def counts(self, place: Place) -> dict[str, int]:
        """How many captions each queue has, of those with the searched text."""
        columns = ", ".join(f'count(*) FILTER ({queue.condition}) AS "{name}"' for name, queue in QUEUES.items())
        return self.service.ask(f"SELECT {columns} FROM captions WHERE {SEARCHED}", **self._bound(place))[0]

    def show(self, place: Place) -> Stretch:
        """The page of a place: that of its caption; its page or the last one where the queue has no such caption."""
        bound = self._bound(place)
        captions = self._queue(place, "SELECT count(*) AS n FROM queue", bound)[0]["n"]
        found = self._queue(place, "SELECT place FROM queue WHERE row_id = $row", bound | {"row": place.row_id})
        at = found[0]["place"] if found else min(place.page, max(0, captions - 1) // ROWS) * ROWS
        page = at // ROWS
        rows = self._queue(
            place,
            "SELECT q.row_id, q.image, i.key FROM queue q JOIN images i USING (image) WHERE place // $rows = $page ORDER BY place",
            bound | {"rows": ROWS, "page": page},
        )
        items = self._items(rows, place.policy)
        focus = at - page * ROWS if items else None
        row_id = "" if focus is None else items[focus].caption.row_id
        return Stretch(replace(place, page=page, row_id=row_id), items, focus, captions)

    def step(self, place: Place, by: int) -> Place:
        """The caption so many further on in the queue, or at its end."""
        stretch = self.show(place)
        at = min(max(stretch.number - 1 + by, 0), max(0, stretch.captions - 1))
        rows = self._queue(place, "SELECT row_id FROM queue WHERE place = $at", self._bound(place) | {"at": at})
        return replace(place, row_id=rows[0]["row_id"] if rows else "", page=at // ROWS)

    def turn(self, place: Place, by: int) -> Place:
        """The first caption of the page so many pages on, or of the last one."""
        return self.show(replace(place, row_id="", page=max(0, self.show(place).place.page + by))).place

    def begin(self, place: Place) -> Place:
        """The first caption of the queue that nobody judged; the first of all where there is none."""
        return self._first_open(replace(place, row_id="", page=0), -1)

    def next_open(self, place: Place) -> Place:
        """The next caption that nobody judged, after the place and then from the start; the place where there is none."""
        return self._first_open(place, self.show(place).number - 1)

    def _first_open(self, place: Place, after: int) -> Place:
        sql = f"SELECT row_id FROM queue WHERE NOT {QUEUES['reviewed'].condition} ORDER BY place <= $here, place LIMIT 1"
        rows = self._queue(place, sql, self._bound(place) | {"here": after})
        return replace(place, row_id=rows[0]["row_id"]) if rows else place

    def neighbours(self, item: Item, policy: Policy) -> list[Caption]:
        """The other captions of an item's image."""
        captions = self.service.captions([item.image], policy)[item.image]
        return [own for own in captions if own.row_id != item.caption.row_id]

    def text(self, row_id: str) -> str:
        """The text of a caption as people want it: the better one where there is one."""
        word = self.reviews.of([row_id]).get(row_id)
        if word and word.caption is not None:
            return word.caption
        wanted = "caption" if word else "coalesce(better, caption)"
        found = self.service.ask(f"SELECT {wanted} AS text FROM captions WHERE row_id = $row", row=row_id)
        return found[0]["text"] if found else ""

    def save(self, row_id: str, word: str, *, reviewer: str, seen: int, text: str | None = None) -> Word:
        """Keep or drop a caption; text is a better one, which keeps it. Errors are those of Reviews.save."""
        found = self.service.ask("SELECT caption FROM captions WHERE row_id = $row", row=row_id)
        if not found:
            raise InputError(f"The ledger has no caption {row_id!r}; reload the page.")
        if text is not None and not text.strip():
            raise InputError("Write the better text first, or drop the caption.")
        better = None if text is None or text == found[0]["caption"] else text.strip()
        return self.reviews.save(row_id, word, reviewer=reviewer, seen=seen, caption=better)

    def agreement(self, policy: Policy) -> Agreement:
        """How far people and the filter agree under a policy, and both with the truth."""
        words = self._judged()
        compared = {row: word for row, word in words.items() if word.caption is None}
        sql = f"""SELECT row_id, coalesce(score >= {LIMIT}, false) AS kept, truth FROM captions
            WHERE row_id IN (SELECT unnest($rows::VARCHAR[]))"""
        rows = self.service.ask(sql, **self.service.bound(policy), rows=list(compared))
        people, filters = [compared[r["row_id"]].word == KEEP for r in rows], [r["kept"] for r in rows]
        known = [(person, own, r["truth"] == "true") for person, own, r in zip(people, filters, rows, strict=True) if r["truth"]]
        by_person, by_filter, true = ([own[part] for own in known] for part in range(3))
        return Agreement(
            counts=dict(Counter(zip(people, filters, strict=True))),
            edited=len(words) - len(compared),
            reviewers=dict(Counter(word.reviewer for word in words.values()).most_common()),
            people_filter=kappa(people, filters),
            truth=len(known),
            people_truth=kappa(by_person, true),
            filter_truth=kappa(by_filter, true),
        )

    def apply(self, policy: Policy) -> int:
        """Write the last words into the ledger's overrides; how many were new to it.

        A word that the ledger has a later decision on stays out of it. One that was taken back gives the caption
        back to the filter.
        """
        with locked(self.reviews.file.with_suffix(".lock"), wait=True):
            known = decisions(self.service.ledger)
            new = {}
            for row, word in self.reviews.words().items():
                have = known.get(row)
                if (have.at < word.time) if have else word.word is not None:
                    side = None if word.word is None else word.word == KEEP
                    new[row] = Decision(side, word.reviewer, word.time, word.caption)
            if new:
                record(self.service.ledger, new, self.service.over(policy))
            self.service.refresh()
        return len(new)

    def export(self, policy: Policy, form: str) -> Exported:
        """Apply, then write the kept pairs as `lab ledger export` does, into a file that goes with the next export.

        form: parquet (with the pictures) or json (a zip of the list and its pictures).
        """
        return self._exports.write(self.service.over(policy), form, self.apply(policy))

    def _judged(self) -> dict[str, Word]:
        return {row: word for row, word in self.reviews.words(REVIEW).items() if word.word is not None}

    def _bound(self, place: Place) -> dict[str, Any]:
        bound = self.service.bound(place.policy, place.opinion)
        return bound | {"search": place.search, "reviewed": list(self._judged())}

    def _queue(self, place: Place, sql: str, bound: dict[str, Any]) -> list[dict[str, Any]]:
        queue = QUEUES[place.queue]
        head = f"""WITH queue AS (
            SELECT row_id, image, row_number() OVER (ORDER BY {queue.order}) - 1 AS place FROM captions
            WHERE ({queue.condition}) AND {SEARCHED}
        ) """
        return self.service.ask(head + sql, **bound)

    def _items(self, rows: Sequence[dict[str, Any]], policy: Policy) -> tuple[Item, ...]:
        captions = self.service.captions(list({row["image"] for row in rows}), policy)
        by_id = {own.row_id: own for every in captions.values() for own in every}
        words = self.reviews.of([row["row_id"] for row in rows])
        return tuple(
            Item(row["image"], row["key"], by_id[row["row_id"]], words.get(row["row_id"])) for row in rows
        )
