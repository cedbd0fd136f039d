"""`lab bench capfilt-kill`: CapFilt is killed at random moments, started again, and ends with the same bytes.

Every start runs in `lab.bench.slow_commits`, which widens the windows of a commit. The phase of a
kill is read from the files afterwards, whatever was aimed at.
"""

import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from blip.capfilt import Ledger, verify
from blip.errors import InputError
from lab.bench.killing import failed, finish, world_tars
from lab.bench.ledger_state import CAPTIONING, ENTERING, WRITING, place, state
from lab.bench.running import check_counts, record_place
from lab.bench.slow_commits import SYNC, TILE
from lab.records import WRITTEN, record, write_record
from lab.weights import WEIGHTS

AIMS = {CAPTIONING: (TILE, 3), WRITING: (SYNC, 3), ENTERING: (SYNC, 6)}
"""Phase -> the announcement after which it can be met, and how often a shard has it."""
SPREAD = 2  # shards over which the moments of a start are spread, so that all starts together cover the run
IMAGES_PER_TILE = 8  # several tiles a shard, so that captioning can be met inside one
HOW = (
    "The first tile of each start was done before its kill. Every fsync of the killed process waited "
    "{pause:g} s, so that kills land inside a commit; phase and shard are read from the files after the kill."
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Kill CapFilt again and again, continue it each time, and compare with an unbroken run."""

    out: Path = WRITTEN / "bench" / "capfilt-kill-cpu.json"
    """The record, JSON."""
    kills: int = 50
    """SIGKILLs over the run."""
    each: int = 10
    """Kills that must have met each phase: captioning, shard writing, between rename and entry."""
    pairs: int = 2_000
    """Generated pairs, one image each."""
    images_per_shard: int = 32
    """Images a shard; the run needs more shards than kills."""
    pause: float = 0.1
    """Seconds that every sync waits, in which a kill can land."""
    seed: int = 0
    """Of the pairs, the captions and the moments."""


def main(options: Options) -> int:
    """Run unbroken, run killed, compare, print and record; 1 if a byte or a row differs."""
    check_counts(options, "kills", "each", "pairs", "images_per_shard")
    if not 0 < options.pause < 10:
        raise InputError(f"--pause {options.pause:g} cannot be; give seconds above 0 and below 10.")
    shards = -(-options.pairs // options.images_per_shard)
    if not 3 * options.each <= options.kills < shards:
        raise InputError(
            f"--kills {options.kills} cannot be; give at least 3 times --each ({3 * options.each}) and fewer "
            f"than there are shards ({shards})."
        )
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="capfilt-kill-") as folder:
        result = _measured(options, Path(folder), shards)
    result["seconds"] = round(time.perf_counter() - start, 1)
    config = asdict(options) | {"out": options.out.name}
    path = record_place(options, kills=options.kills)
    write_record(path, record("bench-capfilt-kill", result, seed=options.seed, config=config))
    print(_said(result))
    print(f"record: {path}")
    return 0 if result["reached"] else 1


def _measured(options: Options, folder: Path, shards: int) -> dict[str, Any]:
    tars = world_tars(folder, options.pairs, options.seed)
    unbroken, broken = folder / "unbroken", folder / "broken"
    finish(_command(options, tars, unbroken))
    kills = _kills(options, _command(options, tars, broken), broken, shards)
    finish(_command(options, tars, broken))
    compared = _compared(Ledger.open(unbroken), Ledger.open(broken))
    phases = Counter(kill["phase"] for kill in kills)
    met = len(kills) == options.kills and all(phases[phase] >= options.each for phase in AIMS)
    whole = compared["verify"] and not any(compared[name] for name in ("differing", "lost", "doubled", "left_over"))
    return {
        "images": options.pairs,
        "shards": shards,
        "how": HOW.format(pause=options.pause),
        "phases": dict(phases),
        "required_each": options.each,
        **compared,
        "reached": met and whole,
        "kills": kills,
    }


def _command(options: Options, tars: Path, out: Path) -> list[str]:
    weights = [f"--{name}={WEIGHTS / name}.safetensors" for name in ("captioner", "filter")]
    size = [f"--images-per-shard={options.images_per_shard}", f"--tile={IMAGES_PER_TILE}", f"--seed={options.seed}"]
    return ["capfilt", f"--data={tars}", f"--out={out}", *weights, *size, "--device=cpu"]


def _kills(options: Options, command: list[str], folder: Path, shards: int) -> list[dict[str, Any]]:
    """What each start met; fewer than asked for if the run ended before."""
    rng = random.Random(options.seed)
    aims = [list(AIMS)[number % len(AIMS)] for number in range(options.kills)]
    rng.shuffle(aims)
    slowed = [sys.executable, "-m", "lab.bench.slow_commits", str(options.pause), *command]
    kills = []
    for aim in aims:
        met = _killed(slowed, folder, shards, aim=aim, pause=options.pause, rng=rng)
        if met is None:
            break
        kills.append(met)
        print(f"kill {len(kills):3}: {met['phase']}, shard {met['shard']} {met['table']}", flush=True)
    return kills


def _killed(
    slowed: list[str], folder: Path, shards: int, *, aim: str, pause: float, rng: random.Random
) -> dict[str, Any] | None:
    """One start with its kill, at a random chance that the aimed phase gives; None if it ended before."""
    before = state(folder)
    sign, most = AIMS[aim]
    chances, tiles, begun = rng.randint(1, SPREAD * most), 0, time.perf_counter()
    with tempfile.TemporaryFile("w+") as said, subprocess.Popen(
        slowed, stdout=subprocess.PIPE, stderr=said, text=True
    ) as child:
        for line in child.stdout or ():
            tiles += line.strip() == TILE
            if not tiles or line.strip() != sign or place(before, state(folder), child.pid, shards).phase != aim:
                continue
            chances -= 1
            if chances <= 0:
                time.sleep(rng.uniform(0, pause))
                # The moment may have passed meanwhile; then the next chance is taken.
                if place(before, state(folder), child.pid, shards).phase == aim:
                    child.kill()
                    break
        if child.wait() == 0:
            return None
        if child.returncode > 0:
            said.seek(0)
            raise failed(said.read())
        met = place(before, state(folder), child.pid, shards)
    seconds = round(time.perf_counter() - begun, 2)
    return {**asdict(met), "aimed_at": aim, "tiles_done_in_this_start": tiles, "seconds_after_start": seconds}


def _compared(unbroken: Ledger, broken: Ledger) -> dict[str, Any]:
    """The broken run's ledger against the unbroken one's: bytes, rows, invariants, what lies about."""
    folder = Path(broken.folder)
    wanted, found = _bytes(Path(unbroken.folder)), _bytes(folder)
    rows = [ledger.table("candidates", ["row_id"])["row_id"].to_pylist() for ledger in (unbroken, broken)]
    return {
        "files_compared": len(wanted),
        "differing": sorted(name for name in wanted | found if wanted.get(name) != found.get(name)),
        "rows": len(rows[0]),
        "lost": len(set(rows[0]) - set(rows[1])),
        "doubled": len(rows[1]) - len(set(rows[1])),
        "verify": all(finding.holds for finding in verify(broken)),
        "left_over": sorted(path.name for path in folder.rglob("*.unfinished")),
    }


def _bytes(folder: Path) -> dict[str, bytes]:
    """The ledger itself: ledger.json, every shard, every manifest entry (summaries have dates)."""
    paths = [folder / "ledger.json", *folder.rglob("*.parquet"), *folder.glob("manifest/*.json")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def _said(result: dict[str, Any]) -> str:
    phases = ", ".join(f"{count} in {phase}" for phase, count in result["phases"].items())
    counts = ", ".join(f"{result[name]} {name}" for name in ("lost", "doubled"))
    same = "equal" if not result["differing"] else f"NOT equal ({', '.join(result['differing'][:3])})"
    return (
        f"kills: {len(result['kills'])} ({phases})\n"
        f"bytes of {result['files_compared']} files {same} to an unbroken run; of {result['rows']:,} rows {counts}\n"
        f"lab ledger verify {'holds' if result['verify'] else 'does NOT hold'}, "
        f"{len(result['left_over'])} temporary files left"
    )
