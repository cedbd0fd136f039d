"""What every command that reads images with a model shares: its weights, how they run, its pictures, its summary."""

import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from blip.checkpoint import Loaded
from blip.checkpoint.opening import load_any
from blip.data.benchmarks.captions import CaptionedImage
from blip.data.loading import Loader
from blip.data.pairs import Pair
from blip.data.sources import PhotoSource
from blip.data.transforms import eval_transform
from blip.distributed import choose_gpu, from_all, is_main, measuring, process_group
from blip.errors import InputError
from blip.precision import PRECISIONS
from lab.finetuning import WAIT_SECONDS, plain
from lab.records import SUMMARY, begin_in, record, write_record

_OF_DATA = (
    *("data", "annotations", "relevance", "split", "material", "footage", "reading"),
    *("world", "world_scenes", "world_statements", "world_dialogs"),
)
"""Options that say what data are read."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """How a model runs over images."""

    batch: int = 16
    """Images the model sees at once, in each process."""
    workers: int = 2
    """Threads that open images, in each process."""
    precision: str = "float32"
    """float32, tf32 (float32 with TF32 matrix products on a GPU) or bf16 (autocast)."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    """cpu or cuda."""

    def __post_init__(self) -> None:
        for name in ("batch", "workers"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name} {getattr(self, name)} cannot be; give 1 or more.")
        if self.precision not in PRECISIONS:
            raise InputError(f"There is no precision {self.precision!r}; choose one of {', '.join(PRECISIONS)}.")


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Which model is used."""

    weights: str
    """Our .safetensors, a published .pth, a folder in transformers' layout, or hf:NAME."""
    vocab: Path | None = None
    """A BERT vocab.txt, for weights that come without one (published .pth)."""
    image_size: int | None = None
    """Side in pixels at which the model sees images; by default that of the weights."""

    def load(self, device: str) -> Loaded:
        """The model, on a device."""
        return load_any(self.weights, vocab=self.vocab, image_size=self.image_size, device=device)


@contextmanager
def together(machine: Machine) -> Iterator[None]:
    """What the processes that torchrun started evaluate together, each on its own GPU; the main one goes on alone.

    What cannot be, and what a user should know, is said by that one only.
    """
    choose_gpu(machine.device)
    with (
        process_group(machine.device, WAIT_SECONDS),
        measuring(),
        nullcontext() if is_main() else redirect_stderr(io.StringIO()),
    ):
        yield


def pixels(images: Sequence[CaptionedImage], image_size: int, machine: Machine) -> Iterator[Tensor]:
    """All images in order, in batches (b, 3, H, W); InputError names the first that cannot be read.

    Of several processes each gets the batches of its `own_rows`.
    """
    source = PhotoSource([Pair(str(one.image_id), "", one.image) for one in images], eval_transform(image_size))
    for loaded in Loader(source, machine.batch, train=False, workers=machine.workers):
        _refuse(source)
        yield loaded.images.to(machine.device)
    _refuse(source)


def begin_evaluation(name: str, options: Any, *, model: str) -> None:
    """`begin_in` of what evaluates: only the same evaluation is written over, whatever its settings.

    options are the command's, model is the fingerprint of the weights. InputError where the folder holds what a command
    of another name found, or the same one with other weights or other data. The main process tries for all.
    """
    if is_main() and (other := _differs(begin_in(options.out, name).get("config"), options, model)):
        raise InputError(f"{options.out} holds the {SUMMARY} of lab {name} with other {other}, which would be lost; give another --out.")
    from_all(())  # the others hear of a refusal before anything long begins


def _differs(known: Any, options: Any, model: str) -> str:
    """What a summary's configuration has otherwise, "weights" or "data"; "" where neither, or where it does not say."""
    if not isinstance(known, dict):
        return ""
    if known.get("model", model) != model:
        return "weights"
    theirs, mine = known.get("options", {}), json.loads(json.dumps(plain(asdict(options))))
    return "data" if any(theirs.get(name, mine[name]) != mine[name] for name in _OF_DATA if name in mine) else ""


def write_summary(out: Path, name: str, result: dict[str, Any], options: Any, *, model: str) -> Path:
    """summary.json of a command that evaluates: the result and what it takes to find it again.

    model is the fingerprint of the weights.
    """
    config = {"options": plain(asdict(options)), "model": model}
    return write_record(out / SUMMARY, record(name, result, seed=None, config=config) | result)


def _refuse(source: PhotoSource) -> None:
    # A gallery with a picture less is another benchmark, so nothing is left out silently.
    for reject in source.rejects:
        raise InputError(f"The image {reject.ref} cannot be used ({reject.reason}); mend it or leave it out of the data.")
