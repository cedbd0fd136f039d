"""What trained peers are asked for: features of images and texts, their cosines, and greedy captions."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from blip.data.text import clean_caption
from blip.data.transforms import eval_transform
from blip.generate import Decoding, generate
from blip.generate.steps import Decoder
from blip.tiles import TILE, filled
from blip.tokenizer import Tokenizer
from lab.peers.kinds import PeerModel
from lab.peers.open_clip_models import CoCaDecoder, padded

_TEXTS_AT_ONCE = 256
_NO_DRAWS = np.random.default_rng(0)  # the evaluation transform draws nothing


@torch.inference_mode()
def text_features(model: PeerModel, tokenizer: Tokenizer, texts: Sequence[str], device: str) -> Tensor:
    """Features (T, E) of texts, as long as the model makes them."""
    context = model.context_length
    ids = padded(tokenizer([clean_caption(text) for text in texts], context), context).to(device)
    return torch.cat([model.encode_text(part) for part in ids.split(_TEXTS_AT_ONCE)])


@torch.inference_mode()
def coca_captions(
    decoder: CoCaDecoder, tokenizer: Tokenizer, batches: Iterable[Tensor], decoding: Decoding
) -> Iterator[str]:
    """A caption of each image of batches (b, 3, H, W), in order; there is no prompt."""
    special = tokenizer.special
    for batch in batches:
        # Its text answers what decoding calls of a text transformer, and no more.
        speaks = cast(Decoder, decoder)
        found = generate(speaks, decoder.remember(batch), decoding, prompt_ids=[special.cls], special=special)
        yield from (tokenizer.decode(image[0].ids) for image in found)


@dataclass(frozen=True)
class CosineFilter:
    """A peer as filter of a ledger (`blip.capfilt.scoring.FilterLike`): the cosine of a caption and its image.

    Images and texts go through the model in fixed tiles, so that bytes do not depend on what else is scored. `id`
    names the weights in a ledger; `image_size` is the side of the pictures the model sees.
    """

    model: PeerModel
    tokenizer: Tokenizer
    image_size: int
    id: str
    device: str = "cpu"
    tile: int = TILE
    columns: tuple[str, ...] = ("cosine",)

    def prepare(self, image: Image.Image) -> Tensor:
        """What the model reads of an image: (3, H, W). Safe to call from threads."""
        return eval_transform(self.image_size)(image, _NO_DRAWS)

    @torch.inference_mode()
    def __call__(
        self, prepared: Sequence[Tensor], texts: Sequence[Sequence[str]]
    ) -> list[list[tuple[float, ...]]]:
        """For each image and each of its texts the cosine."""
        flat = [text for own in texts for text in own]
        images = self._units(prepared, lambda part: self.model.encode_image(filled(part, self.tile).to(self.device)))
        found = self._units(flat, self._encode_texts)
        owners = [image for image, own in enumerate(texts) for _ in own]
        # One product a row: a matrix of all of them would have a shape of its own.
        cosines = iter([float(np.dot(images[owner], text)) for owner, text in zip(owners, found, strict=True)])
        return [[(next(cosines),) for _ in own] for own in texts]

    def _encode_texts(self, texts: Sequence[str]) -> Tensor:
        return text_features(self.model, self.tokenizer, [*texts, *[""] * (self.tile - len(texts))], self.device)

    def _units(self, rows: Sequence[Any], encode: Callable[[Sequence[Any]], Tensor]) -> list[np.ndarray]:
        """Unit vectors of all rows, a tile at a time."""
        parts = [rows[start : start + self.tile] for start in range(0, len(rows), self.tile)]
        return [
            vector
            for part in parts
            for vector in F.normalize(encode(part).float(), dim=-1)[: len(part)].cpu().numpy()
        ]
