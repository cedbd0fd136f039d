"""A model's sizes from the shapes of its stored tensors."""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from blip.checkpoint.names import ImageNames
from blip.config import TextConfig, VisionConfig
from blip.errors import InputError

Shapes = dict[str, tuple[int, ...]]
_HEAD_WIDTH = 64  # of every published model and of BERT


@dataclass(frozen=True, kw_only=True)
class Untold:
    """What shapes do not tell; the defaults are those of the published models."""

    image_heads: int | None = None
    text_heads: int | None = None
    """Attention heads; None means width / 64."""
    image_eps: float = 1e-6
    text_eps: float = 1e-12


def vision_config(shapes: Shapes, names: ImageNames, untold: Untold, source: str) -> VisionConfig:
    """The image encoder's configuration."""
    at = names.prefix
    width = _size(shapes, f"{at}.{names.cls}", 2, source)
    patch = _size(shapes, f"{at}.{names.patches}.weight", 3, source)
    tokens = _size(shapes, f"{at}.{names.positions}", 1, source)
    side = math.isqrt(tokens - 1)
    if side * side != tokens - 1:
        raise InputError(
            f"{source} has {tokens} position embeddings of images, no square and a [CLS]; "
            "give weights of a square image encoder."
        )
    hidden = _size(shapes, f"{at}.{names.block}.0.{names.parts['mlp.up']}.weight", 0, source)
    heads = _heads(width, untold.image_heads, source)
    with _naming(source):
        return VisionConfig(
            image_size=side * patch,
            patch_size=patch,
            width=width,
            depth=_depth(shapes, f"{at}.{names.block}"),
            heads=heads,
            mlp_ratio=hidden // max(1, width),
            eps=untold.image_eps,
        )


def text_config(shapes: Shapes, prefix: str, cross: str, untold: Untold, source: str) -> TextConfig:
    """The text transformer's configuration; `cross` is the name of what holds cross-attention keys."""
    words = f"{prefix}.embeddings.word_embeddings.weight"
    width = _size(shapes, words, 1, source)
    layer = f"{prefix}.encoder.layer"
    vocab_size = _size(shapes, words, 0, source)
    heads = _heads(width, untold.text_heads, source)
    mlp_width = _size(shapes, f"{layer}.0.intermediate.dense.weight", 0, source)
    memory_width = _size(shapes, f"{layer}.0.crossattention.{cross}.key.weight", 1, source)
    max_positions = _size(shapes, f"{prefix}.embeddings.position_embeddings.weight", 0, source)
    with _naming(source):
        return TextConfig(
            vocab_size=vocab_size,
            width=width,
            depth=_depth(shapes, layer),
            heads=heads,
            mlp_width=mlp_width,
            memory_width=memory_width,
            max_positions=max_positions,
            eps=untold.text_eps,
        )


def embed_dim(shapes: Shapes, source: str) -> int:
    """Width of the space where ITC compares."""
    return _size(shapes, "vision_proj.weight", 0, source)


@contextmanager
def _naming(source: str) -> Iterator[None]:
    """Sizes that no model has are refused by the name of their file."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


def _size(shapes: Shapes, name: str, axis: int, source: str) -> int:
    if name not in shapes:
        raise InputError(f"{source} lacks {name!r}; download or export it again.")
    if len(shapes[name]) <= axis:
        raise InputError(f"{source}: {name!r} has shape {shapes[name]}; download or export it again.")
    return shapes[name][axis]


def _depth(shapes: Shapes, prefix: str) -> int:
    numbers = [int(m[1]) for name in shapes if (m := re.match(rf"{re.escape(prefix)}\.(\d+)\.", name))]
    return max(numbers, default=0) + 1


def _heads(width: int, given: int | None, source: str) -> int:
    if given is None and width % _HEAD_WIDTH:
        raise InputError(
            f"{source} is {width} wide, which does not tell its attention heads; name them with --heads."
        )
    return given or width // _HEAD_WIDTH
