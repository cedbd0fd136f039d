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


def indexed(files: Sequence[str], how: dict[str, Any], read: Callable[[], PairSet]) -> PairSet:
    """What `read` finds in the files, which is kept where they are tars of 1 GiB or more together.

    how: whatever else decides what is found, plain JSON values. Several processes that ask at once wait for the one that
    reads. Where an index cannot be kept (no space, a home that cannot be locked), a line says so and the pairs are read
    as ever.
    """
    if not is_large(files):
        return read()
    home = Home.default().folder
    folder = home / "index" / _name(files, how)
    with ExitStack() as held:
        try:
            held.enter_context(locked(home / "locks" / f"index-{folder.name}", wait=True))
        except (InputError, OSError) as error:
            _not_kept(error)
            return read()
        found = _known(folder)
        return _kept(read(), folder) if found is None else found


def is_large(files: Sequence[str]) -> bool:
    """Whether these are tars alone, of this machine, and of 1 GiB or more together."""
    if not all(is_tar(file) and not is_url(file) for file in files):
        return False
    return sum(os.stat(file).st_size for file in files if os.path.exists(file)) >= LARGE


def _name(files: Sequence[str], how: dict[str, Any]) -> str:
    known = [[file, os.path.realpath(file), *_state(file)] for file in files]
    return hashlib.sha256(json.dumps([_VERSION, known, how]).encode()).hexdigest()[:16]


def _state(file: str) -> list[int]:
    try:
        state = os.stat(file)
    except OSError:  # the reader will say so
        return []
    return [state.st_size, state.st_mtime_ns]


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
