"""Fixed tiles: the model always sees the same shapes, so that bytes do not depend on batch size.

A matrix product changes in its last bits with its shape. Work is therefore cut into tiles of T
rows, the last filled with blanks, and a text is padded to a length decided by itself alone.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from blip.tokenizer import Tokenizer, Tokens

TILE = 16
"""Images of a tile; the value in use is written into a ledger's manifest."""
_LENGTH_STEP = 8


def filled(images: Sequence[Tensor], tile: int) -> Tensor:
    """Up to `tile` images (3, H, W) as (tile, 3, H, W), the rest blank."""
    blank = torch.zeros_like(images[0])
    return torch.stack([*images, *[blank] * (tile - len(images))])


def text_tiles(
    tokenizer: Tokenizer, texts: Sequence[str], tile: int, max_length: int
) -> Iterator[tuple[list[int], Tokens]]:
    """Numbers of up to `tile` texts of like length, and their tokens (tile, L) led by [CLS].

    L is each text's own length rounded up to 8; missing rows repeat the first.
    """
    lengths = tokenizer(list(texts), max_length).keep.sum(1) if texts else torch.zeros(0)
    rounded = torch.ceil(lengths / _LENGTH_STEP).long() * _LENGTH_STEP
    for length in rounded.unique().tolist():
        rows = (rounded == length).nonzero().flatten().tolist()
        for start in range(0, len(rows), tile):
            chosen = rows[start : start + tile]
            repeated = chosen + chosen[:1] * (tile - len(chosen))
            tokens = tokenizer([texts[row] for row in repeated], max_length)
            yield chosen, _padded(tokens, length)


def _padded(tokens: Tokens, length: int) -> Tokens:
    extra = length - tokens.ids.shape[1]
    ids = torch.nn.functional.pad(tokens.ids, (0, extra), value=tokens.special.pad)
    keep = torch.nn.functional.pad(tokens.keep, (0, extra), value=False)
    return Tokens(ids, keep, tokens.lead, tokens.special)
