"""The index of large data, kept: which pairs tars hold is read once, by several processes, and mapped from then on.

    index/0123456789abcdef/   in the home of runs; named by the tars, their sizes and times, and how they are read
        rows.arrow            a row a pair, which all processes of a machine share
        rejects.arrow         what cannot be used

It may be deleted at any time. Tables and folders are read anew: they name pictures, which can come and go.
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from blip.data.pair_files import mapped_pairs, write_pairs
from blip.data.pairset import PairSet
from blip.data.places import is_url
from blip.data.readers import is_tar
from blip.errors import InputError, one_line
from lab.locks import locked
from lab.runs import Home

LARGE = 2**30
"""Bytes of tars from which on an index is kept; fewer are read in seconds."""
_VERSION = 1  # raised when readers find something else in the same tars


def indexed(files: Sequence[str], how: dict[str, Any], read: Callable[..., PairSet]) -> PairSet:
    """What `read` finds in the files, which is kept where they are tars of this machine of 1 GiB or more together.

    how: whatever else decides what is found, plain JSON values. read: takes `processes`, how many read tars at once.
    Several processes that ask at once wait for the one that reads. Where an index cannot be kept (no space, a home that
    cannot be locked), a line says so and the pairs are read as ever.
    """
    states = [_state(file) for file in files]
    if any(is_url(file) or not is_tar(file) for file in files) or sum(size for size, _ in states) < LARGE:
        return read()
    read_all = partial(read, processes=processors())
    home = Home.default().folder
    folder = home / "index" / _name(files, states, how)
    with ExitStack() as held:
        try:
            held.enter_context(locked(home / "locks" / f"index-{folder.name}", wait=True))
        except (InputError, OSError) as error:
            _not_kept(error)
            return read_all()
        found = _known(folder)
        return _kept(read_all(), folder) if found is None else found


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _state(file: str) -> tuple[int, int]:
    """Size and time of writing of a file; zeros of one that cannot be looked at, of which the reader will tell."""
    try:
        state = os.stat(file)
    except OSError:
        return 0, 0
    return state.st_size, state.st_mtime_ns


def _name(files: Sequence[str], states: Sequence[tuple[int, int]], how: dict[str, Any]) -> str:
    known = [[file, os.path.realpath(file), *state] for file, state in zip(files, states, strict=True)]
    return hashlib.sha256(json.dumps([_VERSION, known, how]).encode()).hexdigest()[:16]


def _known(folder: Path) -> PairSet | None:
    """The pairs of an index; None where there is none, or none that can be read."""
    if not folder.is_dir():
        return None
    try:
        return mapped_pairs(folder)
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError):
        return None


def _kept(pairs: PairSet, folder: Path) -> PairSet:
    """The pairs, mapped from the index that was written, or as they are where the disk does not take it."""
    unfinished = folder.with_name(f".{folder.name}")
    try:
        for left in (unfinished, folder):  # of a process that was killed, or damaged
            shutil.rmtree(left, ignore_errors=True)
        unfinished.mkdir(parents=True)
        write_pairs(pairs, unfinished)
        unfinished.rename(folder)
        return mapped_pairs(folder)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        _not_kept(error)
        return pairs


def _not_kept(error: Exception) -> None:
    print(f"No index of the data is kept, so each start reads them: {one_line(str(error))}", file=sys.stderr)
