"""Pairs kept out of training, and the losses on them before and after."""

from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch

from blip.data.images import BadImage, open_image
from blip.data.pairs import Pair, image_ref
from blip.data.pairset import PairSet, Selection
from blip.data.text import clean_caption
from blip.data.transforms import eval_transform
from blip.errors import InputError
from blip.model import BLIP
from blip.precision import precision
from blip.tasks.batch import PairBatch
from blip.tasks.pretrain import ObjectiveConfig, Pretrain
from blip.tokenizer import Tokenizer
from lab.captioned import unused_line


def check_held_out(count: int) -> None:
    """InputError for a number of held-out images that cannot be: of one alone ITM has no negative."""
    if count < 0 or count == 1:
        raise InputError(f"--held-out {count} cannot be; give 0, or 2 or more.")


def split_held_out(pairs: PairSet, count: int, place: str) -> tuple[Selection, list[Pair]]:
    """Training pairs, and one pair of each of the last `count` images that can be opened, none of them in training.

    0 holds none out, and none is opened. InputError says of `place` what it has too few of.
    """
    if not len(pairs):
        raise InputError(f"{place} has no pair that can be used: {unused_line(pairs.rejects)}.")
    images = pairs.image_of_row[pairs.pairs.index]
    held = dict(islice(_opened(pairs, images), count))
    if len(held) < count:
        raise _too_few(pairs, len(held), count, place)
    rows = np.flatnonzero(~np.isin(images, list(held)))
    if len(rows) < 2:
        beside, smaller = (f" beside the {count} images held out", " or a smaller --held-out") if count else ("", "")
        raise InputError(f"{place} leaves {len(rows)} pairs to train on{beside}, and 2 are needed; give more data{smaller}.")
    return pairs.pairs[rows], list(held.values())


def held_out_batch(held: list[Pair], tokenizer: Tokenizer, image_size: int) -> PairBatch | None:
    """The held-out pairs as one batch, without augmentation; None of no pair."""
    if not held:
        return None
    transform, rng = eval_transform(image_size), np.random.default_rng(0)
    images = torch.stack([transform(open_image(pair), rng) for pair in held])
    tokens = tokenizer([clean_caption(pair.caption) for pair in held])
    return PairBatch(images, tokens, torch.arange(len(held)))


@torch.no_grad()
def held_out_losses(model: BLIP, batch: PairBatch | None, precision_name: str) -> dict[str, float]:
    """ITC, ITM and LM of a batch in eval mode, within the batch alone: no queue, no soft targets; {} of no batch.

    They are measured where the model is.
    """
    if batch is None:
        return {}
    plain = ObjectiveConfig(queue=0, momentum=None, alpha=0.0, negatives="online")
    was_training, device = model.training, next(model.parameters()).device
    task = Pretrain(model, plain).to(device).eval()
    with precision(device, precision_name):
        losses = task(batch.to(device), 0.0)
    model.train(was_training)
    return {name: float(loss) for name, loss in losses.parts.items()}


def _opened(pairs: PairSet, images: np.ndarray) -> Iterator[tuple[int, Pair]]:
    """From the end on, the number of each image that can be opened and its last pair; no more is read than is asked for."""
    tried: set[int] = set()
    for row in range(len(images) - 1, -1, -1):
        if (image := int(images[row])) not in tried:
            tried.add(image)
            if not _why_closed(pair := pairs[row]):
                yield image, pair


def _too_few(pairs: PairSet, opened: int, count: int, place: str) -> InputError:
    if not opened:
        first = pairs[0]
        where, reason = image_ref(first) or first.key, _why_closed(first)
        return InputError(f"No image of {place} can be opened, the first is {where} ({reason}); mend them.")
    return InputError(
        f"{place} has {opened} images that open, too few to hold {count} out and to train on others; "
        "give more data or a smaller --held-out (0 measures nothing)."
    )


def _why_closed(pair: Pair) -> str:
    """Why an image cannot be opened; "" where it can."""
    try:
        open_image(pair)
    except BadImage as error:
        return error.reason
    return ""
