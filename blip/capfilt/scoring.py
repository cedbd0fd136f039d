"""Scores of captions: what a filter is, and how one that comes later scores a whole ledger."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import pyarrow as pa
from PIL import Image

from blip.capfilt.ledger import Ledger
from blip.capfilt.preparing import Ready, ready
from blip.capfilt.rows import table
from blip.capfilt.schema import scores_schema
from blip.data.images import BadImage, open_image
from blip.data.pairs import ImageRef, Pair, image_sha256
from blip.errors import InputError

_TILES_AHEAD = 2
Rows = list[dict[str, Any]]


class FilterLike(Protocol):
    """What scores: see `blip.matching.Matcher`. `columns` are the names of its values. It is a `preparing.Reader`."""

    @property
    def id(self) -> str: ...
    @property
    def columns(self) -> tuple[str, ...]: ...
    def prepare(self, image: Image.Image) -> Any: ...
    def __call__(
        self, prepared: Sequence[Any], texts: Sequence[Sequence[str]]
    ) -> list[list[tuple[float, ...]]]: ...


def score_rows(used: FilterLike, pictures: Sequence[Ready], rows: Sequence[Rows]) -> Rows:
    """Score rows of the candidate rows of each picture, in their order."""
    if not pictures:
        return []
    prepared = [picture.of(used) for picture in pictures]
    values = used(prepared, [[row["caption"] for row in own] for own in rows])
    return [
        {"row_id": row["row_id"]} | dict(zip(used.columns, value, strict=True))
        for own, found in zip(rows, values, strict=True)
        for row, value in zip(own, found, strict=True)
    ]


def rows_by_image(rows: pa.Table) -> dict[str, Rows]:
    """What scoring needs of candidate rows, by image key in their order."""
    groups: dict[str, Rows] = {}
    for row in rows.select(["row_id", "image_key", "image_sha256", "caption"]).to_pylist():
        groups.setdefault(row["image_key"], []).append(row)
    return groups


def score(
    ledger: Ledger,
    filters: Mapping[str, FilterLike],
    *,
    images: Mapping[str, Pair] | None = None,
    running: Mapping[str, str] | None = None,
    workers: int = 2,
    progress: Callable[[int], None] = lambda images: None,
) -> Ledger:
    """Add filters to a ledger that is there; nothing is captioned, and what is scored already stays.

    images: pairs by image key, for a ledger that does not say where they lie or whose images have
    moved. running: device and precision of the filters, kept in ledger.json. Raises InputError for a picture that is
    gone or is no longer the one that was captioned, and for a filter of a name that other weights, or another device or
    precision, have in this ledger. Nothing is written before a first shard is scored, so that a filter that fails
    leaves the ledger as it was. progress is told how many images are done. Killed and started again it goes on, shard
    by shard.
    """
    if not next(ledger.entries("candidates"), None):
        raise InputError(f"The ledger in {ledger.folder} holds no captions yet; run lab capfilt first.")
    about: dict[str, dict[str, Any]] = {"filters": {name: used.id for name, used in filters.items()}}
    if running is not None:
        about["scored"] = {name: dict(running) for name in filters}
    ledger, entered = ledger.with_filters(about, write=False), False
    with ThreadPoolExecutor(max(1, workers)) as pool:
        for entry in list(ledger.entries("candidates")):
            missing = {n: used for n, used in filters.items() if not ledger.has(f"scores/{n}", entry.shard)}
            found = _shard(ledger, entry.shard, missing, images=images or {}, pool=pool, progress=progress)
            if not entered:
                ledger, entered = ledger.with_filters(about, write=True), True
            for name, rows in found.items():
                ledger.write(f"scores/{name}", entry.shard, table(rows, scores_schema(filters[name].columns)))
    return ledger


def _shard(
    ledger: Ledger,
    shard: str,
    filters: Mapping[str, FilterLike],
    *,
    images: Mapping[str, Pair],
    pool: ThreadPoolExecutor,
    progress: Callable[[int], None],
) -> dict[str, Rows]:
    """What each of the filters finds of a shard."""
    candidates = ledger.read("candidates", shard, ["row_id", "image_key", "caption", "image_ref", "image_sha256"])
    groups = rows_by_image(candidates)
    if not filters:
        progress(len(groups))
        return {}
    homes = {row["image_key"]: row for row in candidates.drop_columns(["row_id", "caption"]).to_pylist()}
    found: dict[str, Rows] = {name: [] for name in filters}
    keys = list(groups)
    tile = ledger.about["tile"]
    tiles = [keys[start : start + tile] for start in range(0, len(keys), tile)]
    opened = _ahead(pool, tiles, lambda key: ready(_open(homes[key], images), filters.values()))
    for names, pictures in zip(tiles, opened, strict=True):
        for name, used in filters.items():
            found[name] += score_rows(used, pictures, [groups[key] for key in names])
        progress(len(names))
    return found


def _ahead(
    pool: ThreadPoolExecutor, tiles: list[list[str]], opening: Callable[[str], Ready]
) -> Iterator[list[Ready]]:
    """The pictures of each tile, opened by threads a little ahead."""
    waiting: list[list[Future[Ready]]] = []
    for tile in tiles:
        waiting.append([pool.submit(opening, key) for key in tile])
        if len(waiting) > _TILES_AHEAD:
            yield [task.result() for task in waiting.pop(0)]
    for tasks in waiting:
        yield [task.result() for task in tasks]


def _open(row: dict[str, Any], images: Mapping[str, Pair]) -> Image.Image:
    """The picture of a candidate row, by its key in `images` or else by its reference."""
    key = row["image_key"]
    if key not in images and not row["image_ref"]:
        raise InputError(
            f"The ledger does not say where the image {key} lies; give the data it was made from (--data)."
        )
    pair = images[key] if key in images else Pair(key, "", ImageRef.parse(row["image_ref"]))
    try:
        digest, picture = image_sha256(pair), open_image(pair)
    except (BadImage, OSError) as error:
        raise InputError(
            f"The image {key} was captioned before but cannot be opened now ({error}); "
            "restore it, or give the data where it lies now (--data)."
        ) from None
    if digest != row["image_sha256"]:
        raise InputError(f"The image {key} is not the one that was captioned; restore it and run again.")
    return picture
