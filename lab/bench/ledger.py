"""`lab bench ledger`: deciding over a simulated ledger of 100 million captions, with peak memory, and pictures
opened at random from a large tar.

Every question is asked in a process of its own, after its imports, on files that were just written (so
that they come from the page cache where memory allows); the tar is read from the disk.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from blip.capfilt import Ledger, Policy
from blip.capfilt.decide import verdicts
from blip.capfilt.ranking import image_numbers
from blip.data.files import replacing
from blip.errors import InputError
from lab.bench.alone import alone
from lab.bench.pictures import measure
from lab.bench.running import record_place
from lab.bench.simulated_ledger import EACH, IMAGES_PER_SHARD, simulate
from lab.records import WRITTEN, record, write_record

BYTES_A_ROW = 150  # on disk, with room for the kept list
BINS = 20
MOST_MIB = 1024
WRITE = "write the kept list"
# Identities are noise to a compressor and to statistics of a page; keys in order are not.
_PLAIN = {
    "compression": {"row_id": "none", "image_key": "lz4", "score": "none"},
    "use_dictionary": False,
    "write_statistics": False,
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure how long questions about a large ledger take, and in how much memory; then opening pictures."""

    out: Path = WRITTEN / "bench" / "ledger-cpu.json"
    """The record, JSON."""
    rows: int = 100_000_000
    """Captions of the ledger, 5 an image."""
    images_per_shard: int = IMAGES_PER_SHARD
    """Images a shard."""
    tar_bytes: int = 10**10
    """Size of the tar from which pictures are opened."""
    pictures: int = 1000
    """Pictures opened from it, at random."""
    folder: Path | None = None
    """Where the ledger and the tar are written for the time of the measurement; by default a temporary folder."""
    seed: int = 0
    """Of keys, texts, scores and pictures."""


def counts(ledger: Ledger, out: Path) -> dict[str, int]:
    """Kept and filtered captions by origin."""
    total = np.zeros(4, np.int64)
    for rows in verdicts(ledger, Policy(), ("origin",)):
        total += np.bincount(2 * _synthetic(rows) + np.asarray(rows["kept"]), minlength=4)
    return dict(zip(("web filtered", "web kept", "synthetic filtered", "synthetic kept"), total.tolist(), strict=True))


def histograms(ledger: Ledger, out: Path) -> dict[str, list[int]]:
    """Captions by score in 20 equal bins from 0 to 1, by origin."""
    total = np.zeros((2, BINS), np.int64)
    for rows in verdicts(ledger, Policy(), ("origin",)):
        bins = np.minimum(np.asarray(rows["score"]) * BINS, BINS - 1).astype(np.int64)
        total += np.bincount(_synthetic(rows) * BINS + bins, minlength=2 * BINS).reshape(2, BINS)
    return {"web": total[0].tolist(), "synthetic": total[1].tolist()}


def quadrants(ledger: Ledger, out: Path) -> dict[str, int]:
    """Images by whether a caption that came with them and whether a synthetic one was kept."""
    total = np.zeros(4, np.int64)
    for rows in verdicts(ledger, Policy(), ("origin", "image_key")):
        images, kept, synthetic = image_numbers(rows["image_key"]), np.asarray(rows["kept"]), _synthetic(rows)
        size = int(images.max()) + 1
        web, made = (np.bincount(images[kept & own], minlength=size) > 0 for own in (~synthetic, synthetic))
        total += np.bincount(2 * web + made, minlength=4)
    return dict(zip(("neither", "synthetic only", "web only", "both"), total.tolist(), strict=True))


def best_of_n(ledger: Ledger, out: Path) -> int:
    """Captions kept with at most the best synthetic one of each image."""
    return _kept(ledger, Policy(best_synthetic=1))


def cap(ledger: Ledger, out: Path) -> int:
    """Captions kept with at most 10 of equal text."""
    return _kept(ledger, Policy(per_caption=10))


def kept_list(ledger: Ledger, out: Path) -> int:
    """Write row_id, image_key and score of every kept caption as Parquet."""
    written, writer = 0, None
    with replacing(out) as file:
        for rows in verdicts(ledger, Policy(), ("row_id", "image_key")):
            kept = rows.filter(rows["kept"]).select(["row_id", "image_key", "score"])
            writer = writer or pq.ParquetWriter(file, kept.schema, **_PLAIN)
            writer.write_table(kept)
            written += kept.num_rows
        if writer:
            writer.close()
    return written


