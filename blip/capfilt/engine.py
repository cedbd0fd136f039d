"""CapFilt over a set of pairs: caption every image, score every caption, write the ledger (paper 3.3).

Knows no network: captioner and filters are handed in. Work is cut into shards of images, each
committed whole; a shard into the tiles of the models.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from blip.capfilt.ledger import READING, Ledger, shard_name
from blip.capfilt.rows import (
    Opened,
    candidate_counts,
    failure_row,
    given_rows,
    lost_rows,
    reject_counts,
    reject_row,
    synthetic_rows,
    table,
)
from blip.capfilt.schema import CANDIDATES, REJECTS, scores_schema
from blip.capfilt.scoring import FilterLike, rows_by_image, score_rows
from blip.data.images import BadImage, open_image
from blip.data.pairs import Reject, image_sha256
from blip.data.pairset import PairSet
from blip.errors import InputError
from blip.generate import Caption, Decoding

IMAGES_PER_SHARD = 512


class CaptionerLike(Protocol):
    """What captions: see `blip.captioner.Captioner`."""

    id: str
    tile: int
    decoding: Decoding

    def prepare(self, image: Image.Image) -> Any: ...
    def __call__(
        self, prepared: Sequence[Any], digests: Sequence[str], *, seed: int, round: int
    ) -> list[list[Caption]]: ...


@dataclass(frozen=True, kw_only=True)
class Job:
    """What CapFilt shall do; with the data it decides every byte of the ledger but its date."""

    captioner: CaptionerLike
    filters: Mapping[str, FilterLike]
    seed: int = 0
    round: int = 0
    images_per_shard: int = IMAGES_PER_SHARD
    judge: Callable[[str, str], str | None] = field(default=lambda key, caption: None)
    """Truth of a synthetic caption, by image key and text, where it can be known."""
    notes: dict[str, Any] = field(default_factory=dict)
    """Plain values about the data, kept in ledger.json."""
    workers: int = 2
    """Threads that open images; changes no byte."""
    more_captioners: Sequence[CaptionerLike] = ()
    """Further ones; their captions of an image stand after the first one's, told apart by captioner_id."""

    def __post_init__(self) -> None:
        names = [(used.id, str(used.decoding)) for used in self.captioners]
        if len(set(names)) < len(names):
            raise InputError("Two captioners have the same weights and decoding; leave one of them out.")

    @property
    def captioners(self) -> tuple[CaptionerLike, ...]:
        """All of them, the first one first."""
        return (self.captioner, *self.more_captioners)

    @property
    def tile(self) -> int:
        """Images opened and scored together."""
        return max(used.tile for used in self.captioners)

    def about(self) -> dict[str, Any]:
        """The job as ledger.json keeps it; `candidates` are those of all captioners together."""
        used = [(c.id, str(c.decoding), c.decoding.candidates) for c in self.captioners]
        names, decodings, candidates = zip(*used, strict=True)
        several = {"captioners": [list(one) for one in used]} if self.more_captioners else {}
        return {
            "captioner": " + ".join(names),
            "decoding": " + ".join(decodings),
            "candidates": sum(candidates),
            "seed": self.seed,
            "round": self.round,
            "tile": self.tile,
            "images_per_shard": self.images_per_shard,
            "filters": {name: used.id for name, used in self.filters.items()},
            "notes": self.notes,
        } | several

    def about_data(self, pairs: PairSet) -> dict[str, Any]:
        """The job and its data: a ledger must not go on with other pairs."""
        size = {"images": len(pairs.images), "pairs": len(pairs), "reading_rejects": len(pairs.rejects)}
        return self.about() | {"data": size}


def run(
    job: Job, pairs: PairSet, out: Path, progress: Callable[[int], None] = lambda images: None
) -> Ledger:
    """Fill the ledger in `out`, or continue where an earlier run of the same job stopped.

    progress is told how many images a finished tile held.
    """
    if not len(pairs.images):
        raise InputError(_nothing(pairs.rejects))
    ledger = Ledger.create(out, job.about_data(pairs))
    if not ledger.has("rejects", READING):
        rows = [reject_row(reject) for reject in pairs.rejects]
        ledger.write("rejects", READING, table(rows, REJECTS), reject_counts(rows))
    total = len(pairs.images)
    with ThreadPoolExecutor(max(1, job.workers)) as pool:
        for number, start in enumerate(range(0, total, job.images_per_shard)):
            numbers = range(start, min(start + job.images_per_shard, total))
            _shard(job, pairs, ledger, shard_name(number), numbers, pool=pool, progress=progress)
    return ledger


