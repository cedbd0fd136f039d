"""`lab ledger score`: add filters to a ledger that is there; nothing is captioned again."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import torch
from tyro.conf import Positional, UseAppendAction, arg

from blip.capfilt import Ledger
from blip.capfilt.decide import deciding_column
from blip.capfilt.scoring import score
from blip.capfilt.tolerance import Running
from blip.data.pairs import Pair
from blip.errors import InputError
from blip.matching import Matcher
from lab.engines import kind_of
from lab.ledgers import tell_unfinished
from lab.plugins import Machine, filters
from lab.progress import images_bar
from lab.reading import Reading
from lab.unknown_words import check_words
from lab.world.sets import World, as_pairs


@dataclass(frozen=True, kw_only=True)
class Options:
    """Score every caption of a ledger by further filters; pictures are found where the ledger says they lie."""

    ledger: Annotated[str, Positional, arg(metavar="LEDGER")]
    """Folder or URL of the ledger."""
    filter: Annotated[tuple[str, ...], UseAppendAction, arg(metavar="[NAME=]SOURCE")]
    """What scores every caption; given several times, each adds its own columns.
    WEIGHTS: our .safetensors, a published .pth, a folder in transformers' layout or hf:NAME,
    with ITC and ITM heads (itm_prob, itm_logit, itc); named itm.
    open_clip:MODEL:CHECKPOINT, open_clip:FOLDER, open_clip:hf-hub:NAME: a CLIP (cosine); named clip.
    text: the shape of the text alone (length, letters, repetition); named text.
    MODULE:FUNCTION: your own in Python, given pictures and captions; named as the function.
    NAME=SOURCE: any of these under a name of yours."""
    data: str | None = None
    """The pairs again, for a ledger that does not say where its images lie, or whose images have moved.
    Those of lab demo are drawn again."""
    reading: Reading = field(default_factory=Reading)
    """How a table of them is read."""
    vocab: Path | None = None
    """A BERT vocab.txt, for weights that come without one (published .pth)."""
    image_size: int | None = None
    """Side in pixels at which the models see images; by default that of the weights."""
    workers: int = 2
    """Threads that open images."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    """cpu or cuda."""
    precision: str | None = None
    """float32, tf32 or bf16 (autocast); by default that of the first run. Scores in another one need a name of their
    own (NAME=SOURCE); lab ledger agree then says how far they moved."""


def main(options: Options) -> int:
    """Score what is not scored yet, and say how to decide by it."""
    if not options.filter:
        raise InputError("ledger score needs --filter SOURCE; see lab ledger score --help.")
    if options.workers < 1:
        raise InputError(f"--workers {options.workers} cannot be; give 1 or more.")
    ledger = Ledger.open(options.ledger)
    tell_unfinished(ledger)
    machine = Machine(
        device=options.device,
        precision=options.precision or ledger.about["notes"].get("precision", "float32"),
        # That of the first run: the same shapes give the same bytes.
        tile=ledger.about["tile"],
        image_size=options.image_size,
        vocab=options.vocab,
    )
    used = filters(options.filter, machine)
    _check_running(ledger, used, machine)
    for name, one in used.items():
        if isinstance(one, Matcher):
            check_words(one.tokenizer, _first_captions(ledger), f"{options.ledger}, filter {name}")
    if kind_of(machine.device) == "cpu":
        # Those of the first run, where it says so: other numbers give other last digits.
        torch.set_num_threads(ledger.about["notes"].get("threads", torch.get_num_threads()))
    images = _images(options, ledger)
    with images_bar(ledger.counts().get("images", 0), "score") as show:
        running = {"device": machine.device, "precision": machine.precision}
        score(ledger, used, images=images, running=running, workers=options.workers, progress=show)
    for name, one in used.items():
        print(f"{name}: {', '.join(one.columns)}")
        print(f"  lab ledger summary {options.ledger} --filter {name} --column {deciding_column(one.columns)}")
    return 0


def _check_running(ledger: Ledger, used: Iterable[str], machine: Machine) -> None:
    """InputError for a filter that the ledger has from another device or precision: it keeps these bytes."""
    now = Running(machine.device, machine.precision)
    for name in used:
        then = Running.of(ledger, name)
        if name in ledger.filters and then not in (now, Running(None, None)):
            raise InputError(
                f"The filter {name} of {ledger.folder} was scored in {then}, not in {now}; give the new scores a "
                f"name of their own, as in --filter {name}-{machine.precision}=SOURCE."
            )


def _first_captions(ledger: Ledger) -> Iterator[str]:
    """The captions of the ledger, shard by shard, read as they are asked for."""
    for entry in ledger.entries("candidates"):
        yield from ledger.read("candidates", entry.shard, ["caption"])["caption"].to_pylist()


def _images(options: Options, ledger: Ledger) -> dict[str, Pair]:
    """Pairs by image key, where the ledger's own references do not do."""
    drawn = ledger.about["notes"].get("world")
    if options.data is not None:
        return {pair.key: pair for pair in options.reading.pairs(options.data).images}
    if drawn is None:
        return {}
    world, count = World.of(drawn["level"]), ledger.about["data"]["images"]
    pairs = as_pairs(world.web(count, drawn["noise"], start=drawn["start"]), world.level.px)
    return {pair.key: pair for pair in pairs}
