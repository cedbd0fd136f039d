"""`lab queue`: the most valuable cells that fit into some minutes, packed into one tar."""

import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from blip.errors import InputError
from lab.ablation.command import Wanted, device_for, record_of, task_of
from lab.ablation.queue import by_value, packed, work
from lab.ablation.scales import scaled
from lab.ablations import ABLATIONS
from lab.claims import CLAIMS
from lab.records import write_record
from lab.runs import DONE, Home

_PACKING = 0.05  # of the minutes, kept for writing the tar


@dataclass(frozen=True, kw_only=True)
class Options:
    """Do the most valuable unmeasured cells of all ablations that fit, several at once, and pack what came of them."""

    minutes: float
    """How long the machine is at hand."""
    out: Path
    """Folder of the records and of queue.tar, which holds them with the runs; unpack it into another BLIP_LAB_HOME."""
    scale: str = "gpu"
    """smoke, cpu or gpu."""
    jobs: int = 8
    """Cells at once; small models share a GPU."""


def main(options: Options) -> int:
    """Work until the time is nearly over, write the records, pack them; 1 where no cell was done."""
    if options.minutes <= 0 or options.jobs < 1:
        raise InputError(f"--minutes {options.minutes:g} with --jobs {options.jobs} cannot be; give more than 0.")
    recipe, home, began = scaled(options.scale), Home.default(), time.time()
    device_for(recipe)
    records = {name: Wanted(name=name, scale=options.scale, seeds=1).earlier for name in ABLATIONS}
    left = by_value(recipe, home, records)
    say = lambda text: print(text, file=sys.stderr, flush=True)
    say(f"{len(left)} cells are not measured; {options.minutes:g} minutes, {options.jobs} at once.")
    seconds = 60 * options.minutes * (1 - _PACKING)
    done = work(left, recipe, home, seconds=seconds, jobs=options.jobs, told=say)
    written = [_written(options, name, home) for name in dict.fromkeys(one.ablation.name for one in done)]
    new = [row["id"] for row in home.rows() if row["state"] == DONE and _since(row["finished"], began)]
    tar = packed(options.out / "queue.tar", written, home, new)
    print(f"{len(done)} cells, {len(new)} runs, {tar.stat().st_size / 2**20:.1f} MiB: {tar}")
    return 0 if done else 1


def _written(options: Options, name: str, home: Home) -> Path:
    seeds = max((claim.seeds for claim in CLAIMS if claim.ablation == name), default=1)
    wanted = Wanted(name=name, scale=options.scale, seeds=seeds, jobs=options.jobs)
    content = record_of(wanted, task_of(wanted), home, wanted.earlier)
    return write_record(options.out / f"{name}-{options.scale}.json", content)


def _since(finished: str, began: float) -> bool:
    return datetime.fromisoformat(finished).timestamp() >= began
