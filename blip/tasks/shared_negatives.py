"""Hard negatives that other processes hold: their texts, and their images with the way back for gradients."""

import torch
import torch.nn.functional as F
from torch import Tensor

from blip.distributed import gather, gather_with_gradient, largest
from blip.layers import rows_at
from blip.memory import Memory
from blip.model import BLIP
from blip.tokenizer import Tokens


def gathered_texts(tokens: Tokens) -> Tokens:
    """The texts of all processes in rank order, padded to the longest."""
    length = tokens.ids.shape[1]
    more = largest(length) - length
    ids = gather(F.pad(tokens.ids, (0, more), value=tokens.special.pad))
    keep = gather(F.pad(tokens.keep, (0, more)).to(torch.uint8)).bool()
    return Tokens(ids, keep, tokens.lead, tokens.special)


def with_chosen(model: BLIP, memory: Memory, image_states: Tensor, chosen: Tensor) -> Memory:
    """The memory of the own B images and, behind them, of the images at `chosen` (B,) of all processes.

    image_states (B, N, D) are the own images'. All states travel, and keys and values are computed anew for
    the chosen ones: they are twice as large in every layer.
    """
    far = model.remember(rows_at(gather_with_gradient(image_states), chosen), "encoder")
    keys, values = (
        tuple(torch.cat(pair) for pair in zip(own, other, strict=True))
        for own, other in ((memory.keys, far.keys), (memory.values, far.values))
    )
    return Memory(keys, values)
