"""A shard of a ledger from its images: a pure function of the job, the same wherever it runs.

Nothing here reads or writes a ledger. What a shard needs travels as a `Task`, what came out as a `Made`:
both small enough to send to another process or machine, since images stay where they lie.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from blip.capfilt.job import CaptionerLike, Job
from blip.capfilt.preparing import Reader, ready
from blip.capfilt.rows import (
    Maker,
    Opened,
    candidate_counts,
    crowded_rows,
    failure_row,
    given_rows,
    lost_rows,
    reject_counts,
    synthetic_rows,
    table,
)
from blip.capfilt.schema import CANDIDATES, REJECTS, scores_schema
from blip.capfilt.scoring import Rows, rows_by_image, score_rows
from blip.data.images import BadImage, open_image
from blip.data.pairs import Pair, image_bytes, image_sha256
from blip.errors import InputError
from blip.generate.decoding import Caption

_TILES_AHEAD = 2  # so many tiles of opened and prepared images wait in memory


@dataclass(frozen=True, kw_only=True)
class Task:
    """A shard that lacks tables."""

    shard: str
    first: int
    """Number of its first image in the data."""
    images: Sequence[tuple[Pair, Sequence[Pair]]]
    """Each image as a pair, and the pairs that hold its texts."""
    filters: tuple[str, ...]
    """Names of the filters that have not scored it."""
    written: pa.Table | None = None
    """row_id, image_key, image_sha256 and caption of its candidates, where an earlier run captioned it."""

    def __str__(self) -> str:
        return f"shard {self.shard} (images {self.first} to {self.first + len(self.images) - 1})"


@dataclass(frozen=True, kw_only=True)
class Made:
    """The tables that a task lacked: name, rows and counts, in the order in which they are committed."""

    shard: str
    images: int
    tables: Sequence[tuple[str, pa.Table, dict[str, int]]]


def make(job: Job, task: Task, progress: Callable[[int], None] = lambda images: None) -> Made:
    """Caption and score the images of a task. progress is told how many images a finished tile held.

    Raises InputError for an image that was captioned before and is gone, cannot be opened, or is another one now.
    """
    written = None if task.written is None else _rows_before(task, task.written)
    found = _Found({name: [] for name in task.filters})
    with ThreadPoolExecutor(max(1, job.workers)) as pool:
        for tile in _tiles(task.images, job.tile, pool, _readers(job, task)):
            good = [opened for opened in tile if opened.ready is not None]
            pictures = [opened.ready for opened in tile if opened.ready is not None]
            rows = _written(written, tile) if written is not None else found.caption(job, tile, good)
            for name in task.filters:
                found.scores[name] += score_rows(job.filters[name], pictures, rows)
            progress(len(tile))
    tables = [] if written is not None else found.captioned()
    for name in task.filters:
        scores = found.scores[name] if task.written is None else _as_written(found.scores[name], task.written)
        rows = table(scores, scores_schema(job.filters[name].columns))
        tables.append((f"scores/{name}", rows, {}))
    return Made(shard=task.shard, images=len(task.images), tables=tables)


@dataclass
class _Found:
    """What a shard's tiles have given so far."""

    scores: dict[str, Rows]
    candidates: Rows = field(default_factory=list)
    rejects: Rows = field(default_factory=list)
    images: int = 0
    failed: int = 0

    def caption(self, job: Job, tile: list[Opened], good: list[Opened]) -> list[Rows]:
        """Caption a tile, keep its rows and rejects, and return the rows of each good image."""
        rows = _caption(job, good)
        failures = [row for own in rows for row in own if not row["caption"]]
        rows = [[row for row in own if row["caption"]] for own in rows]
        self.images += len(good)
        self.failed += len(failures)
        self.rejects += [failure_row(row) for row in failures]
        self.rejects += [row for opened in tile if opened.ready is None for row in lost_rows(opened)]
        self.rejects += [row for opened in good for row in crowded_rows(opened)]
        self.candidates += [row for own in rows for row in own]
        return rows

    def captioned(self) -> list[tuple[str, pa.Table, dict[str, int]]]:
        """The tables of rejects and candidates."""
        counts = candidate_counts(self.candidates, images=self.images, failed=self.failed)
        return [
            ("rejects", table(self.rejects, REJECTS), reject_counts(self.rejects)),
            ("candidates", table(self.candidates, CANDIDATES), counts),
        ]


