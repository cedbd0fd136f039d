"""The decoder one token at a time: the only place where generation meets the network."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from blip.config import BlipConfig
from blip.memory import Cache, FixedCache, Memory
from blip.text import TextTransformer


class Decoder(Protocol):
    """A model whose `text` decodes: a BLIP, or a VQA model, whose answer decoder it is."""

    config: BlipConfig
    training: bool

    @property
    def text(self) -> TextTransformer: ...


class Steps:
    """k texts for each of B images, grown token by token: R = k * B rows, grouped by image.

    The images' keys and values are read where they lie: the rows of an image are folded into one
    query, so nothing is repeated per row or computed again per step.
    """

    def __init__(self, model: Decoder, memory: Memory) -> None:
        self.text, self.memory = model.text, memory.packed()

    def start(self, prompt: Sequence[int], texts: int, capacity: int) -> Tensor:
        """Read the prompt once an image; next-token logits (B, V), the same for its `texts` rows.

        capacity: most tokens that will be fed, prompt included.
        """
        ids = torch.tensor(prompt, device=self._device).expand(len(self.memory), -1)
        self.cache = Cache(self.text.config, len(ids), len(prompt), like=self.memory.keys[0])
        logits = self._logits(ids)
        self.cache = self.cache.repeated(texts, capacity)
        return logits

    def step(self, ids: Tensor) -> Tensor:
        """Feed one token to each row, ids (R,); next-token logits (R, V) in float32."""
        return self._logits(ids[:, None])

    def reorder(self, rows: Tensor) -> None:
        """Make row i continue what row rows[i] held."""
        self.cache.reorder(rows)

    def _logits(self, ids: Tensor) -> Tensor:
        states = self.text(ids, None, "decoder", memory=self.memory, cache=self.cache)
        return self.text.logits(states[:, -1]).float()

    @property
    def _device(self) -> torch.device:
        return self.memory.keys[0].device


class FixedSteps(Steps):
    """The same in tensors that stay where they are, so that a step can be captured and later images take their places."""

    cache: FixedCache

    def __init__(self, model: Decoder, memory: Memory) -> None:
        self.text, self.memory = model.text, memory.owned()

    def start(self, prompt: Sequence[int], texts: int, capacity: int) -> Tensor:
        """As `Steps.start`."""
        before = getattr(self, "cache", None)
        logits = super().start(prompt, texts, capacity)
        if before is None:
            self.cache = self.cache.fixed()
        else:
            before.refilled(self.cache)
            self.cache = before
        return logits
