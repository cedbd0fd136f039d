"""An image-grounded text encoder as filter: how well texts match their images (paper 3.3)."""

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from blip.captured import Captured, Kept, captures
from blip.checkpoint.own import Loaded
from blip.data.text import clean_caption
from blip.data.transforms import eval_transform
from blip.errors import InputError
from blip.memory import Memory
from blip.model import BLIP
from blip.precision import precision
from blip.tiles import TILE, filled, text_tiles
from blip.tokenizer import Tokens

MAX_TOKENS = 35  # published length of texts at retrieval and ITM scoring
_NO_DRAWS = np.random.default_rng(0)  # the evaluation transform draws nothing


class Matcher:
    """Scores of texts against their images: match logit and probability (ITM), cosine (ITC).

    `itm_logit` is the match logit less the other, so that `itm_prob` is its sigmoid; the text
    begins with [ENC] for it, as in training. `id` names the weights in a ledger.
    """

    columns = ("itm_logit", "itm_prob", "itc")

    def __init__(
        self, loaded: Loaded, *, device: str = "cpu", dtype: str = "float32", tile: int = TILE
    ) -> None:
        if not {"encode", "fuse"} <= loaded.model.config.text.readings:
            raise InputError(
                f"These weights ({loaded.card.stage}) have no ITM and ITC heads and cannot filter; "
                "give a filter, a retrieval model or a pre-trained one."
            )
        self.model, self.tokenizer = loaded.model.to(device), loaded.tokenizer
        self.id, self.device, self.dtype, self.tile = loaded.fingerprint, torch.device(device), dtype, tile
        self._transform = eval_transform(loaded.model.config.vision.image_size)
        self.reads = ("blip", loaded.model.config.vision.image_size)

    def prepare(self, image: Image.Image) -> Tensor:
        """What the model reads of an image: (3, H, W). Safe to call from threads."""
        return self._transform(image, _NO_DRAWS)

    @torch.inference_mode()
    def __call__(
        self, prepared: Sequence[Tensor], texts: Sequence[Sequence[str]]
    ) -> list[list[tuple[float, ...]]]:
        """For each image and each of its texts a value of every column.

        An image's cross-attention keys and values are computed once for all of its texts.
        """
        starts = range(0, len(prepared), self.tile)
        parts = [slice(start, start + self.tile) for start in starts]
        return [values for part in parts for values in self._tile(prepared[part], texts[part])]

    def _tile(
        self, prepared: Sequence[Tensor], texts: Sequence[Sequence[str]]
    ) -> list[list[tuple[float, ...]]]:
        owners = [image for image, own in enumerate(texts) for _ in own]
        flat = [clean_caption(text) for own in texts for text in own]
        scores: list[tuple[float, ...]] = [()] * len(flat)
        with precision(self.device, self.dtype):
            states = self.model.encode_image(filled(prepared, self.tile).to(self.device))
            memory, features = self.model.remember(states, "encoder"), self.model.image_features(states)
            found = []
            with self._scoring(memory, features) as score:
                for rows, tokens in text_tiles(self.tokenizer, flat, self.tile, MAX_TOKENS):
                    images = [owners[row] for row in rows]
                    index = torch.tensor(images + images[:1] * (self.tile - len(rows)), device=self.device)
                    found.append((rows, score(tokens.to(self.device), index)))
        # Only now is a GPU waited for.
        for rows, values in found:
            for row, value in zip(rows, values.tolist(), strict=False):
                scores[row] = tuple(value)
        told = iter(scores)
        return [[next(told) for _ in own] for own in texts]

    @contextmanager
    def _scoring(self, memory: Memory, features: Tensor) -> Iterator[Callable[[Tokens, Tensor], Tensor]]:
        """Scores (T, 3) of T texts, each about the image of its index (T,)."""
        if not captures(self.device):
            yield lambda tokens, index: scored(self.model, tokens, index, memory, features)
            return
        weight, keys = self.model.itm_head.weight, memory.keys[0]
        key = self.dtype, weight.data_ptr(), weight.dtype, keys.shape, keys.device
        with _KEPT.one(self.model, key, lambda: _Scores(memory, features)) as kept:
            kept.read(memory, features)
            yield lambda tokens, index: kept.of(self.model, tokens, index)


def scored(model: BLIP, tokens: Tokens, index: Tensor, memory: Memory, features: Tensor) -> Tensor:
    """Margin, match probability and cosine (T, 3) of texts, each about the image of its index (T,)."""
    # Copying an image's keys for each of its texts takes a tenth of the texts' time (base size, 384 px, CPU);
    # grouping by image would leave more of a tile blank than that.
    logits = model.match_logits(tokens.led_by("ENC"), memory.rows(index)).float()
    text_features = model.text_features(model.encode_text(tokens))
    margin = logits[:, 1] - logits[:, 0]
    cosine = (text_features * features[index]).float().sum(1)
    return torch.stack([margin, margin.sigmoid(), cosine], dim=1)


class _Scores:
    """Scores of tiles of texts about a tile of images in tensors that stay in place, captured once a length of texts."""

    def __init__(self, memory: Memory, features: Tensor) -> None:
        self._memory, self._features = memory.owned(), features.clone()
        self._lengths: dict[int, tuple[Tokens, Tensor, Tensor, Captured]] = {}

    def read(self, memory: Memory, features: Tensor) -> None:
        """Score texts about other images from now on, as many and as large."""
        self._memory.refill(memory)
        self._features.copy_(features)

    def of(self, model: BLIP, tokens: Tokens, index: Tensor) -> Tensor:
        """As `scored`, about the images that were read last."""
        length = tokens.ids.shape[1]
        if length not in self._lengths:
            self._lengths[length] = self._prepared(model, tokens, index)
        texts, images, found, work = self._lengths[length]
        texts.ids.copy_(tokens.ids)
        texts.keep.copy_(tokens.keep)
        images.copy_(index)
        work()
        return found.clone()

    def _prepared(self, model: BLIP, tokens: Tokens, index: Tensor) -> tuple[Tokens, Tensor, Tensor, Captured]:
        texts = Tokens(tokens.ids.clone(), tokens.keep.clone(), tokens.lead, tokens.special)
        images, found = index.clone(), torch.zeros(len(index), len(Matcher.columns), device=index.device)
        weak = cast(BLIP, weakref.proxy(model))  # a model that nobody else holds is gone, and this with it

        def work() -> None:
            found.copy_(scored(weak, texts, images, self._memory, self._features))

        return texts, images, found, Captured(work)


_KEPT = Kept[_Scores]()
