"""World pairs as what training reads: pictures in one tensor, identities by meaning."""

from collections.abc import Sequence

import numpy as np
import torch

from blip.data.sources import ArraySource
from blip.tokenizer import Tokenizer
from lab.world.sets import WorldPair

VOCAB_SIZE = 400


def array_source(items: Sequence[WorldPair], px: int) -> ArraySource:
    """Pairs drawn at px. Pairs whose texts mean the same are no negatives of each other."""
    images = torch.from_numpy(np.stack([item.image(px) for item in items]))
    numbers: dict = {}
    meanings = [numbers.setdefault(item.meaning, len(numbers)) for item in items]
    return ArraySource(
        images,
        [item.caption for item in items],
        keys=[item.key for item in items],
        pair_ids=torch.tensor(meanings),
    )


def tokenizer_of(items: Sequence[WorldPair]) -> Tokenizer:
    """A WordPiece vocabulary learned on the web captions: all a model is ever allowed to see."""
    return Tokenizer.train((item.caption for item in items), VOCAB_SIZE)
