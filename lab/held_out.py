"""Pairs kept out of training, and the losses on them before and after."""

from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch

from blip.data.images import BadImage, open_image
from blip.data.pairs import Pair
from blip.data.pairset import PairSet, Selection
from blip.data.text import clean_caption
from blip.data.transforms import eval_transform
from blip.errors import InputError
from blip.model import BLIP
from blip.precision import precision
from blip.tasks.batch import PairBatch
from blip.tasks.pretrain import ObjectiveConfig, Pretrain
from blip.tokenizer import Tokenizer


def split_held_out(pairs: PairSet, count: int) -> tuple[Selection, list[Pair]]:
    """Training pairs, and one pair of each of the last `count` images that can be opened, none of them in training."""
    images = pairs.image_of_row[pairs.pairs.index]
    held = dict(islice(_opened(pairs, images), count))
    rows = np.flatnonzero(~np.isin(images, list(held)))
    if len(held) < max(2, count) or len(rows) < 2:
        raise InputError(
            f"{len(pairs)} pairs are too few to hold {count} out; give more data or a smaller --held-out."
        )
    return pairs.pairs[rows], list(held.values())


def held_out_batch(held: list[Pair], tokenizer: Tokenizer, image_size: int) -> PairBatch:
    """The held-out pairs as one batch, without augmentation."""
    transform, rng = eval_transform(image_size), np.random.default_rng(0)
    images = torch.stack([transform(open_image(pair), rng) for pair in held])
    tokens = tokenizer([clean_caption(pair.caption) for pair in held])
    return PairBatch(images, tokens, torch.arange(len(held)))


@torch.no_grad()
def held_out_losses(model: BLIP, batch: PairBatch, precision_name: str) -> dict[str, float]:
    """ITC, ITM and LM of a batch in eval mode, within the batch alone: no queue, no soft targets."""
    plain = ObjectiveConfig(queue=0, momentum=None, alpha=0.0, negatives="online")
    was_training = model.training
    task = Pretrain(model, plain).to(batch.images.device).eval()
    with precision(batch.images.device, precision_name):
        losses = task(batch, 0.0)
    model.train(was_training)
    return {name: float(loss) for name, loss in losses.parts.items()}


def _opened(pairs: PairSet, images: np.ndarray) -> Iterator[tuple[int, Pair]]:
    """From the end on, the number of each image that can be opened and its last pair; no more is read than is asked for."""
    tried: set[int] = set()
    for row in range(len(images) - 1, -1, -1):
        if (image := int(images[row])) not in tried:
            tried.add(image)
            if _opens(pair := pairs[row]):
                yield image, pair


def _opens(pair: Pair) -> bool:
    try:
        open_image(pair)
    except BadImage:
        return False
    return True
