"""The real engine over a few images, timed: what `lab.forecast` reckons with."""

import itertools
import math
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from blip.capfilt import Job, run
from blip.capfilt.job import CaptionerLike
from blip.capfilt.scoring import FilterLike
from blip.capfilt.store import store_at
from blip.data.images import BadImage, open_image
from blip.data.pairs import image_sha256
from blip.data.pairset import PairSet
from blip.data.places import Place
from lab.forecast import Measured, Outlook, said
from lab.records import as_json, record

FORECAST = "forecast.json"
IMAGES = 64
Clock = Callable[[], float]


def measure(job: Job, pairs: PairSet, *, loading: float = 0.0, clock: Clock = time.perf_counter) -> Measured:
    """Run the engine over a warm-up tile and then 64 images spread over the data, into ledgers that are thrown away.

    These are rounded up to whole tiles: models take as long for a short one. Smaller data are run whole; a short tile at
    their end is left out of the rate, or, where it is the only one, counts as a whole one. InputError where no image can be
    used. clock gives seconds.
    """
    count, tile = len(pairs.images), job.tile
    chosen = np.unique(np.linspace(0, count - 1, min(count, _whole(IMAGES, tile) + tile)).astype(int)).tolist()
    warm, rest = chosen[:tile], chosen[tile:] or chosen
    reading = _reading(pairs, warm, clock)  # before they are in the page cache
    timed = _TimedJob(job, clock)
    with tempfile.TemporaryDirectory(prefix="forecast-") as folder:
        run(timed.job, _some(pairs, warm), Path(folder) / "warm-up")
        timed.restart()
        marks = [(0, clock())]
        run(timed.job, _some(pairs, rest), Path(folder) / "ledger", lambda done: marks.append((done, clock())))
        end = clock()
        disk = sum(path.stat().st_size for path in (Path(folder) / "ledger").rglob("*") if path.is_file())
    taken = [(done, now - then) for (_, then), (done, now) in itertools.pairwise(marks)]
    return Measured(
        images=len(rest),
        tiles=tuple(seconds / tile for done, seconds in taken if done == tile or len(taken) == 1),
        reading=reading,
        captioning=timed.captioning.seconds / _whole(len(rest), tile),
        scoring=timed.scoring.seconds / _whole(len(rest), tile),
        commit=end - marks[-1][1],
        loading=loading,
        memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        device_memory=_device_memory() or None,
        disk=disk / len(rest),
        workers=job.workers,
        cores=os.cpu_count() or 1,
    )


def _whole(images: int, tile: int) -> int:
    """So many images, rounded up to whole tiles."""
    return math.ceil(images / tile) * tile


def write_forecast(job: Job, pairs: PairSet, outlook: Outlook, out: Place, *, loading: float) -> str:
    """Measure, forecast, leave forecast.json in `out`, and return the table for people."""
    measured = measure(job, pairs, loading=loading)
    images = outlook.images or len(pairs.images)
    found = measured.forecast(images, outlook.devices_count, job.images_per_shard, outlook.price_per_hour)
    result = {"measured": asdict(measured), "forecast": found}
    config = asdict(outlook) | {"job": job.about()}
    store_at(out).write(FORECAST, as_json(record("forecast", result, seed=job.seed, config=config)))
    return f"{said(measured, found)}\n\nforecast: {store_at(out).path(FORECAST)}"


def _device_memory() -> int:
    """Most bytes that this process held on accelerators; 0 without one."""
    return sum(torch.cuda.max_memory_reserved(device) for device in range(torch.cuda.device_count()))


class _Stopwatch:
    def __init__(self, clock: Clock) -> None:
        self.seconds, self._clock = 0.0, clock

    @contextmanager
    def running(self) -> Iterator[None]:
        start = self._clock()
        yield
        self.seconds += self._clock() - start


class _TimedModel:
    """A captioner or a filter whose seconds are counted."""

    def __init__(self, used: CaptionerLike | FilterLike, watch: _Stopwatch) -> None:
        self._used, self._watch = used, watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._used, name)

    def prepare(self, image: Image.Image) -> Any:
        with self._watch.running():
            return self._used.prepare(image)

    def __call__(self, *words: Any, **named: Any) -> Any:
        with self._watch.running():
            return self._used(*words, **named)


class _TimedJob:
    """A job whose captioners and filters are timed, and whose images are one shard."""

    def __init__(self, job: Job, clock: Clock) -> None:
        self.captioning, self.scoring = _Stopwatch(clock), _Stopwatch(clock)
        self.job = replace(
            job,
            captioner=_TimedModel(job.captioner, self.captioning),
            more_captioners=[_TimedModel(used, self.captioning) for used in job.more_captioners],
            filters={name: _TimedModel(used, self.scoring) for name, used in job.filters.items()},
            images_per_shard=_whole(IMAGES, job.tile) + job.tile,
        )

    def restart(self) -> None:
        """Forget what was counted."""
        self.captioning.seconds = self.scoring.seconds = 0.0


def _some(pairs: PairSet, numbers: Sequence[int]) -> PairSet:
    """Those images with all their captions."""
    found = [list(pairs.captions(number)) or [pairs.images[number]] for number in numbers]
    return PairSet.of(pair for own in found for pair in own)


def _reading(pairs: PairSet, numbers: Sequence[int], clock: Clock) -> float:
    """Seconds of one thread to read, hash and decode an image, good or bad."""
    start = clock()
    for number in numbers:
        with suppress(BadImage, OSError):
            image_sha256(pairs.images[number])
            open_image(pairs.images[number])
    return (clock() - start) / max(1, len(numbers))
