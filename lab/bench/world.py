"""`lab bench world`: scenes a second on one core, each composed, drawn and said.

A second is one of the processor, so that other work on the machine shows as noise, not as slowness;
seconds of the clock are recorded too. The first round also draws every object for the first time
(later ones find it in the cache), so it stands apart and is not part of the median.
"""

import os
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blip.errors import InputError
from lab.bench.rounds import spread
from lab.bench.running import record_place
from lab.records import WRITTEN, record, write_record
from lab.world.draw import draw
from lab.world.language import full_caption
from lab.world.levels import LEVELS, Level
from lab.world.scene import compose

REQUIRED = {"nano": 1_000}
"""Scenes a second per core that a level must reach."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure how fast scenes are composed, drawn at the size that models see, and captioned."""

    out: Path = WRITTEN / "bench" / "world-cpu.json"
    """The record, JSON."""
    scenes: int = 2_000
    """Scenes a round and level."""
    rounds: int = 7
    """Rounds after the first, which fills the cache of drawn objects."""
    seed: int = 0
    """Of the scenes."""


def main(options: Options) -> int:
    """Measure every level, print a table, write the record; 1 if a level is slower than required."""
    for name in ("scenes", "rounds"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name} {getattr(options, name)} cannot be; give 1 or more.")
    load = os.getloadavg()[0]
    levels = {name: _measured(level, options) for name, level in LEVELS.items()}
    reached = all(levels[name]["rate"]["median"] >= least for name, least in REQUIRED.items())
    result = {
        "unit": "scenes per second of one core",
        "levels": levels,
        "required": REQUIRED,
        "reached": reached,
        "load_average_before": round(load, 2),
    }
    config = {"scenes": options.scenes, "rounds": options.rounds}
    path = record_place(options, scenes=options.scenes, rounds=options.rounds)
    write_record(path, record("bench-world", result, seed=options.seed, config=config))
    print(_table(levels))
    print("required: " + ", ".join(f"{least:,} at {name}" for name, least in REQUIRED.items()))
    print(f"record: {path}")
    return 0 if reached else 1


def _measured(level: Level, options: Options) -> dict[str, Any]:
    timed = [_round(level, options, number) for number in range(options.rounds + 1)]
    rates = [options.scenes / processor for processor, _ in timed]
    clock = [options.scenes / wall for _, wall in timed[1:]]
    return {
        "px": level.px,
        "rate": spread([round(rate) for rate in rates[1:]]),
        "by_the_clock": spread([round(rate) for rate in clock]),
        "first_round": round(rates[0]),
    }


def _round(level: Level, options: Options, number: int) -> tuple[float, float]:
    """Seconds of the processor and of the clock that a round of new scenes takes."""
    rng = random.Random(f"{options.seed}/{level.name}/{number}")
    clock, processor = time.perf_counter(), time.process_time()
    for _ in range(options.scenes):
        scene = compose(level, rng)
        draw(scene, level.px)
        full_caption(scene, level, rng)
    return time.process_time() - processor, time.perf_counter() - clock


def _table(levels: dict[str, dict[str, Any]]) -> str:
    head = f"{'scenes/s per core':18}{'px':>6}{'median':>10}{'min':>10}{'max':>10}"
    lines = [head + f"{'first round':>14}{'clock':>10}"]
    for name, found in levels.items():
        rate = found["rate"]
        numbers = "".join(f"{rate[key]:>10,.0f}" for key in ("median", "min", "max"))
        clock = found["by_the_clock"]["median"]
        lines.append(f"{name:18}{found['px']:>6}{numbers}{found['first_round']:>14,}{clock:>10,.0f}")
    return "\n".join(lines)
