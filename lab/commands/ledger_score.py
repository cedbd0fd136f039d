"""`lab ledger score`: add filters to a ledger that is there; nothing is captioned again."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from tyro.conf import Positional, UseAppendAction, arg

from blip.capfilt import Ledger
from blip.capfilt.scoring import score
from blip.data.readers import read_pairs
from blip.errors import InputError
from lab.plugins import Machine, deciding_column, filters
from lab.progress import images_bar


@dataclass(frozen=True, kw_only=True)
class Options:
    """Score every caption of a ledger by further filters; pictures are found where the ledger says they lie."""

    ledger: Annotated[Path, Positional, arg(metavar="LEDGER")]
    """Folder of the ledger."""
    filter: Annotated[tuple[str, ...], UseAppendAction, arg(metavar="[NAME=]SOURCE")]
    """What scores: weights with ITC and ITM heads in any form (named itm); open_clip:MODEL:CHECKPOINT or
    open_clip:FOLDER (clip); text, the shape of the text alone; module:function, your own in Python. NAME is
    its name in the ledger. May be given several times."""
    data: str | None = None
    """The pairs again, for a ledger that does not say where its images lie, or whose images have moved."""
    vocab: Path | None = None
    """A BERT vocab.txt, for weights that come without one (published .pth)."""
    image_size: int | None = None
    """Side in pixels at which the models see images; by default that of the weights."""
    workers: int = 2
    """Threads that open images."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    """cpu or cuda."""
    precision: str = "float32"
    """float32 or bf16 (autocast)."""


def main(options: Options) -> int:
    """Score what is not scored yet, and say how to decide by it."""
    if not options.filter:
        raise InputError("ledger score needs --filter SOURCE; see lab ledger score --help.")
    if options.workers < 1:
        raise InputError(f"--workers {options.workers} cannot be; give 1 or more.")
    ledger = Ledger.open(options.ledger)
    machine = Machine(
        device=options.device,
        precision=options.precision,
        # That of the first run: the same shapes give the same bytes.
        tile=ledger.about["tile"],
        image_size=options.image_size,
        vocab=options.vocab,
    )
    used = filters(options.filter, machine)
    images = None if options.data is None else {pair.key: pair for pair in read_pairs(options.data).images}
    with images_bar(ledger.counts().get("images", 0), "score") as show:
        score(ledger, used, images=images, workers=options.workers, progress=show)
    for name, one in used.items():
        print(f"{name}: {', '.join(one.columns)}")
        print(f"  lab ledger summary {options.ledger} --filter {name} --column {deciding_column(one)}")
    return 0
