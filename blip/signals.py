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
    """Within it SIGTERM and SIGINT are only noted; what is yielded gives the number of the one noted, 0 before.

    A second signal acts as it did before. Unless `noting`, and in another thread than the main one, all do.
    """
    if not noting or threading.current_thread() is not threading.main_thread():
        yield lambda: 0
        return
    noted = [0]
    before = {number: signal.getsignal(number) for number in ASKING}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(number)
        restore()

    for number in ASKING:
        signal.signal(number, note)
    try:
        yield lambda: noted[-1]
    finally:
        restore()


def stopped(step: int, number: int) -> BaseException:
    """What ends a run at a step that is saved: `Stopped`, and silence in all processes but the main one."""
    if not is_main():
        return SystemExit(128 + number)
    name = signal.Signals(number).name
    return Stopped(f"Stopped by {name} after step {step}, which is saved; the same command continues from there.", number)
