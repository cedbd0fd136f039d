"""`lab export-checkpoint`: our weights for published code or for transformers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from blip.checkpoint.folders import write_folder
from blip.checkpoint.opening import open_any
from blip.checkpoint.published import write_published
from blip.checkpoint.stored import Model
from blip.errors import InputError
from blip.model import BLIP, narrowed
from blip.tasks.vqa import VQA

READINGS = {"captioning": ("decode",), "retrieval": ("encode", "fuse")}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Write weights as a folder that transformers opens, or as a .pth that the published code opens."""

    weights: Annotated[str, Positional, arg(metavar="WEIGHTS")]
    """Our .safetensors."""
    out: Path
    """Folder (transformers) or .pth file (published) to write."""
    layout: Literal["transformers", "published"]
    """transformers or published."""
    task: Literal["captioning", "retrieval", "vqa"] | None = None
    """captioning, retrieval or vqa; by default what the weights are. Pre-trained weights are cut down to it."""


def main(options: Options) -> int:
    """Open, cut down to the task, write."""
    if options.layout == "published" and options.out.suffix != ".pth":
        raise InputError(f"--out {options.out} must end in .pth: that is the published format.")
    opened = open_any(options.weights).opened
    model = for_task(opened.model, options.task, options.weights)
    if options.layout == "transformers":
        print(f"folder: {write_folder(options.out, model, opened.tokenizer)}")
        return 0
    print(f"weights: {write_published(options.out, model)}")
    vocab = options.out.with_suffix(".vocab.txt")
    vocab.write_text("\n".join(opened.tokenizer.vocab) + "\n", encoding="utf-8")
    print(f"vocabulary, which this layout does not hold: {vocab}")
    return 0


def for_task(model: Model, task: str | None, source: str) -> Model:
    """The part of a model that a task needs; what it lacks is an InputError."""
    if task is None or (task == "vqa" and isinstance(model, VQA)):
        return model
    if task == "vqa" or not isinstance(model, BLIP):
        kind = type(model).__name__
        raise InputError(f"{source} holds a {kind} model, which has no {task}; choose another --task.")
    readings = READINGS[task]
    if lacking := sorted(set(readings) - model.config.text.readings):
        raise InputError(f"{source} cannot {lacking[0]}, which {task} needs; choose another --task.")
    return narrowed(model, *readings).eval()
