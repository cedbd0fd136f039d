"""`lab bench train-kill`: pre-training is killed at random moments, started again, and ends with the same bits.

Every start is `lab pretrain` with a checkpoint after each step. The phase of a kill is read from the files
afterwards: a checkpoint that is only begun says that the kill met its writing.
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from blip.errors import InputError
from lab.bench.killing import failed, finish, world_tars
from lab.bench.running import check_counts, record_place
from lab.records import WRITTEN, record, write_record

SPREAD = 4  # steps over which the moment of a kill is drawn
STEPPING, WRITING = "in a step", "while a checkpoint was written"
_BEGUN = "writing"  # the name of a checkpoint that is not whole yet
_LOOK = 0.001  # seconds between two looks at the folder


@dataclass(frozen=True, kw_only=True)
class Options:
    """Kill pre-training again and again, continue it each time, and compare with an unbroken run."""

    out: Path = WRITTEN / "bench" / "train-kill-cpu.json"
    """The record, JSON."""
    kills: int = 20
    """SIGKILLs over the run."""
    steps: int = 120
    """Optimizer steps; more than four a kill."""
    batch: int = 16
    """Pairs a step."""
    pairs: int = 400
    """Generated pairs, one image each."""
    seed: int = 0
    """Of the pairs, the training and the moments."""


def main(options: Options) -> int:
    """Run unbroken, run killed, compare, print and record; 1 if a bit differs."""
    check_counts(options, "kills", "batch", "pairs")
    if options.steps <= SPREAD * options.kills:
        raise InputError(f"--steps {options.steps} cannot be; give more than {SPREAD} a kill ({SPREAD * options.kills}).")
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="train-kill-") as folder:
        result = _measured(options, Path(folder))
    result["seconds"] = round(time.perf_counter() - start, 1)
    config = asdict(options) | {"out": options.out.name}
    path = record_place(options, kills=options.kills, steps=options.steps)
    write_record(path, record("bench-train-kill", result, seed=options.seed, config=config))
    print(_said(result))
    print(f"record: {path}")
    return 0 if result["reached"] else 1


def _measured(options: Options, folder: Path) -> dict[str, Any]:
    tars = world_tars(folder, options.pairs, options.seed)
    unbroken, broken = folder / "unbroken", folder / "broken"
    finish(command(options, tars, unbroken))
    kills = _kills(options, command(options, tars, broken), broken / "checkpoints")
    finish(command(options, tars, broken))
    different = differing(unbroken, broken)
    return {
        "steps": options.steps,
        "phases": dict(Counter(kill["phase"] for kill in kills)),
        "compared": "model.safetensors by bytes; the last checkpoint tensor by tensor; every logged row but its speed",
        "differing": different,
        "reached": len(kills) == options.kills and not different,
        "kills": kills,
    }


def command(options: Options, tars: Path, out: Path) -> list[str]:
    """The words of `lab pretrain`, small, with a checkpoint after each step."""
    size = ["--size=nano", f"--steps={options.steps}", f"--batch={options.batch}", "--queue=40", "--vocab-size=300"]
    rest = ["--save-seconds=0", "--held-out=8", "--workers=1", "--device=cpu", f"--seed={options.seed}"]
    return ["pretrain", f"--data={tars}", f"--out={out}", *size, *rest]


def _kills(options: Options, words: list[str], checkpoints: Path) -> list[dict[str, Any]]:
    """What each start met; fewer than asked for if the run ended before."""
    rng, kills = random.Random(options.seed), []
    for _ in range(options.kills):
        met = _killed(words, checkpoints, rng)
        if met is None:
            break
        kills.append(met)
        print(f"kill {len(kills):3}: {met['phase']}, after step {met['saved']}", flush=True)
    return kills


def _killed(words: list[str], checkpoints: Path, rng: random.Random) -> dict[str, Any] | None:
    """One start with its kill, some steps and a random part of a step after it began; None if it ended before."""
    first, steps, begun = _saved(checkpoints), rng.randint(1, SPREAD), time.perf_counter()
    with tempfile.TemporaryFile("w+") as said, subprocess.Popen(
        [sys.executable, "-m", "lab", *words], stdout=subprocess.DEVNULL, stderr=said, text=True
    ) as child:
        seen, last, length = first, time.perf_counter(), 0.0
        while child.poll() is None:
            if (now := _saved(checkpoints)) > seen:
                seen, last, length = now, time.perf_counter(), time.perf_counter() - last
            if seen >= first + steps:
                # The length of the step before: of the first it holds the start of the process.
                time.sleep(rng.uniform(0, length if seen > first + 1 else 0.05))
                child.kill()
                break
            time.sleep(_LOOK)
        if child.wait() == 0:
            return None
        if child.returncode > 0:
            said.seek(0)
            raise failed(said.read())
    phase = WRITING if (checkpoints / _BEGUN).exists() else STEPPING
    return {
        "phase": phase,
        "saved": _saved(checkpoints),
        "steps_of_this_start": _saved(checkpoints) - first,
        "seconds_after_start": round(time.perf_counter() - begun, 2),
    }


def _saved(checkpoints: Path) -> int:
    """The step of the newest checkpoint; 0 before the first."""
    return max((int(path.name.split("-")[0]) for path in checkpoints.glob("*-*.pt")), default=0)


def differing(one: Path, other: Path) -> list[str]:
    """What is not the same in two finished runs, by name."""
    found = [] if _bytes(one) == _bytes(other) else ["model.safetensors"]
    states = [torch.load(max(out.glob("checkpoints/*-*.pt")), weights_only=True) for out in (one, other)]
    found += [f"checkpoint {name}" for name in _unequal(*states)]
    rows = [_rows(out) for out in (one, other)]
    return found if rows[0] == rows[1] else [*found, "metrics.jsonl"]


def _bytes(out: Path) -> bytes:
    return (out / "model.safetensors").read_bytes()


def _rows(out: Path) -> list[dict[str, float]]:
    rows = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    return [{name: value for name, value in row.items() if name != "samples_per_second"} for row in rows]


def _unequal(one: Any, other: Any, name: str = "") -> list[str]:
    """Where two nested states differ in a bit."""
    if isinstance(one, torch.Tensor):
        return [] if torch.equal(one, other) else [name]
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [at for key in one for at in _unequal(one[key], other[key], f"{name}.{key}".lstrip("."))]
    if isinstance(one, list | tuple) and len(one) == len(other):
        return [at for key, pair in enumerate(zip(one, other, strict=True)) for at in _unequal(*pair, f"{name}.{key}")]
    return [] if one == other else [name]


def _said(result: dict[str, Any]) -> str:
    phases = ", ".join(f"{count} {phase}" for phase, count in result["phases"].items())
    different = ", ".join(result["differing"][:3])
    return (
        f"kills: {len(result['kills'])} ({phases})\n"
        f"weights, teacher, queues, optimizer, draws, data position and {result['steps']} steps of losses "
        f"{'NOT equal (' + different + ')' if different else 'equal, bit for bit,'} to an unbroken run"
    )
