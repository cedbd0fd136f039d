"""Arithmetic of a pre-training step from its shapes: floating-point operations of our way and of the published one.

Counted are the products of matrices, as in `capfilt_flops`. A backward pass takes twice its forward: one product
for the inputs' gradients and one for the weights'. Where an input has no gradient (pixels, keys), it takes one.
"""

from blip.config import BlipConfig, VisionConfig
from lab.bench.capfilt_flops import image_flops, memory_flops, text_flops

TRAINED = 3
"""Forward and backward, in forwards."""


def ours(config: BlipConfig, batch: int, length: int, keys: int) -> float:
    """One fused ITM pass over 3B pairs; an image's keys and values once, for LM too. keys: batch and queue."""
    again = 2 * 2 * batch * config.embed_dim  # hard negatives have their own products within the batch
    return _step(config, batch, length, keys, memories=1) + batch * again


def published(config: BlipConfig, batch: int, length: int, keys: int) -> float:
    """Keys and values for every pair that is read: B and 2B by ITM, B by LM."""
    return _step(config, batch, length, keys, memories=4)


def _step(config: BlipConfig, batch: int, length: int, keys: int, *, memories: int) -> float:
    image, text = image_flops(config.vision), text_flops(config.text, length, length, 0)
    grounded = text_flops(config.text, length, length, config.vision.tokens)
    read = 4 * grounded + length * _head(config) + memories * memory_flops(config)
    each = image + TRAINED * (image + text + read) - _patches(config.vision) + text
    return batch * (each + _contrast(config, batch, keys) + TRAINED * 3 * 2 * config.text.width * 2)


def _contrast(config: BlipConfig, batch: int, keys: int) -> float:
    """Of one pair: projections here and in the teacher, similarities both ways, and the teacher's own."""
    projections = 2 * (config.vision.width + config.text.width) * config.embed_dim
    similarities = 2 * 2 * keys * config.embed_dim
    return (TRAINED + 1) * projections + (2 + 1) * similarities


def _patches(vision: VisionConfig) -> float:
    """The patch embedding, whose pixels have no gradient."""
    return 2 * (vision.tokens - 1) * 3 * vision.patch_size**2 * vision.width


def _head(config: BlipConfig) -> float:
    """Logits of one token."""
    text = config.text
    return 2 * (text.width**2 + text.width * text.vocab_size)
