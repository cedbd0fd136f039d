"""Tars read by several processes, a tar at a time each; what they held is put together in the order of the tars."""

import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

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
    pool = ProcessPoolExecutor(count, get_context("spawn"), begin_worker)
    try:
        yield {path: pool.submit(tar_part, path, origin) for path in tars}
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


def begin_worker() -> None:
    """A worker leaves Ctrl+C to the process that began it, and ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
