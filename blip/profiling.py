"""A trace of a few training steps, for Perfetto or chrome://tracing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, schedule

from blip.distributed import rank

SKIPPED, WARMING, TRACED = 2, 1, 3  # steps; the first ones allocate and compile


@contextmanager
def profiled(folder: Path | None) -> Iterator[Callable[[], None]]:
    """Within it what is yielded, called after each step, traces steps 4 to 6 into trace-rank0.json of a folder.

    One file a process. Without a folder nothing is traced.
    """
    if folder is None:
        yield lambda: None
        return
    folder.mkdir(parents=True, exist_ok=True)
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * torch.cuda.is_available()
    steps = schedule(wait=SKIPPED, warmup=WARMING, active=TRACED, repeat=1)
    path = str(folder / f"trace-rank{rank()}.json")
    with profile(
        activities=activities, schedule=steps, on_trace_ready=lambda done: done.export_chrome_trace(path)
    ) as running:
        yield running.step
