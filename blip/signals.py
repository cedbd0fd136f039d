"""Signals that ask a run to end: it finishes what it is at, saves, and ends."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from blip.distributed import is_main
from blip.errors import Stopped

ASKING = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stop_signals(noting: bool) -> Iterator[Callable[[], int]]:
    """Within it SIGTERM and SIGINT are only noted; what is yielded gives the number of the first, 0 before.

    After the first of either, SIGINT acts as it did before, so that a second Ctrl+C does not wait. Every further SIGTERM
    changes nothing: where a scheduler signals all processes of a job, torchrun passes its own on to workers that have
    one already. Unless `noting`, and in another thread than the main one, both act as before from the beginning.
    """
    if not noting or threading.current_thread() is not threading.main_thread():
        yield lambda: 0
        return
    noted: list[int] = []
    before = {number: signal.getsignal(number) for number in ASKING}

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(number)
        signal.signal(signal.SIGINT, before[signal.SIGINT])

    for number in ASKING:
        signal.signal(number, note)
    try:
        yield lambda: noted[0] if noted else 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stopped(step: int, number: int) -> BaseException:
    """What ends a run at a step that is saved: `Stopped`, and silence in all processes but the main one."""
    if not is_main():
        return SystemExit(128 + number)
    name = signal.Signals(number).name
    return Stopped(f"Stopped by {name} after step {step}, which is saved; the same command continues from there.", number)
