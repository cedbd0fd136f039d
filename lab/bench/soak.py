"""`lab bench soak`: a long CapFilt run over generated pairs whose memory must stay flat.

The run is `lab capfilt` in a process of its own. Its memory is read from the system while it works, so that nothing
it does to itself can hide growth.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib.figure import Figure

from blip.capfilt import Ledger, verify
from blip.errors import InputError
from lab.bench.killing import failed, world_tars
from lab.bench.running import check_counts, record_place
from lab.figures import INK, KEPT, PAPER, QUIET, save
from lab.records import DRAWN, WRITTEN, record, write_record
from lab.weights import WEIGHTS

LEAST = 50_000
"""Images of a run that counts."""
MOST_GROWTH = 0.05
"""Growth of memory from the second fifth of the run to the last that still is flat."""
HOW = (
    "Resident memory of the process of lab capfilt, read from the system at even intervals. Growth compares the "
    "median of the last fifth of the images with that of the second fifth; the first fifth fills caches."
)
_FIFTHS = 5
_POINTS = 400  # of the series that is kept

Reading = tuple[float, int, float]
"""Seconds since the start, images committed, resident memory in MiB."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Caption and filter many generated images and watch the memory."""

    images: int = LEAST
    """Generated pairs, one image each."""
    images_per_shard: int = 512
    """Images a shard."""
    every: float = 1.0
    """Seconds between two readings."""
    seed: int = 0
    """Of the pairs and the captions."""
    out: Path = WRITTEN / "bench" / "soak-cpu.json"
    """The record, JSON."""
    plot: Path = DRAWN / "soak.png"
    """The picture of memory over images, PNG."""


def main(options: Options) -> int:
    """Run, watch, verify the ledger, draw, record; 1 if memory grew or the ledger is not whole."""
    check_counts(options, "images", "images_per_shard")
    if not 0 < options.every <= 60:
        raise InputError(f"--every {options.every:g} cannot be; give seconds above 0 and at most 60.")
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        result = _measured(options, Path(folder))
    config = asdict(options) | {"out": options.out.name, "plot": options.plot.name}
    path = record_place(options, images=options.images)
    write_record(path, record("bench-soak", result, seed=options.seed, config=config))
    beside = path != options.out and options.plot == Options.plot
    plot = path.with_suffix(".png") if beside else options.plot
    print(_said(result))
    print(f"plot: {save(figure(result['series']), plot)}")
    print(f"record: {path}")
    return 0 if result["reached"] else 1


def _measured(options: Options, folder: Path) -> dict[str, Any]:
    tars = world_tars(folder, options.images, options.seed)
    ledger = folder / "ledger"
    readings = list(_watched(_command(options, tars, ledger), ledger, options))
    seconds = readings[-1][0]
    written = Ledger.open(ledger)
    faults = [finding.invariant for finding in verify(written) if not finding.holds]
    before, after = fifth(readings, options.images, 1), fifth(readings, options.images, _FIFTHS - 1)
    growth = after / before - 1
    return {
        "how": HOW,
        "images": options.images,
        "captions": sum(entry.rows for entry in written.entries("candidates")),
        "seconds": round(seconds, 1),
        "images_per_second": round(options.images / seconds, 1),
        "mib": {"second_fifth": before, "last_fifth": after, "most": max(mib for _, _, mib in readings)},
        "growth": round(growth, 4),
        "most_growth": MOST_GROWTH,
        "ledger_faults": faults,
        "reached": growth <= MOST_GROWTH and not faults,
        "series": _thinned(readings),
    }


def _command(options: Options, tars: Path, ledger: Path) -> list[str]:
    models = [f"--captioner={WEIGHTS / 'captioner.safetensors'}", f"--filter={WEIGHTS / 'filter.safetensors'}"]
    rest = [f"--images-per-shard={options.images_per_shard}", "--device=cpu", f"--seed={options.seed}"]
    return ["capfilt", f"--data={tars}", f"--out={ledger}", *models, *rest]


def _watched(words: list[str], ledger: Path, options: Options) -> Iterator[Reading]:
    """Readings until the run ends; InputError with its last line where it fails."""
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said, subprocess.Popen(
        [sys.executable, "-m", "lab", *words], stdout=subprocess.DEVNULL, stderr=said, text=True
    ) as child:
        while child.poll() is None:
            shards = len(list(ledger.glob("candidates/*.parquet")))
            images = min(shards * options.images_per_shard, options.images)
            if (mib := resident_mib(child.pid)) is not None:
                yield time.perf_counter() - start, images, mib
            time.sleep(options.every)
        if child.returncode:
            said.seek(0)
            raise failed(said.read())


def resident_mib(pid: int) -> float | None:
    """Memory that a process holds now (Linux); None once it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), None)


def fifth(readings: Sequence[Reading], images: int, number: int) -> float:
    """Median memory in MiB over one fifth of the images, counted from 0; InputError where nothing was read in it."""
    low, high = images * number / _FIFTHS, images * (number + 1) / _FIFTHS
    found = [mib for _, done, mib in readings if low <= done < high or done == high == images]
    if not found:
        raise InputError(f"The run was too short to be watched: {len(readings)} readings; give more --images or a smaller --every.")
    return round(median(found), 1)


def figure(series: Sequence[Reading]) -> Figure:
    """Memory over the images that are done."""
    drawn = Figure(figsize=(7.2, 2.6), dpi=128, facecolor=PAPER, layout="constrained")
    axes = drawn.add_subplot()
    axes.plot([images / 1000 for _, images, _ in series], [mib for _, _, mib in series], color=KEPT, linewidth=1.4)
    axes.set_ylim(0, 1.25 * max(mib for _, _, mib in series))
    axes.set_xlim(left=0)
    axes.set_xlabel("thousand images captioned and filtered", color=QUIET, size=8)
    axes.set_ylabel("resident memory, MiB", color=QUIET, size=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=0, labelsize=7.5, labelcolor=INK)
    axes.grid(axis="y", color="#D0D7DE", linewidth=0.6)
    return drawn


def _thinned(readings: Sequence[Reading]) -> list[Reading]:
    step = max(1, -(-len(readings) // _POINTS))
    return [(round(at, 1), images, round(mib, 1)) for at, images, mib in (*readings[:-1:step], readings[-1])]


def _said(result: dict[str, Any]) -> str:
    mib = result["mib"]
    whole = "the ledger is whole" if not result["ledger_faults"] else f"LEDGER: {result['ledger_faults'][0]}"
    return (
        f"{result['images']:,} images in {result['seconds'] / 60:.1f} minutes ({result['images_per_second']:g} a second), "
        f"{result['captions']:,} captions; {whole}\n"
        f"memory: {mib['second_fifth']:,.0f} MiB in the second fifth, {mib['last_fifth']:,.0f} in the last "
        f"({100 * result['growth']:+.1f}%, at most {100 * MOST_GROWTH:+.0f}%), {mib['most']:,.0f} at most"
    )
