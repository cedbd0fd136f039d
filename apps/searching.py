"""Search in a ledger: images for a text, captions for an image. ITC makes a shortlist, ITM puts it in order (paper 5.1).

Plain Python, no Gradio. The features lie in an index that `lab ledger embed` wrote (lab/search_index.py).
"""

import hashlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
import torch

from apps.answers import Card
from apps.index_command import index_command
from apps.pictures import Picture, shrunk
from apps.questions import KEPT
from apps.service import Service
from apps.uploads import image_in
from blip.capfilt import Policy
from blip.checkpoint.opening import HUB, load_any
from blip.data.text import clean_caption
from blip.errors import InputError
from blip.matching import MAX_TOKENS, Matcher
from blip.tasks.ranking import text_features
from lab.search_index import FOLDER, SearchIndex, image_features, nearest

RESULTS = 24
"""Most results that are shown, however long the shortlist is."""

_REMEMBERED = 64  # rankings
_TEXTS = f"""
SELECT f.text, min_by(caption, row) AS caption,
    coalesce(min_by(image, row) FILTER ({KEPT}), min_by(image, row)) AS image, count(*) FILTER ({KEPT}) AS kept,
    count(*) FILTER (NOT ({KEPT})) AS filtered, bool_or(image IS NOT DISTINCT FROM $own::BIGINT) AS own
FROM captions JOIN (SELECT unnest($rows::BIGINT[]) AS row, unnest($texts::BIGINT[]) AS text) f USING (row) GROUP BY f.text
"""


@dataclass(frozen=True)
class Query:
    """What is looked for: a text, an image of the ledger by number, or the bytes of an image; one of the three."""

    text: str | None = None
    image: int | None = None
    data: bytes | None = None

    @property
    def key(self) -> Hashable:
        """What it is known by, without the bytes of an image."""
        return self if self.data is None else hashlib.sha256(self.data).digest()


@dataclass(frozen=True)
class Ranking:
    """Rows of a shortlist, the best first, with the cosine (ITC) and match probability (ITM) of each.

    itm is None where ITM was not asked, or a picture could not be read; such rows come last.
    """

    rows: tuple[int, ...]
    itc: tuple[float, ...]
    itm: tuple[float | None, ...]


@dataclass(frozen=True)
class FoundImage:
    """An image for a text, with its captions and their verdicts."""

    card: Card
    itc: float
    itm: float | None


@dataclass(frozen=True)
class FoundText:
    """A text of the ledger for an image: how many of its captions are kept and filtered.

    image is the first whose caption is kept, else the first that has it; own: the image that was asked for has it.
    """

    text: str
    itc: float
    itm: float | None
    kept: int
    filtered: int
    image: int
    own: bool


@dataclass(frozen=True)
class _Opened:
    index: SearchIndex
    matcher: Matcher