QUESTIONS: dict[str, tuple[Callable[[Ledger, Path], Any], float]] = {
    "counts": (counts, 10),
    "histograms": (histograms, 10),
    "image quadrants": (quadrants, 10),
    "best of n": (best_of_n, 10),
    "cap per duplicate caption": (cap, 10),
    WRITE: (kept_list, 20),
}
"""Question -> its function, and the seconds it may take at 100 million rows on two cores."""


def main(options: Options) -> int:
    """Write the ledger, ask every question, open pictures, record; 1 if a question took longer or more than it may."""
    if options.rows < EACH or options.images_per_shard < 1:
        raise InputError(f"--rows {options.rows} cannot be; give {EACH} or more, and 1 image a shard or more.")
    if options.tar_bytes < 1 or options.pictures < 1:
        raise InputError("--tar-bytes and --pictures must be 1 or more.")
    if options.folder is not None and not options.folder.is_dir():
        raise InputError(f"There is no folder {options.folder}; make it, or leave --folder out.")
    with tempfile.TemporaryDirectory(prefix="ledger-", dir=options.folder) as name:
        folder, needed = Path(name), max(options.rows * BYTES_A_ROW, options.tar_bytes)
        if (free := shutil.disk_usage(folder).free) < needed:
            raise InputError(
                f"{options.rows:,} rows or the tar need {needed / 2**30:.0f} GiB and {folder.parent} has "
                f"{free / 2**30:.0f}; give fewer --rows and --tar-bytes or another --folder."
            )
        result = _measured(options, folder)
        shutil.rmtree(folder / "ledger")  # the disk need not hold both
        result["pictures"] = found = measure(folder, options.tar_bytes, options.pictures, options.seed)
        result["reached"] &= found["same_pictures"]
        print(_pictures_line(found), flush=True)
    config = asdict(options) | {"out": options.out.name, "folder": None}
    path = record_place(options, rows=options.rows)
    write_record(path, record("bench-ledger", result, seed=options.seed, config=config))
    print(f"record: {path}")
    return 0 if result["reached"] else 1


def _measured(options: Options, folder: Path) -> dict[str, Any]:
    images, start, load = options.rows // EACH, time.perf_counter(), os.getloadavg()[0]
    simulate(folder / "ledger", images, options.seed, options.images_per_shard)
    seconds = time.perf_counter() - start
    size = sum(path.stat().st_size for path in folder.rglob("*.parquet"))
    print(f"{images * EACH:,} rows of {images:,} images, {size / 2**30:.1f} GiB, written in {seconds:.0f} s", flush=True)
    asked = {}
    for name, (_, most) in QUESTIONS.items():
        asked[name] = found = alone(_answer, name, folder) | {"most_seconds": most}
        print(_line(name, found), flush=True)
    reached = all(own["seconds"] <= own["most_seconds"] and own["peak_mib"] <= MOST_MIB for own in asked.values())
    return {
        "rows": images * EACH,
        "images": images,
        "bytes": size,
        "seconds_to_write_it": round(seconds, 1),
        "most_mib": MOST_MIB,
        "load_average_before": round(load, 2),
        "questions": asked,
        "reached": reached,
    }


def _line(name: str, found: dict[str, Any]) -> str:
    clock = f"{found['seconds']:>8.1f} s (at most {found['most_seconds']:.0f})"
    return f"{name:28}{clock}{found['processor_seconds']:>8.1f} s of the processors{found['peak_mib']:>8,} MiB"


def _pictures_line(found: dict[str, Any]) -> str:
    ours, theirs = found["by reference"], found["by tarfile, opened once"]
    each = ours["found"]["milliseconds_a_picture"]["median"]
    return (
        f"{found['pictures']:,} of {found['members']:,} pictures of a tar of {found['bytes'] / 1e9:.1f} GB: "
        f"{each} ms each, {ours['bytes_read'] / 1e6:.1f} MB read for {found['bytes_of_the_pictures'] / 1e6:.1f} MB of "
        f"pictures; tarfile {theirs['seconds']} s, {theirs['bytes_read'] / 1e6:.1f} MB"
    )


def _answer(name: str, folder: Path) -> Any:
    return QUESTIONS[name][0](Ledger.open(folder / "ledger"), folder / "kept.parquet")


def _synthetic(rows: pa.Table) -> np.ndarray:
    return np.asarray(pc.equal(rows["origin"], "synthetic"))


def _kept(ledger: Ledger, policy: Policy) -> int:
    return sum(int(np.count_nonzero(rows["kept"])) for rows in verdicts(ledger, policy, ("origin",)))
