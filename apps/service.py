"""The service behind the studio: a ledger opened once, and every question the rooms ask of it.

Plain Python, no Gradio. Thresholds, views and searches are queries over the index (apps/index.py).
"""

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from threading import Condition, Lock
from typing import Any

from duckdb import DuckDBPyConnection

from apps.answers import Caption, Card, Page, Tally
from apps.index import build, decide_again, second_opinions
from apps.pictures import LARGE, Original, Picture, Pictures
from apps.questions import BORDERLINE, FOUND, KEPT, ORDERS, TRUTH, VIEWS, Question
from apps.rejected import Rejected
from apps.score_names import disagreement
from blip.capfilt import Ledger, Policy, usual
from blip.capfilt.tolerance import Margins
from blip.errors import InputError

ORIGINS = ("web", "synthetic")
"""web stands for every caption that came with its image, human ones too."""

BINS = 50
"""Bins of a score histogram over [0, 1]."""

STEPS = 100
"""Steps of the keep-rate curve over [0, 1]."""

_THREADS = 4  # that make thumbnails
_REMEMBERED = 64  # counts, of policies and searches
_PLACE = "key, ref, sha256"


class Service:
    """A ledger, opened for looking at. Any number of threads may ask at the same time."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._scratch = tempfile.TemporaryDirectory(prefix="blip-lab-studio-")
        self._deciding, self._decisions = Lock(), _decisions(ledger)
        self._index = build(ledger, Path(self._scratch.name) / "index.duckdb")
        world = ledger.about.get("notes", {}).get("world")
        self._pictures, self._large = Pictures(world), Pictures(world, LARGE)
        # DuckDB refuses to close while a question is asked.
        self._idle, self._asking = Condition(), 0
        self._threads = ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1))
        self._refreshed = 0  # times; counts from before are not those of today
        self._known_tallies = lru_cache(maxsize=_REMEMBERED)(self._tallies)
        self._known_counts = lru_cache(maxsize=_REMEMBERED)(self._view_counts)
        self._usual = usual(ledger)
        self.opinions: list[str] = [f"{filter}.{column}" for filter, column in second_opinions(ledger, self._usual.filter)]
        """What may give a second opinion, as FILTER.COLUMN."""
        self.margin = Margins.of(ledger, self._usual).score
        """How near a threshold a verdict is borderline; 0 where nobody measured it."""
        self.images: int = self.ask("SELECT count(*) AS n FROM images")[0]["n"]
        """Images in the ledger."""
        self.rejected = Rejected.of(ledger)
        """What was rejected, and why."""
        self.truth_known = bool(self.ask("SELECT 1 FROM captions WHERE truth IS NOT NULL LIMIT 1"))
        """Whether any caption's truth is known, as in the generated world."""
        self.histograms = self._histograms()
        """Captions per score bin, by origin; a caption without a score is in none."""
        self.curves = self._curves()
        """Share of captions kept at each threshold 0, 1/STEPS, ..., 1, by origin; what people decided stays."""

    @classmethod
    def open(cls, folder: str | Path) -> "Service":
        """Open the ledger in a folder, also one whose job goes on; InputError where there is none, or no match probability of
        every caption that it has.
        """
        if not (Path(folder) / "ledger.json").exists():
            raise InputError(
                f"There is no ledger in {folder}; make one with lab demo (a generated web) or lab capfilt (your data)."
            )
        return cls(Ledger.open(folder))

    def close(self) -> None:
        """Let go of the index and remove its file."""
        self._threads.shutdown()
        with self._idle:
            self._idle.wait_for(lambda: not self._asking)
            self._index.close()
        self._scratch.cleanup()

    def disagreeing(self, opinion: str = "") -> str:
        """What the captions are called on which the deciding score and a second opinion, or the first, disagree."""
        filter, _, column = (opinion if opinion in self.opinions else self.opinions[0]).partition(".")
        return disagreement((self._usual.filter, self._usual.column), (filter, column))

    def over(self, policy: Policy) -> Policy:
        """The thresholds of a policy, by the score that the index was made with; filters may have come since."""
        return replace(self._usual, web=policy.web, synthetic=policy.synthetic)

    def tallies(self, policy: Policy) -> dict[str, Tally]:
        """What the policy keeps and filters, by origin and truth."""
        return self._known_tallies(policy, self._refreshed)

    def view_counts(self, policy: Policy, search: str = "", opinion: str = "") -> dict[str, int]:
        """How many images each view holds, of those with a caption that contains the searched text."""
        return self._known_counts(policy, search, opinion, self._refreshed)

    def _tallies(self, policy: Policy, refreshed: int) -> dict[str, Tally]:
        sql = f"SELECT synthetic, {TRUTH} AS truth, {KEPT} AS kept, count(*) AS n FROM captions GROUP BY ALL"
        tallies = {origin: Tally({}, {}) for origin in ORIGINS}
        for row in self.ask(sql, **self.bound(policy)):
            own = tallies[ORIGINS[row["synthetic"]]]
            (own.kept_by_truth if row["kept"] else own.filtered_by_truth)[row["truth"]] = row["n"]
        return tallies

    def _view_counts(self, policy: Policy, search: str, opinion: str, refreshed: int) -> dict[str, int]:
        counts = ", ".join(f'count(*) FILTER ({condition}) AS "{view}"' for view, condition in VIEWS.items())
        sql = f"SELECT {counts} FROM images i WHERE {_searched(search)}"
        return self.ask(sql, **self.bound(policy, opinion), search=search)[0]

    def page(self, question: Question, images: int | None = None) -> Page:
        """The cards of a question; a page after the last one is the last one.

        images: how many the question has, from `view_counts`, where it is known already.
        """
        if question.view not in VIEWS or question.order not in ORDERS or question.size < 1:
            raise InputError("There is no such page; choose a view, an order and a size that the studio has.")
        condition = f"{VIEWS[question.view]} AND {_searched(question.search)}"
        asked = self.bound(question.policy, question.opinion) | {"search": question.search}
        if images is None:
            images = self.ask(f"SELECT count(*) AS n FROM images i WHERE {condition}", **asked)[0]["n"]
        number = min(max(question.page, 0), max(0, -(-images // question.size) - 1))
        sql = f"SELECT image, key FROM images i WHERE {condition} ORDER BY {ORDERS[question.order]} LIMIT $n OFFSET $at"
        rows = self.ask(sql, **asked, n=question.size, at=number * question.size)
        captions = self.captions([row["image"] for row in rows], question.policy)
        cards = tuple(Card(row["image"], row["key"], tuple(captions[row["image"]])) for row in rows)
        return Page(cards, number, question.size, images)

    def picture(self, number: int) -> Picture:
        """The thumbnail of an image by its number in the ledger, or why there is none.

        Nothing but the file that the ledger names for the image is opened.
        """
        return self._pictures.of(**self._image(number))

    def pictures(self, numbers: Sequence[int]) -> dict[int, Picture]:
        """The thumbnails of several images by their numbers, made side by side; numbers without an image are left out."""
        sql = f"SELECT image, {_PLACE} FROM images WHERE image IN (SELECT unnest($numbers::BIGINT[])) ORDER BY image"
        rows = self.ask(sql, numbers=list(numbers))
        made = {row.pop("image"): self._threads.submit(self._pictures.of, **row) for row in rows}
        return {number: picture.result() for number, picture in made.items()}

    def large_picture(self, number: int) -> Picture:
        """The same, large enough to judge a caption by."""
        return self._large.of(**self._image(number))

    def original(self, number: int) -> Original:
        """The same at full size, as models read it; InputError where it cannot be had."""
        return self._large.original(**self._image(number))

    def refresh(self) -> None:
        """Take in what people decided since, here or in another process; nothing is done where that is nothing."""
        with self._deciding:
            decisions = _decisions(self.ledger)
            if decisions == self._decisions:
                return
            decide_again(self._index, self.ledger)
            self._decisions = decisions
            self._refreshed += 1
            self.curves = self._curves()

    def bound(self, policy: Policy, opinion: str = "") -> dict[str, float]:
        """The values of a policy and a second opinion (FILTER.COLUMN, or the first) in queries over the index."""
        number = self.opinions.index(opinion) + 1 if opinion in self.opinions else 1
        return {"web": policy.web, "synthetic": policy.synthetic, "margin": self.margin, "opinion": number}

    def _image(self, number: int) -> dict[str, Any]:
        found = self.ask(f"SELECT {_PLACE} FROM images WHERE image = $number", number=number)
        if not found:
            raise InputError(f"The ledger has no image {number}; it has {self.images}, counted from 0.")
        return found[0]

    def captions(self, numbers: Sequence[int], policy: Policy) -> dict[int, list[Caption]]:
        """The captions of images by the images' numbers: given ones first, then synthetic ones."""
        sql = f"""
            SELECT image, row_id, origin, caption AS text, better, score, itc, mean_logprob,
                {TRUTH} AS truth, CASE WHEN better IS NULL THEN noise_kind END AS noise_kind,
                {KEPT} AS kept, decided IS NOT NULL AS by_person, {BORDERLINE} AS borderline
            FROM captions WHERE image IN (SELECT unnest($numbers::BIGINT[])) ORDER BY synthetic, row
        """
        found: dict[int, list[Caption]] = {number: [] for number in numbers}
        for row in self.ask(sql, **self.bound(policy), numbers=list(numbers)):
            found[row.pop("image")].append(Caption(**row))
        return found

    def _histograms(self) -> dict[str, list[int]]:
        sql = """
            SELECT synthetic, greatest(0, least($bins - 1, floor(score * $bins)))::INT AS bin, count(*) AS n
            FROM captions WHERE score IS NOT NULL GROUP BY ALL
        """
        found = {origin: [0] * BINS for origin in ORIGINS}
        for row in self.ask(sql, bins=BINS):
            found[ORIGINS[row["synthetic"]]][row["bin"]] = row["n"]
        return found

    def _curves(self) -> dict[str, list[float]]:
        # The step of a level is the highest threshold it reaches. Both are float32, so a product with STEPS
        # may be off by a rounding: the three steps around it are compared as thresholds are.
        sql = """
            WITH above AS (
                SELECT synthetic, level, greatest(-1, least($steps, floor(level * $steps) + 1))::INT AS step
                FROM captions
            )
            SELECT synthetic, count(*) AS n, CASE
                WHEN level >= (step / $steps)::FLOAT THEN step
                WHEN level >= ((step - 1) / $steps)::FLOAT THEN step - 1 ELSE step - 2 END AS highest
            FROM above GROUP BY ALL
        """
        reached = {origin: [0] * (STEPS + 1) for origin in ORIGINS}
        total = dict.fromkeys(ORIGINS, 0)
        for row in self.ask(sql, steps=STEPS):
            origin = ORIGINS[row["synthetic"]]
            total[origin] += row["n"]
            for step in range(row["highest"] + 1):
                reached[origin][step] += row["n"]
        return {o: [n / total[o] for n in reached[o]] if total[o] else [] for o in ORIGINS}

    def ask(self, sql: str, **values: Any) -> list[dict[str, Any]]:
        """Rows of a query over the index (see apps/index.py); values are bound, never written into it."""
        used = {name: values[name] for name in re.findall(r"\$(\w+)", sql)}
        with self._cursor() as cursor:
            cursor.execute(sql, used)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    @contextmanager
    def _cursor(self) -> Iterator[DuckDBPyConnection]:
        with self._idle:
            cursor = self._index.cursor()
            self._asking += 1
        try:
            with cursor:
                yield cursor
        finally:
            with self._idle:
                self._asking -= 1
                self._idle.notify_all()


def _decisions(ledger: Ledger) -> int:
    """How often people have decided; decisions are appended, never changed."""
    return sum(1 for _ in ledger.entries("overrides"))


def _searched(search: str) -> str:
    return FOUND if search else "true"
