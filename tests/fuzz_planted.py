"""Readers with planted faults, which `lab bench fuzz` must find."""

import os
import signal
import time

from blip.errors import InputError
from lab.bench.fuzz_case import Seed, Target

FILE = "planted.json"
SEED = Seed({FILE: b'[{"a": 1}, {"b": [2, "three"]}]'}, (FILE,))


def _crash(tally):
    os.kill(os.getpid(), signal.SIGSEGV)


def _hang(tally):
    time.sleep(1000)


def _leak(tally):
    _LEAKED.append(b"x" * (160 * 2**20))


_LEAKED = []


def _stack_trace(tally):
    raise KeyError("planted")


def _says(text):
    def read(tally):
        tally.attempt(lambda: _refuse(text.format(folder=tally.folder)))

    return read


def _refuse(text):
    raise InputError(text)


def _lose(tally):
    tally.require(False, "1 pairs and rejects of 2 to 2 pairs given")


def _read(tally):
    tally.rejected += 2


READERS = {
    "crash": _crash,
    "hang": _hang,
    "leak": _leak,
    "stack-trace": _stack_trace,
    "nameless": _says("It cannot be read; give another."),
    "no-remedy": _says("{folder}/planted.json is bad"),
    "lose": _lose,
    "sentence": _says("{folder}/planted.json cannot be read (why); give another."),
    "fine": _read,
}
TARGETS = tuple(Target(name, lambda: (SEED,), read) for name, read in READERS.items())
