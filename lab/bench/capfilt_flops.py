"""Arithmetic of CapFilt from its shapes: floating-point operations an image, ours and the straightforward loop's.

Counted are the products of matrices, two operations for each multiply and add; all else is small.
A ratio of these is the most that leaving work out can win; kernels and memory may add to it or not.
"""

from dataclasses import dataclass

from blip.config import BlipConfig, TextConfig, VisionConfig


@dataclass(frozen=True)
class Shapes:
    """What is done to an image: captions drawn, texts scored, and lengths in tokens."""

    candidates: int
    texts: int
    prompt: int
    """[DEC] and the prompt."""
    length: int
    """Of a caption, prompt included; its last token is not fed again."""
    scored: float
    """Of a scored text, in the mean."""


def image_flops(vision: VisionConfig) -> float:
    """The image encoder."""
    tokens, width = vision.tokens, vision.width
    patches = (tokens - 1) * 3 * vision.patch_size**2 * width
    linear = (4 + 2 * vision.mlp_ratio) * width**2
    return 2 * (patches + vision.depth * tokens * (linear + 2 * tokens * width))


def memory_flops(config: BlipConfig) -> float:
    """Cross-attention's keys and values of one image in every layer."""
    text = config.text
    return 2 * text.depth * config.vision.tokens * 2 * text.memory_width * text.width


def text_flops(text: TextConfig, tokens: float, keys: float, memory: int) -> float:
    """Tokens through all layers, each seeing `keys` tokens and `memory` image tokens (0: no image)."""
    linear = 4 * text.width**2 + 2 * text.width * text.mlp_width
    grounded = 2 * text.width**2 + 2 * memory * text.width if memory else 0
    return 2 * text.depth * tokens * (linear + 2 * keys * text.width + grounded)


def decoding_flops(config: BlipConfig, shapes: Shapes, prompts: int) -> float:
    """Captions token by token after `prompts` readings of the prompt, each with one row of logits."""
    text, image_tokens = config.text, config.vision.tokens
    head = 2 * (text.width**2 + text.width * text.vocab_size)
    read = text_flops(text, shapes.prompt, shapes.prompt, image_tokens) + head
    fed = range(shapes.prompt + 1, shapes.length)
    steps = sum(text_flops(text, 1, keys, image_tokens) + head for keys in fed)
    return prompts * read + shapes.candidates * steps


def ours(config: BlipConfig, shapes: Shapes) -> dict[str, float]:
    """Each model sees an image once, and computes its keys and values once; texts are read for ITM and for ITC."""
    fused, alone = (text_flops(config.text, shapes.scored, shapes.scored, n) for n in (config.vision.tokens, 0))
    return {
        "image encoder": 2 * image_flops(config.vision),
        "decoding": memory_flops(config) + decoding_flops(config, shapes, prompts=1),
        "scoring": memory_flops(config) + shapes.texts * (fused + alone),
    }


def straightforward(config: BlipConfig, shapes: Shapes) -> dict[str, float]:
    """The filter sees an image once for each text; keys and values belong to rows, not to images; no ITC."""
    fused = text_flops(config.text, shapes.scored, shapes.scored, config.vision.tokens)
    return {
        "image encoder": (1 + shapes.texts) * image_flops(config.vision),
        "decoding": shapes.candidates * memory_flops(config) + decoding_flops(config, shapes, shapes.candidates),
        "scoring": shapes.texts * (memory_flops(config) + fused),
    }