def _shard(
    job: Job,
    pairs: PairSet,
    ledger: Ledger,
    shard: str,
    numbers: range,
    *,
    pool: ThreadPoolExecutor,
    progress: Callable[[int], None],
) -> None:
    """Write what is missing of a shard: its candidates and rejects, and the scores of each filter."""
    captioned = ledger.has("candidates", shard) and ledger.has("rejects", shard)
    missing = {n: f for n, f in job.filters.items() if not ledger.has(f"scores/{n}", shard)}
    if captioned and not missing:
        progress(len(numbers))
        return
    written = rows_by_image(ledger.read("candidates", shard)) if captioned else None
    found = _Found({name: [] for name in missing})
    for tile in _tiles(pairs, numbers, job.tile, pool):
        good = [opened for opened in tile if opened.picture is not None]
        rows = _written(written, tile) if written is not None else found.caption(job, tile, good)
        for name, used in missing.items():
            found.scores[name] += score_rows(used, [opened.picture for opened in good], rows)
        progress(len(tile))
    if written is None:
        ledger.write("rejects", shard, table(found.rejects, REJECTS), reject_counts(found.rejects))
        counts = candidate_counts(found.candidates, images=found.images, failed=found.failed)
        ledger.write("candidates", shard, table(found.candidates, CANDIDATES), counts)
    for name, used in missing.items():
        ledger.write(f"scores/{name}", shard, table(found.scores[name], scores_schema(used.columns)))


@dataclass
class _Found:
    """What a shard's tiles have given so far."""

    scores: dict[str, list[dict]]
    candidates: list[dict] = field(default_factory=list)
    rejects: list[dict] = field(default_factory=list)
    images: int = 0
    failed: int = 0

    def caption(self, job: Job, tile: list[Opened], good: list[Opened]) -> list[list[dict]]:
        """Caption a tile, keep its rows and rejects, and return the rows of each good image."""
        rows = _caption(job, good)
        failures = [row for own in rows for row in own if not row["caption"]]
        rows = [[row for row in own if row["caption"]] for own in rows]
        self.images += len(good)
        self.failed += len(failures)
        self.rejects += [failure_row(row) for row in failures]
        self.rejects += [row for opened in tile if opened.picture is None for row in lost_rows(opened)]
        self.candidates += [row for own in rows for row in own]
        return rows


def _written(written: dict[str, list[dict]], tile: list[Opened]) -> list[list[dict]]:
    """The rows an earlier run wrote for a tile's images, for a filter that comes later."""
    for opened in tile:
        if opened.picture is None and opened.pair.key in written:
            raise InputError(
                f"The image {opened.pair.key} was captioned before but cannot be opened now "
                f"({opened.reason}); restore it and run again."
            )
    return [written.get(opened.pair.key, []) for opened in tile if opened.picture is not None]


def _tiles(
    pairs: PairSet, numbers: range, size: int, pool: ThreadPoolExecutor
) -> Iterator[list[Opened]]:
    """The shard's images in tiles, opened ahead by threads."""
    starts = range(numbers.start, numbers.stop, size)
    ahead: list = []
    for start in starts:
        ahead.append([pool.submit(_open, pairs, n) for n in range(start, min(start + size, numbers.stop))])
        if len(ahead) > 2:  # so many tiles are in memory
            yield [task.result() for task in ahead.pop(0)]
    for tasks in ahead:
        yield [task.result() for task in tasks]


def _open(pairs: PairSet, number: int) -> Opened:
    pair, texts = pairs.images[number], list(pairs.captions(number))
    try:
        return Opened(pair, texts, image_sha256(pair), open_image(pair))
    except BadImage as error:
        return Opened(pair, texts, reason=error.reason)
    except OSError as error:
        return Opened(pair, texts, reason=f"the image cannot be read ({error.strerror or error})")


def _caption(job: Job, tile: list[Opened]) -> list[list[dict]]:
    """The candidate rows of each image: the texts that came with it, then those of each captioner."""
    rows = [given_rows(opened, job.round) for opened in tile]
    for used in job.captioners:
        made = {"captioner_id": used.id, "decoding": str(used.decoding), "seed": job.seed}
        for own, opened, captions in zip(rows, tile, _captions(used, job, tile), strict=True):
            own += synthetic_rows(opened, captions, job.round, made=made, judge=job.judge)
    return rows


def _captions(used: CaptionerLike, job: Job, tile: list[Opened]) -> Iterator[list[Caption]]:
    for start in range(0, len(tile), used.tile):
        part = tile[start : start + used.tile]
        prepared = [used.prepare(opened.picture) for opened in part]
        yield from used(prepared, [opened.digest for opened in part], seed=job.seed, round=job.round)


def _nothing(rejects: Sequence[Reject]) -> str:
    if not rejects:
        return "The data holds no image; check the path."
    first = rejects[0]
    return f"None of the data can be used: the first of {len(rejects)} rejects is {first.ref} ({first.reason})."
