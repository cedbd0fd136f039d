"""The service behind the studio: a ledger opened once, and every question the rooms ask of it.

Plain Python, no Gradio. Thresholds, views and searches are queries over the index (apps/index.py).
"""

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apps.index import build
from apps.pictures import Picture, Pictures
from apps.questions import FOUND, KEPT, ORDERS, VIEWS, Question
from blip.capfilt import Ledger, Policy
from blip.capfilt.quality import Kept
from blip.errors import InputError

ORIGINS = ("web", "synthetic")
"""web stands for every caption that came with its image, human ones too."""

BINS = 50
"""Bins of a score histogram over [0, 1]."""

STEPS = 100
"""Steps of the keep-rate curve over [0, 1]."""


@dataclass(frozen=True)
class Caption:
    """A caption with everything the ledger knows of it. score is None where the filter gave none."""

    row_id: str
    origin: str
    text: str
    score: float | None
    itc: float | None
    mean_logprob: float | None
    truth: str | None
    noise_kind: str | None
    kept: bool
    by_person: bool


@dataclass(frozen=True)
class Card:
    """An image of a page, by number and key, with its captions: given ones first, then synthetic ones."""

    number: int
    key: str
    captions: tuple[Caption, ...]


@dataclass(frozen=True)
class Page:
    """The cards of a page, its number from 0, and how many images and pages the question has."""

    cards: tuple[Card, ...]
    number: int
    size: int
    images: int

    @property
    def pages(self) -> int:
        """Pages in all, at least one."""
        return max(1, -(-self.images // self.size))


@dataclass(frozen=True)
class Tally:
    """Captions of one origin under a policy: kept and filtered ones, counted by truth (None: unknown)."""

    kept_by_truth: dict[str | None, int]
    filtered_by_truth: dict[str | None, int]

    @property
    def kept(self) -> int:
        """Captions kept."""
        return sum(self.kept_by_truth.values())

    @property
    def filtered(self) -> int:
        """Captions filtered."""
        return sum(self.filtered_by_truth.values())

    @property
    def rates(self) -> dict[str, float | None]:
        """precision and recall of what is kept, true_before; among captions whose truth is known."""
        kept, filtered = (
            {truth: n for truth, n in side.items() if truth is not None}
            for side in (self.kept_by_truth, self.filtered_by_truth)
        )
        true = kept.get("true", 0)
        everything = sum(kept.values()) + sum(filtered.values())
        known_true = true + filtered.get("true", 0)
        return Kept(true, sum(kept.values()) - true, known_true, everything - known_true).rates()

    @property
    def false_share(self) -> float | None:
        """Share of false captions among the kept ones whose truth is known."""
        known = sum(n for truth, n in self.kept_by_truth.items() if truth is not None)
        return self.kept_by_truth.get("false", 0) / known if known else None


class Service:
    """A ledger, opened for looking at. Any number of threads may ask at the same time."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._scratch = tempfile.TemporaryDirectory(prefix="blip-lab-studio-")
        self._index = build(ledger, Path(self._scratch.name) / "index.duckdb")
        self._pictures = Pictures(ledger.about.get("notes", {}).get("world"))
        self.images: int = self._ask("SELECT count(*) AS n FROM images")[0]["n"]
        """Images in the ledger."""
        self.truth_known = bool(self._ask("SELECT 1 FROM captions WHERE truth IS NOT NULL LIMIT 1"))
        """Whether any caption's truth is known, as in the generated world."""
        self.histograms = self._histograms()
        """Captions per score bin, by origin; a caption without a score is in none."""
        self.curves = self._curves()
        """Share of captions kept at each threshold 0, 1/STEPS, ..., 1, by origin; what people decided stays."""

    @classmethod
    def open(cls, folder: str | Path) -> "Service":
        """Open the ledger in a folder; InputError where there is none, or where it is not finished."""
        if not (Path(folder) / "ledger.json").exists():
            raise InputError(
                f"There is no ledger in {folder}; make one with lab demo (a generated web) or lab capfilt (your data)."
            )
        return cls(Ledger.open(folder))

    def close(self) -> None:
        """Let go of the index and remove its file."""
        self._index.close()
        self._scratch.cleanup()

    def tallies(self, policy: Policy) -> dict[str, Tally]:
        """What the policy keeps and filters, by origin and truth."""
        sql = f"SELECT synthetic, truth, {KEPT} AS kept, count(*) AS n FROM captions GROUP BY ALL"
        counts = {origin: ({}, {}) for origin in ORIGINS}
        for row in self._ask(sql, **_limits(policy)):
            kept, filtered = counts[ORIGINS[row["synthetic"]]]
            (kept if row["kept"] else filtered)[row["truth"]] = row["n"]
        return {origin: Tally(*sides) for origin, sides in counts.items()}

    def view_counts(self, policy: Policy, search: str = "") -> dict[str, int]:
        """How many images each view holds, of those with a caption that contains the searched text."""
        counts = ", ".join(f'count(*) FILTER ({condition}) AS "{view}"' for view, condition in VIEWS.items())
        sql = f"SELECT {counts} FROM images i WHERE {_searched(search)}"
        return self._ask(sql, **_limits(policy), search=search)[0]

    def page(self, question: Question, images: int | None = None) -> Page:
        """The cards of a question; a page after the last one is the last one.

        images: how many the question has, from `view_counts`, where it is known already.
        """
        if question.view not in VIEWS or question.order not in ORDERS or question.size < 1:
            raise InputError("There is no such page; choose a view, an order and a size that the studio has.")
        condition = f"{VIEWS[question.view]} AND {_searched(question.search)}"
        asked = _limits(question.policy) | {"search": question.search}
        if images is None:
            images = self._ask(f"SELECT count(*) AS n FROM images i WHERE {condition}", **asked)[0]["n"]
        number = min(max(question.page, 0), max(0, -(-images // question.size) - 1))
        sql = f"SELECT image, key FROM images i WHERE {condition} ORDER BY {ORDERS[question.order]} LIMIT $n OFFSET $at"
        rows = self._ask(sql, **asked, n=question.size, at=number * question.size)
        captions = self._captions([row["image"] for row in rows], question.policy)
        cards = tuple(Card(row["image"], row["key"], tuple(captions[row["image"]])) for row in rows)
        return Page(cards, number, question.size, images)

    def picture(self, number: int) -> Picture:
        """The thumbnail of an image by its number in the ledger, or why there is none.

        Nothing but the file that the ledger names for the image is opened.
        """
        found = self._ask("SELECT key, ref, sha256 FROM images WHERE image = $number", number=number)
        if not found:
            raise InputError(f"The ledger has no image {number}; it has {self.images}, counted from 0.")
        return self._pictures.of(**found[0])

    def _captions(self, numbers: Sequence[int], policy: Policy) -> dict[int, list[Caption]]:
        sql = f"""
            SELECT image, row_id, origin, caption AS text, score, itc, mean_logprob, truth, noise_kind,
                {KEPT} AS kept, decided IS NOT NULL AS by_person
            FROM captions WHERE image IN (SELECT unnest($numbers::BIGINT[])) ORDER BY synthetic, row
        """
        found: dict[int, list[Caption]] = {number: [] for number in numbers}
        for row in self._ask(sql, **_limits(policy), numbers=list(numbers)):
            found[row.pop("image")].append(Caption(**row))
        return found

    def _histograms(self) -> dict[str, list[int]]:
        sql = """
            SELECT synthetic, greatest(0, least($bins - 1, floor(score * $bins)))::INT AS bin, count(*) AS n
            FROM captions WHERE score IS NOT NULL GROUP BY ALL
        """
        found = {origin: [0] * BINS for origin in ORIGINS}
        for row in self._ask(sql, bins=BINS):
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
        for row in self._ask(sql, steps=STEPS):
            origin = ORIGINS[row["synthetic"]]
            total[origin] += row["n"]
            for step in range(row["highest"] + 1):
                reached[origin][step] += row["n"]
        return {o: [n / total[o] for n in reached[o]] if total[o] else [] for o in ORIGINS}

    def _ask(self, sql: str, **values: Any) -> list[dict[str, Any]]:
        """Rows of a query; values are bound, never written into it."""
        used = {name: values[name] for name in re.findall(r"\$(\w+)", sql)}
        with self._index.cursor() as cursor:
            cursor.execute(sql, used)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _limits(policy: Policy) -> dict[str, float]:
    return {"web": policy.web, "synthetic": policy.synthetic}


def _searched(search: str) -> str:
    return FOUND if search else "true"
