"""The log of a training: a row every few steps, in memory and as lines of metrics.jsonl."""

import json
import time
from functools import reduce
from operator import add
from pathlib import Path

from blip.data.files import replacing
from blip.data.jsons import parse_json
from blip.distributed import is_main, mean
from blip.errors import InputError
from blip.tasks.batch import Losses

NAME = "metrics.jsonl"


class Clock:
    """Samples a second since it was last read."""

    def __init__(self) -> None:
        self.samples, self.start = 0, time.perf_counter()

    def count(self, samples: int) -> None:
        """Add samples."""
        self.samples += samples

    def read(self) -> float:
        """The rate since the last reading, and begin anew."""
        now = time.perf_counter()
        rate = self.samples / max(now - self.start, 1e-9)
        self.samples, self.start = 0, now
        return rate


def log_row(
    step: int, parts: list[Losses], *, rate: float, alpha: float, norm: float, clock: Clock
) -> dict[str, float]:
    """One line of metrics.jsonl: the step's losses by name, of all processes, and how training stands."""
    names = parts[0].parts
    row = {name: float(mean(reduce(add, (p.parts[name].detach() for p in parts)))) / len(parts) for name in names}
    row |= {"step": step, "learning_rate": rate, "alpha": alpha, "gradient_norm": norm}
    return row | {"samples_per_second": clock.read()}


def earlier_rows(out: Path | None, step: int) -> list[dict[str, float]]:
    """Rows up to the step resumed from; what was logged after it will be logged again."""
    path = out / NAME if out else None
    if path is None or not is_main() or not path.exists():
        return []
    rows = [row for row in read_rows(path) if row["step"] <= step]
    with replacing(path) as file:
        file.write("".join(json.dumps(row) + "\n" for row in rows).encode())
    return rows


def read_rows(path: Path) -> list[dict[str, float]]:
    """The whole lines of a log, the last of which may be on its way to the disk; InputError names one that is no row."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); delete it.") from None
    return [_row(line, f"{path}, line {number}") for number, line in enumerate(lines, 1) if line.endswith(b"}")]


def _row(line: bytes, where: str) -> dict[str, float]:
    try:
        row = parse_json(line)
        if type(row["step"]) is int and all(isinstance(value, (int, float)) for value in row.values()):
            return row
        reason = "what it holds are no numbers"
    except (ValueError, TypeError, KeyError) as error:
        reason = str(error)
    raise InputError(f"{where} is no row of a training log ({reason}); delete the line.")


def append(out: Path | None, row: dict[str, float]) -> None:
    """Add a row to the file, in the main process."""
    if out and is_main():
        out.mkdir(parents=True, exist_ok=True)
        with (out / NAME).open("a") as file:
            file.write(json.dumps(row) + "\n")
