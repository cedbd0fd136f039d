"""Tars read by several processes, a tar at a time each; what they held is put together in the order of the tars."""

import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from threading import current_thread, main_thread

from blip.data.collect import PairCollector, Part
from blip.data.pairs import Origin
from blip.data.tars import read_tar
from blip.workers import end_with_parent


@contextmanager
def tar_parts(tars: Sequence[str], origin: Origin | None, processes: int) -> Iterator[Mapping[str, Future[Part]]]:
    """What each of several tars holds, as it is ready; nothing where one process or one tar makes it not worthwhile."""
    count = min(processes, len(tars))
    if count < 2:
        yield {}
        return
    # A fork would take along threads and what they lock.
    pool = ProcessPoolExecutor(count, get_context("spawn"), end_with_parent)
    try:
        with _deaf_to_ctrl_c():
            parts = {path: pool.submit(tar_part, path, origin) for path in tars}
        yield parts
    finally:
        pool.shutdown(cancel_futures=True)


def tar_part(path: str, origin: Origin | None) -> Part:
    """What one tar holds; a tar that cannot be read is a reject."""
    into = PairCollector(origin)
    into.begin_shard()
    try:
        read_tar(path, into)
    except OSError as error:
        into.lose_file(path, error)
    return into.part()


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Processes that are begun within it leave Ctrl+C, from their first instant on, to the one that begins them."""
    if current_thread() is not main_thread():  # which alone may set what a signal does
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
