"""CapFilt with the shipped weights at several points, for `lab bench growth`: each in a process of its own."""

import multiprocessing
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

from blip.capfilt import Job, Ledger
from blip.captioner import Captioner
from blip.data.readers import read_pairs
from blip.generate import Decoding
from blip.matching import Matcher
from lab.bench.alone import alone
from lab.bench.rounds import peak_mib, spread
from lab.engines import Engine
from lab.weights import shipped

IMAGES_PER_SHARD = 128
"""Small, so that the workers of a short run end close together."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """What CapFilt is given: images, synthetic captions an image, processes, images of a tile."""

    images: int
    candidates: int
    workers: int
    tile: int


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all points share. threads: of each process's models."""

    tars: Path
    device: str
    threads: int
    rounds: int
    seed: int


def measured(loads: Sequence[Load], setting: Setting) -> list[dict[str, Any]]:
    """Every point with seconds, images a second, start-up, memory and ledger bytes, in order.

    With several processes, the writer is the one that commits what they made: the part that more of them do not shorten.
    """
    return [_told(load, setting) for load in loads]


def _told(load: Load, setting: Setting) -> dict[str, Any]:
    start = time.perf_counter()
    own = alone(_ran, load, setting)
    whole, found = time.perf_counter() - start, own["found"]
    seconds = median(found["seconds"])
    print(f"capfilt, {asdict(load)}: {seconds:.2f} s, {load.images / seconds:.0f} images a second", flush=True)
    return asdict(load) | {
        "seconds": spread(found["seconds"]),
        "processor_seconds": spread(found["processor_seconds"]),
        "rounds": found["seconds"],
        "writer_processor_seconds": found["writer_seconds"] and spread(found["writer_seconds"]),
        "images_per_second": round(load.images / seconds, 1),
        "startup_seconds": {
            "process and imports": round(whole - own["seconds"], 2),
            "data, weights, workers": found["opening"],
        },
        "peak_mib": found["peak_mib"],
        "ledger_bytes_a_caption": found["ledger_bytes_a_caption"],
    }


def _ran(load: Load, setting: Setting) -> dict[str, Any]:
    """Rounds of one load after a warm-up over a shard, in this process and its workers."""
    start = time.perf_counter()
    pairs = read_pairs(str(setting.tars)).first(load.images)
    engine = Engine(devices=",".join([setting.device] * load.workers), threads=setting.threads)
    rounds = []
    recipe = partial(_job, load, setting)
    with tempfile.TemporaryDirectory(prefix="growth-") as folder, engine.opened(recipe, setting.device) as fill:
        opening = time.perf_counter() - start
        fill(pairs.first(IMAGES_PER_SHARD * load.workers), Path(folder) / "warm-up", _unseen)
        pids = [os.getpid(), *(child.pid for child in multiprocessing.active_children() if child.pid)]
        for number in range(setting.rounds):
            before, begun = [_processor_seconds(pid) for pid in pids], time.perf_counter()
            ledger = fill(pairs, Path(folder) / str(number), _unseen)
            clock = time.perf_counter() - begun
            rounds.append((clock, [_processor_seconds(pid) - old for pid, old in zip(pids, before, strict=True)]))
        peak = sum(peak_mib(pid) for pid in pids)
        size = _bytes_a_caption(ledger, Path(folder) / str(number))
    return {
        "opening": round(opening, 2),
        "seconds": [round(clock, 3) for clock, _ in rounds],
        "processor_seconds": [round(sum(processors), 2) for _, processors in rounds],
        "writer_seconds": [round(processors[0], 2) for _, processors in rounds] if load.workers > 1 else None,
        "peak_mib": peak,
        "ledger_bytes_a_caption": size,
    }


def _job(load: Load, setting: Setting, device: str) -> Job:
    torch.set_num_threads(setting.threads)
    running: dict[str, Any] = {"device": device, "tile": load.tile}
    return Job(
        captioner=Captioner(shipped("captioner"), Decoding(candidates=load.candidates), **running),
        filters={"itm": Matcher(shipped("filter"), **running)},
        seed=setting.seed,
        images_per_shard=IMAGES_PER_SHARD,
    )


def _unseen(images: int) -> None:
    """Progress that nobody watches."""


def _bytes_a_caption(ledger: Ledger, folder: Path) -> float:
    rows = sum(entry.rows for entry in ledger.entries("candidates"))
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / rows, 1)


def _processor_seconds(pid: int) -> float:
    """Seconds that processors have worked for a process (Linux)."""
    # The program's name, in brackets, may hold spaces; user and system time are the 12th and 13th words after it.
    words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
