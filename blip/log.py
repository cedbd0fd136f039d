"""The log of a training: a row every few steps, in memory and as lines of metrics.jsonl."""

import json
import time
from pathlib import Path

from blip.data.files import replacing
from blip.distributed import is_main, mean
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
    row = {name: float(mean(sum(p.parts[name].detach() for p in parts))) / len(parts) for name in names}
    row |= {"step": step, "learning_rate": rate, "alpha": alpha, "gradient_norm": norm}
    return row | {"samples_per_second": clock.read()}


def earlier_rows(out: Path | None, step: int) -> list[dict[str, float]]:
    """Rows up to the step resumed from; what was logged after it will be logged again."""
    path = out / NAME if out else None
    if path is None or not is_main() or not path.exists():
        return []
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    rows = [row for row in rows if row["step"] <= step]
    with replacing(path) as file:
        file.write("".join(json.dumps(row) + "\n" for row in rows).encode())
    return rows


def append(out: Path | None, row: dict[str, float]) -> None:
    """Add a row to the file, in the main process."""
    if out and is_main():
        out.mkdir(parents=True, exist_ok=True)
        with (out / NAME).open("a") as file:
            file.write(json.dumps(row) + "\n")
