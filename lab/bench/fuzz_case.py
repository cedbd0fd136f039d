"""What a fuzzed case is: a target's valid input, broken by its seed, and what the readers made of it."""

import random
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from blip.errors import InputError
from lab.bench.fuzz_forms import mutated

LONGEST_SENTENCE = 1_500
"""Characters of a refusal; names of files and what a library says of them are part of it."""

_SECOND, _THIRD = 0.25, 0.05  # shares of cases that are broken twice and three times
_GONE, _FOLDER = 0.01, 0.01  # shares of files that are missing, and that are folders
_Read = TypeVar("_Read")

Files = Mapping[str, bytes | None]
"""Contents by names below the folder of a case; None is a folder."""


@dataclass(frozen=True)
class Seed:
    """A valid input, and the names of its files that are broken."""

    files: Mapping[str, bytes]
    broken: tuple[str, ...]


class Tally:
    """What readers made of one case in `folder`: refusals, rejected rows, and what is wrong."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.refusals: list[str] = []
        self.rejected = 0
        self.wrong: list[str] = []

    def attempt(self, read: Callable[[], _Read]) -> _Read | None:
        """What a reader returns, None where it refuses; anything else that it raises is a finding."""
        try:
            return read()
        except InputError as error:
            self.refusals.append(str(error))
            return None

    def require(self, holds: bool, sentence: str) -> None:
        """Note what is wrong unless it holds."""
        if not holds:
            self.wrong.append(sentence)


@dataclass(frozen=True)
class Target:
    """A reader: its valid inputs, and a function that reads a case's folder into a tally.

    names: words of which a refusal holds one, None for the case's folder, which every file's path begins with.
    """

    name: str
    seeds: Callable[[], Sequence[Seed]]
    read: Callable[[Tally], Any]
    names: tuple[str, ...] | None = None


def broken(target: Target, seed: int) -> Files:
    """The files of a case, the same for the same seed."""
    rng = random.Random(f"{target.name}:{seed}")
    chosen = rng.choice(target.seeds())
    files: dict[str, bytes | None] = dict(chosen.files)
    for _ in range(1 + (rng.random() < _SECOND) + (rng.random() < _THIRD)):
        name = rng.choice(chosen.broken)
        content = files.get(name)
        if content is None:
            continue
        drawn = rng.random()
        if drawn < _GONE:
            del files[name]
        elif drawn < _GONE + _FOLDER:
            files[name] = None
        else:
            files[name] = mutated(rng, name, content)
    return files


def write_files(folder: Path, files: Files) -> None:
    """Write a case in place of what the folder held."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.mkdir()
        else:
            path.write_bytes(content)


def faults(target: Target, tally: Tally) -> list[str]:
    """What is wrong with a case that was read to its end: broken promises, and refusals that are no sentence."""
    names = (str(tally.folder),) if target.names is None else target.names
    return tally.wrong + [fault for text in tally.refusals if (fault := _fault(text, names))]


def _fault(text: str, names: Sequence[str]) -> str | None:
    if "\n" in text or "\r" in text:
        return f"a refusal of several lines: {text!r}"
    if not text.endswith((".", ".\"")) or not re.search(r"[;:(]|--", text):
        return f"a refusal that is no sentence with a remedy: {text!r}"
    if len(text) > LONGEST_SENTENCE:
        return f"a refusal of {len(text):,} characters: {text[:200]!r}"
    if not any(name in text for name in names):
        return f"a refusal that names no file: {text!r}"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return f"a refusal that no terminal can show: {text!r}"
    return None