class Searching:
    """A search over a ledger; index and weights are opened when they are needed first, and asked for until they are there.

    folder: of the index, by default where `lab ledger embed` writes it. weights, vocab: in place of those that
    the index names.
    """

    def __init__(
        self, service: Service, folder: Path | None = None, *, weights: str | None = None, vocab: Path | None = None
    ) -> None:
        self.service = service
        self.folder = folder or Path(service.ledger.folder) / FOLDER
        self.command = index_command(service.ledger, weights, folder)
        """What makes the index."""
        self._weights, self._vocab = weights, vocab
        self._opened: _Opened | None = None
        self._lock = Lock()
        self._known: dict[Hashable, Ranking] = {}

    def open(self) -> None:
        """Open index and weights; InputError, with the command that gives them, where they are not there."""
        self._ready()

    def ranking(self, query: Query, shortlist: int, rerank: bool) -> Ranking:
        """A query's shortlist of so many, re-ranked by ITM or not; the last ones are kept. InputError as `open` and `images`."""
        key = (query.key, shortlist, rerank)
        ranking = self._known.get(key)
        if ranking is None:
            ranking = self._rank(query, shortlist, rerank)
            with self._lock:
                self._known[key] = ranking
                if len(self._known) > _REMEMBERED:
                    del self._known[next(iter(self._known))]
        return ranking

    def images(self, query: Query, policy: Policy, shortlist: int, *, rerank: bool) -> list[FoundImage]:
        """Images for a text, the best first; InputError for a text without words."""
        ranking = self.ranking(query, shortlist, rerank)
        numbers = ranking.rows[:RESULTS]
        keys = {row["image"]: row["key"] for row in self._keys(numbers)}
        captions = self.service.captions(numbers, policy)
        return [
            FoundImage(Card(number, keys[number], tuple(captions[number])), itc, itm)
            for number, itc, itm in zip(numbers, ranking.itc, ranking.itm, strict=False)
        ]

    def texts(self, query: Query, policy: Policy, shortlist: int, *, rerank: bool) -> list[FoundText]:
        """Texts of the ledger for an image, the best first; InputError for a file that is no image."""
        ranking = self.ranking(query, shortlist, rerank)
        chosen = ranking.rows[:RESULTS]
        found = {row["text"]: row for row in self._texts(self._ready(), chosen, policy, query.image)}
        scores = zip(ranking.itc, ranking.itm, strict=True)
        rows = (found[text] for text in chosen)
        return [
            FoundText(row["caption"], itc, itm, row["kept"], row["filtered"], row["image"], row["own"])
            for row, (itc, itm) in zip(rows, scores, strict=False)
        ]

    def portrait(self, query: Query) -> Picture:
        """The thumbnail of the image that is asked for; InputError for a file that is no image."""
        if query.image is not None:
            return self.service.picture(query.image)
        return shrunk(image_in(query.data or b""))

    def _ready(self) -> _Opened:
        with self._lock:
            if self._opened is None:
                index = SearchIndex.open(self.folder, self.service.ledger)
                self._opened = _Opened(index, self._matcher(index))
            return self._opened

    def _rank(self, query: Query, shortlist: int, rerank: bool) -> Ranking:
        opened = self._ready()
        if query.text is not None:
            return self._for_text(opened, query.text, shortlist, rerank)
        return self._for_image(opened, query, shortlist, rerank)

    def _for_text(self, opened: _Opened, text: str, shortlist: int, rerank: bool) -> Ranking:
        asked = clean_caption(text)
        if not asked:
            raise InputError("There is no word in this text; write what the image shows.")
        tokens = opened.matcher.tokenizer([asked], MAX_TOKENS).to(opened.matcher.device)
        feature = text_features(opened.matcher.model, tokens)[0].cpu().numpy()
        rows, cosines = nearest(opened.index.images, feature, shortlist)
        scores = self._of_images(opened.matcher, rows.tolist(), asked) if rerank else [None] * len(rows)
        return _ordered(rows, cosines, scores)

    def _of_images(self, matcher: Matcher, rows: Sequence[int], text: str) -> list[tuple[float, float] | None]:
        """Match logit and probability of a text with each image, None where its picture cannot be had."""
        pictures = {}
        for row in rows:
            try:
                pictures[row] = matcher.prepare(self.service.original(row).read)
            except InputError:
                continue
        found = matcher(list(pictures.values()), [[text]] * len(pictures))
        scores = {row: (own[0][0], own[0][1]) for row, own in zip(pictures, found, strict=True)}
        return [scores.get(row) for row in rows]

    def _for_image(self, opened: _Opened, query: Query, shortlist: int, rerank: bool) -> Ranking:
        image = self.service.original(query.image).read if query.image is not None else image_in(query.data or b"")
        prepared = opened.matcher.prepare(image)
        feature = image_features(opened.matcher, prepared[None].to(opened.matcher.device))[0]
        rows, cosines = nearest(opened.index.texts, feature, shortlist)
        scores: list[tuple[float, float] | None] = [None] * len(rows)
        if rerank:
            said = {row["text"]: row["caption"] for row in self._texts(opened, rows.tolist(), Policy(), None)}
            scores = [(own[0], own[1]) for own in opened.matcher([prepared], [[said[row] for row in rows.tolist()]])[0]]
        return _ordered(rows, cosines, scores)

    def _texts(self, opened: _Opened, texts: Sequence[int], policy: Policy, own: int | None) -> list[dict]:
        of_row = opened.index.text_of_row
        at = np.flatnonzero(np.isin(of_row, texts))
        # The index counts rows from 0, the ledger's tables from 1.
        asked = {"rows": (at + 1).tolist(), "texts": of_row[at].tolist(), "own": own}
        return self.service.ask(_TEXTS, **asked, web=policy.web, synthetic=policy.synthetic)

    def _keys(self, numbers: Sequence[int]) -> list[dict]:
        return self.service.ask(
            "SELECT image, key FROM images WHERE image IN (SELECT unnest($numbers::BIGINT[]))", numbers=list(numbers)
        )

    def _matcher(self, index: SearchIndex) -> Matcher:
        about, source = index.about, self._weights or index.about.weights
        where = "start the studio with --search-weights and the weights that the index was made with"
        if self._weights is None and (source.startswith(HUB) or not Path(source).exists()):
            raise InputError(f"The search index was made with {source}, which is not a file here; {where}.")
        vocab = self._vocab or (Path(about.vocab) if about.vocab else None)
        loaded = load_any(source, vocab=vocab, image_size=about.image_size)
        if loaded.fingerprint != about.model:
            raise InputError(f"{source} holds other weights than the search index was made with; {where}.")
        return Matcher(loaded, device="cuda" if torch.cuda.is_available() else "cpu")


def _ordered(rows: np.ndarray, cosines: np.ndarray, scores: Sequence[tuple[float, float] | None]) -> Ranking:
    """By match logit, which tells apart what has a probability of 1.00; by the cosine where there is none."""
    logits = [-np.inf if score is None else score[0] for score in scores]
    order = np.argsort([-logit for logit in logits], kind="stable")
    probabilities = [None if score is None else score[1] for score in scores]
    return Ranking(
        tuple(int(rows[at]) for at in order),
        tuple(float(cosines[at]) for at in order),
        tuple(probabilities[at] for at in order),
    )
