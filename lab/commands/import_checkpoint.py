"""`lab import-checkpoint`: published or transformers weights as our one file, and what was found in them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from blip.checkpoint.layouts import Survey
from blip.checkpoint.names import PUBLISHED, Names
from blip.checkpoint.opening import open_any
from blip.checkpoint.own import save
from blip.checkpoint.stored import Model
from blip.errors import InputError
from blip.model import BLIP


@dataclass(frozen=True, kw_only=True)
class Options:
    """Read weights in any form, say what they are, and write them with vocabulary and configuration."""

    source: Annotated[str, Positional, arg(metavar="SOURCE")]
    """A published .pth, a folder in transformers' layout, or hf:NAME."""
    out: Path
    """File to write, .safetensors."""
    vocab: Path | None = None
    """BERT's vocab.txt, for weights that come without one (published .pth)."""
    image_size: int | None = None
    """Side in pixels at which the model will see images; by default that of the weights."""
    heads: int | None = None
    """Attention heads of a published .pth that has not width / 64 of them."""


def main(options: Options) -> int:
    """Open, print what was found, write."""
    if options.out.suffix != ".safetensors":
        raise InputError(f"--out {options.out} must end in .safetensors: that is our format.")
    found = open_any(
        options.source, vocab=options.vocab, image_size=options.image_size, heads=options.heads
    )
    opened = found.opened
    print(f"{options.source}: {opened.card.stage}")
    print("\n".join(_layout(found.survey) + _sizes(opened.model)))
    save(options.out, opened.model, opened.tokenizer, opened.card)
    print(f"  written     {options.out}")
    return 0


def _layout(survey: Survey | None) -> list[str]:
    if survey is None:
        return ["  layout      BLIP Lab's own"]
    form = "published" if survey.image_names is PUBLISHED else "transformers"
    aside = {
        "momentum encoders": _stored(survey.momentum),
        "queues": len(survey.queues),
        "constants and unread": len(survey.ignored),
    }
    left = ", ".join(f"{count} {what}" for what, count in aside.items() if count)
    return [
        f"  layout      {survey.layout}, {form}",
        f"  keys        {_stored(survey.names)} read, {len(survey.copies)} copies verified",
        f"  left aside  {left or 'nothing'}",
    ]


def _sizes(model: Model) -> list[str]:
    vision, text = model.config.vision, model.config.text
    parameters = sum(p.numel() for name, p in model.named_parameters() if name != "temperature")
    pixels = f"{vision.image_size} px in patches of {vision.patch_size}"
    lines = [
        f"  model       {type(model).__name__}, {parameters:,} parameters",
        f"  image       {pixels}, {vision.depth} layers, {vision.width} wide, {vision.heads} heads",
        f"  text        {text.depth} layers, {text.width} wide, {text.heads} heads",
        f"  vocabulary  {text.vocab_size:,} tokens",
    ]
    if isinstance(model, BLIP) and len(text.roles) == 2:
        lines.append(f"  shared      {', '.join(sorted(text.shared)) or 'nothing'}")
    return lines


def _stored(names: Names) -> int:
    return sum(map(len, names.values()))
