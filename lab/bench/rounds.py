"""What several rounds of one measurement say together, and the memory that they took."""

import statistics
from collections.abc import Sequence
from pathlib import Path


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, min and max of some rates, in their own unit."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def peak_mib(process: int | str = "self") -> int:
    """Most memory a process, by its id, has held (Linux). getrusage would count what its parent held before."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))
