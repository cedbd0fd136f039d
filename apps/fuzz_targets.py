"""Targets of `lab bench fuzz` in the studio: uploads, links, reviews, and the index of a damaged ledger."""

import sqlite3
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qsl

from apps.index import build, decide_again
from apps.links import Place, link, place_of
from apps.reviews import DROP, KEEP, Reviews, clock
from apps.uploads import image_in
from blip.capfilt import Ledger, Policy
from lab.bench.fuzz_case import Seed, Tally, Target
from lab.bench.fuzz_data import images
from lab.bench.fuzz_ledger import ledger_files

_LEDGER = "ledger 0"
_LINK, _REVIEWS = "link.txt", "reviews.sqlite"


def _uploads() -> Sequence[Seed]:
    """Every image but the one that is too large even when it is whole."""
    return tuple(seed for seed in images() if "bomb.png" not in seed.files)


def _read_upload(tally: Tally) -> None:
    for path in sorted(path for path in tally.folder.iterdir() if path.is_file()):
        data = path.read_bytes()
        tally.attempt(partial(image_in, data))


@cache
def _links() -> Sequence[Seed]:
    places = (
        Place(),
        Place(policy=Policy(web=0.25, synthetic=1), queue="kept", search="ä & <b>", opinion="clip.score", page=3, row_id="0a"),
    )
    return tuple(Seed({_LINK: link(place, _LEDGER).encode()}, (_LINK,)) for place in places)


def _read_link(tally: Tally) -> None:
    path = tally.folder / _LINK
    text = path.read_bytes().decode("utf-8", "replace") if path.is_file() else ""
    words = dict(parse_qsl(text.removeprefix("?"), keep_blank_values=True))
    place = tally.attempt(lambda: place_of(words, _LEDGER))
    if place is not None:
        again = dict(parse_qsl(link(place, _LEDGER).removeprefix("?")))
        tally.require(place_of(again, _LEDGER).policy.web >= 0, "a link to a policy that cannot be")


@cache
def _reviews() -> Sequence[Seed]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / _REVIEWS
        reviews = Reviews(path, _LEDGER)
        for row, word in (("a", KEEP), ("b", DROP), ("c", KEEP)):
            reviews.save(row, word, reviewer="ann", seen=0, caption="Öl" if row == "c" else None)
        reviews.save("a", DROP, reviewer="bo", seen=1, sheet="review")
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE words SET at = '2026-01-02T03:04:05.678+00:00'")
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.close()
        return (Seed({_REVIEWS: path.read_bytes()}, (_REVIEWS,)),)


def _read_reviews(tally: Tally) -> None:
    reviews = tally.attempt(lambda: Reviews(tally.folder / _REVIEWS, _LEDGER))
    if reviews is None:
        return
    words = tally.attempt(reviews.words) or {}
    for word in words.values():
        clock(word)
    tally.attempt(lambda: reviews.of(["a", "b"]))
    tally.attempt(reviews.sheets)
    tally.attempt(lambda: reviews.undo("b", reviewer="cy", version=1))
    tally.attempt(lambda: reviews.save("d", KEEP, reviewer="cy", seen=0))


@cache
def _ledgers() -> Sequence[Seed]:
    parts = ("ledger/candidates", "ledger/scores", "ledger/overrides", "ledger/manifest")
    return (Seed(ledger_files(), tuple(name for name in ledger_files() if name.startswith(parts))),)


def _read_ledger(tally: Tally) -> None:
    ledger = tally.attempt(lambda: Ledger.open(tally.folder / "ledger"))
    if ledger is None:
        return
    connection = tally.attempt(lambda: build(ledger, tally.folder / "index.duckdb"))
    if connection is not None:
        tally.attempt(lambda: decide_again(connection, ledger))
        connection.execute("SELECT * FROM captions").fetchall()
        connection.close()


TARGETS = (
    Target("uploads", _uploads, _read_upload, names=("This file",)),
    Target("links", _links, _read_link, names=("This link",)),
    Target("reviews", _reviews, _read_reviews),
    Target("studio-index", _ledgers, _read_ledger),
)
