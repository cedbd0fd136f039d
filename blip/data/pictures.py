"""Samples of one picture or several, known by row number: of questions and statements, not only of captions.

The texts stay with the task, which looks them up by `PictureBatch.rows`. As in `sources`, photos are decoded
by threads, and pictures in memory are one tensor.
"""

from collections.abc import Callable, Container, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from blip.data.images import BadImage, open_image
from blip.data.loading import Request
from blip.data.pairs import ImageRef, Pair, Reject
from blip.data.sources import MAX_SUBSTITUTES, Augment
from blip.data.transforms import Transform, normalize_uint8
from blip.distributed import from_all
from blip.errors import InputError


@dataclass(frozen=True)
class PictureBatch:
    """Normalised pictures (B, K, 3, H, W) float32, K a sample, and the number of each sample's row."""

    pictures: Tensor
    rows: list[int]


class Photos(Protocol):
    """K photos a row: a sequence, or something that makes them when asked."""

    def __len__(self) -> int: ...
    def __getitem__(self, row: int, /) -> Sequence[ImageRef | bytes | np.ndarray]: ...


class PhotoRows:
    """K photos a sample, decoded on demand in the loader's threads; `rejects` has what could not be read."""

    shards = None

    def __init__(self, photos: Photos, transform: Transform) -> None:
        self.photos, self.transform = photos, transform
        self._bad: dict[int, Reject] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self.photos)

    @property
    def rejects(self) -> list[Reject]:
        """The samples with a photo that could not be read so far, each once, in the order of rows."""
        with self._lock:
            return [self._bad[row] for row in sorted(self._bad)]

    def begin(self, request: Request, pool: ThreadPoolExecutor) -> Callable[[], PictureBatch | None]:
        """One task a sample; what is returned waits for all of them."""
        tasks = [pool.submit(self._sample, request, at) for at in request.places]
        return lambda: self._collate([found for task in tasks if (found := task.result())])

    def _sample(self, request: Request, at: int) -> tuple[int, Tensor] | None:
        for turn, row in enumerate(request.substitutes(at)):
            if row not in self._bad and (pictures := self._read(row, request.rng(row))) is not None:
                return row, pictures
            if not request.replace_bad:
                return None
            if turn == MAX_SUBSTITUTES:
                break
        first = self.rejects[0]
        raise InputError(
            f"{len(self._bad)} photos in a row cannot be used; check the data (the first is {first.ref}: {first.reason})."
        )

    def _read(self, row: int, rng: np.random.Generator) -> Tensor | None:
        read = []
        for ref in self.photos[row]:
            try:
                read.append(self.transform(open_image(Pair(str(row), "", ref)), rng))
            except BadImage as error:
                with self._lock:
                    self._bad[row] = Reject(str(row), str(ref), error.reason)
                return None
        return torch.stack(read)

    def _collate(self, samples: list[tuple[int, Tensor]]) -> PictureBatch | None:
        if not samples:
            return None
        rows, pictures = zip(*samples, strict=True)
        return PictureBatch(torch.stack(pictures), list(rows))


class ArrayRows:
    """Samples over pictures (M, H, W, 3) uint8 in memory; shown (N, K) int64 are the numbers of each one's K."""

    shards = None

    def __init__(self, pictures: Tensor, shown: Tensor, *, augment: Augment | None = None) -> None:
        self.pictures, self.shown, self.augment = pictures, shown, augment

    def __len__(self) -> int:
        return len(self.shown)

    def begin(self, request: Request, pool: ThreadPoolExecutor) -> Callable[[], PictureBatch]:
        """Nothing is worth a thread here: the batch is made when it is taken."""
        return partial(self._batch, request)

    def _batch(self, request: Request) -> PictureBatch:
        rows = request.rows()
        shown = self.shown[torch.from_numpy(np.ascontiguousarray(rows))]
        pictures = self.pictures[shown.flatten()]
        if self.augment is not None:
            seed = int(request.rng(int(rows[0])).integers(2**63))
            pictures = self.augment(pictures, torch.Generator().manual_seed(seed))
        # Augmented as a whole batch, so that it is the same however many processes share it.
        part = slice(request.places.start, request.places.stop)
        return PictureBatch(normalize_uint8(pictures).unflatten(0, shown.shape)[part], rows[part].tolist())


def require_all(pictures: PhotoRows | ArrayRows, found: Container[int]) -> None:
    """InputError where a row was not found, by any process, because its photo cannot be read; an evaluation needs all."""
    missing = sum(row not in found for row in range(len(pictures)))
    if missing and isinstance(pictures, PhotoRows):  # pictures in memory are all there
        first = from_all(pictures.rejects)[0]
        raise InputError(
            f"{missing} of {len(pictures)} samples have a photo that cannot be used "
            f"(the first is {first.ref}: {first.reason}); give whole photos."
        )