def _rows_before(task: Task, written: pa.Table) -> dict[str, Rows]:
    """The rows an earlier run wrote, by image; InputError where the data has an image no more, or in another shard."""
    rows = rows_by_image(written)
    if gone := rows.keys() - {pair.key for pair, _ in task.images}:
        raise InputError(
            f"The image {min(gone)} was captioned in shard {task.shard}, where the data does not have it now; "
            "give the data as it was and run again."
        )
    return rows


def _as_written(scores: Rows, written: pa.Table) -> Rows:
    """Scores in the order of the candidates, which is the data's unless that was reordered since."""
    by_row = {row["row_id"]: row for row in scores}
    return [by_row[name] for name in written["row_id"].to_pylist()]


def _written(written: dict[str, Rows], tile: list[Opened]) -> list[Rows]:
    """The rows an earlier run wrote for a tile's images, for a filter that comes later."""
    for opened in tile:
        rows = written.get(opened.pair.key)
        if rows and opened.ready is None:
            raise InputError(
                f"The image {opened.pair.key} was captioned before but cannot be opened now "
                f"({opened.reason}); restore it and run again."
            )
        if rows and opened.digest != rows[0]["image_sha256"]:
            raise InputError(
                f"The image {opened.pair.key} is not the one that was captioned; restore it and run again."
            )
    return [written.get(opened.pair.key, []) for opened in tile if opened.ready is not None]


def _readers(job: Job, task: Task) -> list[Reader]:
    """The models that the pictures of a task are for."""
    captioners = job.captioners if task.written is None else ()
    return [*captioners, *(job.filters[name] for name in task.filters)]


def _tiles(
    images: Sequence[tuple[Pair, Sequence[Pair]]], size: int, pool: ThreadPoolExecutor, readers: Sequence[Reader]
) -> Iterator[list[Opened]]:
    """The shard's images in tiles, opened and prepared ahead by threads."""
    ahead: list[list[Future[Opened]]] = []
    for start in range(0, len(images), size):
        ahead.append([pool.submit(_open, pair, texts, readers) for pair, texts in images[start : start + size]])
        if len(ahead) > _TILES_AHEAD:
            yield [task.result() for task in ahead.pop(0)]
    for tasks in ahead:
        yield [task.result() for task in tasks]


def _open(pair: Pair, texts: Sequence[Pair], readers: Sequence[Reader]) -> Opened:
    try:
        # Read once: over a network each read is a request.
        held = pair if isinstance(pair.image, np.ndarray) else replace(pair, image=image_bytes(pair))
        digest, picture = image_sha256(held), open_image(held)
    except BadImage as error:
        return Opened(pair, list(texts), reason=error.reason)
    except OSError as error:
        return Opened(pair, list(texts), reason=f"the image cannot be read ({error.strerror or error})")
    return Opened(pair, list(texts), digest, ready(picture, readers))


def _caption(job: Job, tile: list[Opened]) -> list[Rows]:
    """The candidate rows of each image: the texts that came with it, then those of each captioner."""
    rows = [given_rows(opened, job.round) for opened in tile]
    for used in job.captioners:
        made = Maker(captioner_id=used.id, decoding=str(used.decoding), seed=job.seed)
        for own, opened, captions in zip(rows, tile, _captions(used, job, tile), strict=True):
            own += synthetic_rows(opened, captions, job.round, made=made, judge=job.judge)
    return rows


def _captions(used: CaptionerLike, job: Job, tile: list[Opened]) -> Iterator[list[Caption]]:
    for start in range(0, len(tile), used.tile):
        part = tile[start : start + used.tile]
        prepared = [opened.ready.of(used) for opened in part if opened.ready is not None]
        yield from used(prepared, [opened.digest for opened in part], seed=job.seed, round=job.round)
