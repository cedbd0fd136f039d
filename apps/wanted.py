"""What a person asks for in the room Run: checked before anything starts, then the arguments of `lab capfilt`.

Plain Python, no Gradio. Only files that this process may read are accepted, and only BLIP weights: Python
functions as filters, other plug-ins and URLs are left to the command line.
"""

import os
import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from blip.checkpoint.opening import HUB
from blip.data.places import is_url
from blip.data.readers import data_files
from blip.errors import InputError
from blip.generate import Decoding
from blip.tiles import TILE
from lab.ledgers import reviews_file

MOST_CANDIDATES, MOST_BATCH = 16, 1024
TILES_PER_SHARD = 8
"""Tiles that are committed together: what a job that ends at any time may lose."""

_HUB_NAME = re.compile(re.escape(HUB) + r"[\w.-]+(/[\w.-]+)?")
_INSTALL = "lab train-shipped --install"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A CapFilt job as it was typed. first: only so many images; None for all."""

    data: str
    captioner: str
    filter: str
    out: str
    decoding: Decoding = field(default_factory=Decoding)
    batch: int = TILE
    """Images the models see at once."""
    threshold: float = 0.5
    """Match probability from which a caption is kept, web and synthetic."""
    first: int | None = None
    vocab: Path | None = None
    """A BERT vocab.txt, for weights that come without one."""

    def checked(self) -> "Wanted":
        """The same with absolute paths; InputError, one sentence, for the first thing that cannot be."""
        self._check_numbers()
        captioner, filter = _weights("captioner", self.captioner), _weights("filter", self.filter)
        return replace(self, data=_data(self.data), captioner=captioner, filter=filter, out=_out(self.out))

    def words(self) -> tuple[str, ...]:
        """The arguments of `lab capfilt`; ask only a checked one."""
        drawn = self.decoding
        options: dict[str, Any] = {
            "data": self.data,
            "captioner": self.captioner,
            "filter": f"itm={self.filter}",
            "out": self.out,
            "strategy": drawn.strategy,
            "candidates": drawn.candidates,
            "tile": self.batch,
            "images-per-shard": self.batch * TILES_PER_SHARD,
            "web-threshold": self.threshold,
            "synthetic-threshold": self.threshold,
        }
        options |= {"num-beams": drawn.num_beams} if drawn.strategy == "beam" else {"top-p": drawn.top_p}
        options |= {} if self.first is None else {"first": self.first}
        options |= {} if self.vocab is None else {"vocab": self.vocab.absolute()}
        return tuple(word for name, value in options.items() for word in (f"--{name}", str(value)))

    def _check_numbers(self) -> None:
        limits = {"candidates": (self.decoding.candidates, MOST_CANDIDATES), "batch": (self.batch, MOST_BATCH)}
        for name, (value, most) in limits.items():
            if not 1 <= value <= most:
                raise InputError(f"{value} as {name} cannot be; give 1 to {most}.")
        if not 0 <= self.threshold <= 1:
            raise InputError(f"The threshold {self.threshold:g} cannot be; give 0 to 1.")
        if self.first is not None and self.first < 1:
            raise InputError(f"The first {self.first} images cannot be; give 1 or more, or nothing for all.")


def new_folder(beside: Path, taken: Collection[str]) -> str:
    """A folder beside a ledger that is neither there nor taken, nor has reviews: capfilt-1, capfilt-2, ..."""
    places = (str(beside.parent / f"capfilt-{n}") for n in count(1))
    free = (place for place in places if place not in taken and not reviews_file(Path(place)).exists())
    return next(place for place in free if not os.path.lexists(place))


def _data(typed: str) -> str:
    text = _typed(typed, "Say where the data lies: a folder, tars, or a JSON, CSV or Parquet file.")
    path = os.path.abspath(os.path.expanduser(text))
    for file in data_files(path):
        if not os.access(file, os.R_OK | (os.X_OK if os.path.isdir(file) else 0)):
            raise InputError(f"{file} cannot be read; give it the rights, or give other data.")
    return path


def _weights(role: str, typed: str) -> str:
    text = _typed(typed, f"There is no {role} yet; {_INSTALL} makes one, or give the path of weights.")
    if _HUB_NAME.fullmatch(text):
        return text
    path = os.path.abspath(os.path.expanduser(text))
    if not os.path.exists(path):
        raise InputError(f"There are no weights at {path} for the {role}; give a file, a folder or hf:NAME.")
    if not os.access(path, os.R_OK):
        raise InputError(f"The weights at {path} for the {role} cannot be read; give it the rights, or give others.")
    return path


def _out(typed: str) -> str:
    text = _typed(typed, "Say where the ledger shall lie: a new folder.")
    path = Path(os.path.abspath(os.path.expanduser(text)))
    if (path / "ledger.json").exists():
        raise InputError(f"{path} holds the ledger of another job already; give a new folder, or resume that job.")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{path} is there already and not empty; give a new folder.")
    if (reviews := reviews_file(path)).exists():
        raise InputError(f"{reviews} has the reviews of an earlier ledger of this name; move it away, or give another folder.")
    there = next(one for one in (path, *path.parents) if one.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"Nothing can be written to {there}; give another folder.")
    return str(path)


def _typed(text: str, missing: str) -> str:
    text = text.strip()
    if not text:
        raise InputError(missing)
    if not text.isprintable():
        raise InputError("A path holds a sign that cannot be shown; type it anew.")
    if is_url(text):
        raise InputError(f"{text} is a URL, and the studio starts jobs on files of this machine; run lab capfilt for it.")
    return text
