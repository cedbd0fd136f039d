"""How far a job has come: from the ledger that it fills, and from the progress bar in its log.

Plain Python, no Gradio. Everything can be read while the job writes: a ledger's shards appear whole.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from apps.answers import Tally
from apps.jobs import FAILED, RUNNING, Job
from blip.capfilt import Ledger, Policy
from blip.errors import InputError

LINES = 6
"""Lines of a log that are shown."""

_TAIL = 16_384  # bytes of a log that are read
_BAR = re.compile(r"(\d+)/(\d+) \[[\d:]+<([\d:?]+), +(?:([\d.]+)(image/s|s/image))?")
_OURS = "lab: "
_SILENT = "Its process ended without a word: it was killed, or the machine was stopped."

_Shard = Counter[tuple[str, bool]]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a job has come. images: done of total, which is None while the data is read."""

    images: int = 0
    total: int | None = None
    unread: int = 0
    """Of the images done, those that could not be used: the ledger's rejects."""
    rate: float | None = None
    """Images a second, now."""
    left: str = ""
    """Time left as M:SS or H:MM:SS, where it is known."""
    tallies: dict[str, Tally] = field(default_factory=dict)
    """Captions kept and filtered so far, by origin: those in committed shards."""
    lines: tuple[str, ...] = ()
    """The last lines of the log; of the bar only its last state."""
    error: str = ""
    """The last sentence of what went wrong, for a job that has failed."""


class Reader:
    """Reads the progress of jobs; a shard is counted once. Any number of threads may ask at the same time."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, float], _Shard] = {}
        self._lost: dict[str, int] = {}

    def progress(self, job: Job, log: Path) -> Progress:
        """How far a job has come."""
        lines, bar = _said(log)
        about = _about(job)
        shards = _committed(job) if about else {}
        total = about["data"]["images"] if about else None
        images = min(total, len(shards) * about["images_per_shard"]) if total is not None else 0
        found: dict[str, Any] = {"tallies": self._tallies(job, shards), "lines": lines, "total": total}
        if job.state == RUNNING and bar:
            images, found["left"], found["rate"] = max(images, int(bar[1])), bar[3], _rate(bar)
        if job.state == FAILED:
            found["error"] = _error(lines)
        return Progress(images=images, unread=self._unread(job, shards), **found)

    def _unread(self, job: Job, shards: Mapping[str, str]) -> int:
        """Images in committed shards that could not be used; all rejects of an image lie in one shard."""
        if not shards:
            return 0
        try:
            ledger = Ledger.open(job.out)
            done = [entry for entry in ledger.entries("rejects") if entry.shard in shards]
            for entry in done:
                if entry.sha256 not in self._lost:
                    rows = ledger.read("rejects", entry.shard, ["image_key", "kind"]).to_pylist()
                    self._lost[entry.sha256] = len({row["image_key"] for row in rows if row["kind"] == "image"})
        except InputError:  # somebody is removing the folder
            return 0
        return sum(self._lost[entry.sha256] for entry in done)

    def _tallies(self, job: Job, shards: Mapping[str, str]) -> dict[str, Tally]:
        if not shards:
            return {}
        total: _Shard = Counter()
        try:
            for shard, content in shards.items():
                key = (content, job.threshold)
                if key not in self._known:
                    self._known[key] = _counted(job, shard)
                total += self._known[key]
        except InputError:  # somebody is removing the folder
            return {}
        return {o: Tally({None: total[o, True]}, {None: total[o, False]}) for o in ("web", "synthetic")}


def _about(job: Job) -> dict[str, Any]:
    """What ledger.json says, nothing while there is none."""
    try:
        return json.loads((Path(job.out) / "ledger.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _committed(job: Job) -> dict[str, str]:
    """The hash of the scores of each shard that is scored; a filter's entry is the last thing written of a shard.

    The folder may have held another ledger before: a name does not say whose shard it is.
    """
    try:
        return {entry.shard: entry.sha256 for entry in Ledger.open(job.out).entries(f"scores/{Policy().filter}")}
    except InputError:  # somebody is removing the folder
        return {}


def _counted(job: Job, shard: str) -> _Shard:
    """Captions of a shard by origin (web or synthetic) and whether they are kept, as the command decides."""
    ledger, policy = Ledger.open(job.out), Policy()
    origins = ledger.read("candidates", shard, ["origin"])["origin"]
    scores = ledger.read(f"scores/{policy.filter}", shard, [policy.column])[policy.column]
    kept = pc.fill_null(pc.greater_equal(scores, pa.scalar(job.threshold, pa.float32())), False)
    names = ("synthetic" if origin == "synthetic" else "web" for origin in origins.to_pylist())
    return Counter(zip(names, kept.to_pylist(), strict=True))


def _said(log: Path) -> tuple[tuple[str, ...], re.Match[str] | None]:
    """The last lines of a log, and the last state of its progress bar, which is one of them."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return (), None
    lines, bar = [], None
    for line in filter(str.strip, re.split(r"[\r\n]+", text)):
        found = _BAR.search(line)
        if found and bar:
            lines = [one for one in lines if one != bar.string]
        bar = found or bar
        lines.append(line)
    return tuple(line.rstrip() for line in lines[-LINES:]), bar


def _rate(bar: re.Match[str]) -> float | None:
    if not bar[4]:
        return None
    return float(bar[4]) if bar[5] == "image/s" else 1 / max(1e-9, float(bar[4]))


def _error(lines: tuple[str, ...]) -> str:
    """The command's own sentence, else the last line, where it is no progress bar."""
    ours = [line.removeprefix(_OURS) for line in lines if line.startswith(_OURS)]
    others = [line for line in lines if not _BAR.search(line)]
    return next(iter([*ours[-1:], *others[-1:]]), _SILENT)
