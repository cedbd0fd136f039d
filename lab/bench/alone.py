"""One measurement in a process of its own, so that its memory and reads are its own."""

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from lab.bench.rounds import peak_mib


def alone(ask: Callable[..., Any], *words: object) -> dict[str, Any]:
    """What a function finds, with seconds, seconds of the processors, peak memory and bytes read (Linux).

    The clock starts after the imports. bytes_read are those that reads asked for, wherever they came from;
    bytes_from_disk are those that the disk had to bring.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(_measured, ask, words).result()


def _measured(ask: Callable[..., Any], words: tuple[object, ...]) -> dict[str, Any]:
    before, start, begun = _reads(), time.perf_counter(), time.process_time()
    found = ask(*words)
    seconds, processor, after = time.perf_counter() - start, time.process_time() - begun, _reads()
    return {
        "seconds": round(seconds, 2),
        "processor_seconds": round(processor, 2),
        "peak_mib": peak_mib(),
        "bytes_read": after["rchar"] - before["rchar"],
        "bytes_from_disk": after["read_bytes"] - before["read_bytes"],
        "found": found,
    }


def _reads() -> dict[str, int]:
    lines = Path("/proc/self/io").read_text(encoding="utf-8").splitlines()
    return {name: int(count) for name, count in (line.split(": ") for line in lines)}
