"""World pairs as what training reads: pictures in one tensor, identities by meaning."""

from collections.abc import Hashable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from blip.data.sources import ArraySource
from blip.tokenizer import Tokenizer
from lab.world.sets import WorldPair

VOCAB_SIZE = 400


def array_source(items: Sequence[WorldPair], px: int, device: str = "cpu") -> ArraySource:
    """Pairs drawn at px, identified by meaning: the pictures lie on the device as bytes, texts and ids do not.

    Texts that say the same are one text, so that in pre-training no equals are negatives of each other. Scenes of one
    layout (whatever their jitter) are one image; as with photos, a text may be true of another image too, and then can
    be drawn as its negative where images tell the pairs apart (the filter's fine-tuning).
    """
    images = torch.from_numpy(np.stack([item.image(px) for item in items])).to(device)
    return ArraySource(
        images,
        [item.caption for item in items],
        keys=[item.key for item in items],
        pair_ids=_numbered(item.meaning for item in items),
        image_ids=_numbered(item.scene.layout() for item in items),
    )


def _numbered(values: Iterable[Hashable]) -> Tensor:
    """Equal values get equal numbers, (N,) int64."""
    numbers: dict[Hashable, int] = {}
    return torch.tensor([numbers.setdefault(value, len(numbers)) for value in values])


def tokenizer_of(items: Sequence[WorldPair]) -> Tokenizer:
    """A WordPiece vocabulary learned on the web captions: all a model is ever allowed to see."""
    return Tokenizer.train((item.caption for item in items), VOCAB_SIZE)
