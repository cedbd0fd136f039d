"""The plain peer of `lab bench pretrain`: the published pre-training step, written from the paper.

Sections 3.1 and 3.2 and appendix of arXiv 2201.12086 and the released values: texts padded to 30 tokens, the
temperature clamped first, the momentum encoders updated parameter by parameter before their features, two ITM
passes (B pairs, then 2B), keys and values computed in every pass, eager attention. Nothing of it is slow on
purpose: batched draws, no loop over samples, torch's own losses.
"""

import copy
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blip.config import BlipConfig
from blip.model import TEMPERATURE_RANGE, TEMPERATURE_START
from blip.tokenizer import SpecialIds
from lab.bench.pretrain_layers import Image, Text, TextDecoder

MAX_TOKENS, MOMENTUM, SMOOTHING, FLOOR = 30, 0.995, 0.1, 1e-4
_IGNORED = -100
_UNUSED = "position_ids"

Draw = Callable[[Tensor, int], Tensor]
"""One column for each row of weights (B, B); the number says what is drawn: 0 images, 1 texts."""


def multinomial(weights: Tensor, stream: int) -> Tensor:
    """A column (B,) for each row, as likely as its weight."""
    return torch.multinomial(weights, 1).squeeze(1)


class Published(nn.Module):
    """Encoders, decoder, momentum encoders and queues, with a forward that is one pre-training step's losses.

    The sizes are the config's; image_queue and text_queue are (E, K) as published.
    """

    _followed = ("visual_encoder", "vision_proj", "text_encoder", "text_proj")
    visual_encoder_m: Image
    vision_proj_m: nn.Linear
    text_encoder_m: Text
    text_proj_m: nn.Linear
    image_queue: Tensor
    text_queue: Tensor
    queue_ptr: Tensor

    def __init__(self, config: BlipConfig, queue: int, special: SpecialIds) -> None:
        super().__init__()
        self.special, width = special, config.embed_dim
        self.visual_encoder, self.text_encoder = Image(config.vision), Text(config.text)
        self.text_decoder = TextDecoder(config.text, self.text_encoder)
        self.vision_proj = nn.Linear(config.vision.width, width)
        self.text_proj = nn.Linear(config.text.width, width)
        self.itm_head = nn.Linear(config.text.width, 2)
        self.temp = nn.Parameter(torch.tensor(TEMPERATURE_START))
        for name in self._followed:
            self.add_module(f"{name}_m", copy.deepcopy(getattr(self, name)).requires_grad_(False))
        self.register_buffer("image_queue", F.normalize(torch.randn(width, queue), dim=0))
        self.register_buffer("text_queue", F.normalize(torch.randn(width, queue), dim=0))
        self.register_buffer("queue_ptr", torch.zeros(1, dtype=torch.int64))

    def load_published(self, state: Mapping[str, Tensor]) -> None:
        """Load a state dict of the published pre-training layout; every tensor must be there and none over."""
        self.load_state_dict({name: tensor for name, tensor in state.items() if not name.endswith(_UNUSED)})

    def forward(self, images: Tensor, ids: Tensor, keep: Tensor, alpha: float, draw: Draw = multinomial) -> dict[str, Tensor]:
        """ITC, ITM and LM of B pairs: images (B, 3, H, W), ids and keep (B, L) led by [CLS], padded to L.

        Changes momentum encoders, queues and temperature, as the published forward does.
        """
        with torch.no_grad():
            self.temp.clamp_(*TEMPERATURE_RANGE)
        states, mask = self.visual_encoder(images), _hidden(keep[:, None, None, :])
        image = F.normalize(self.vision_proj(states[:, 0]), dim=-1)
        text = F.normalize(self.text_proj(self.text_encoder(ids, mask)[:, 0]), dim=-1)
        image_keys, text_keys = self._keys(images, ids, mask)
        to_texts, to_images = (image @ text_keys).float() / self.temp, (text @ image_keys).float() / self.temp
        itc = self._contrast(to_texts, to_images, image_keys, text_keys, alpha)
        self._enqueue(image_keys[:, : len(ids)], text_keys[:, : len(ids)])
        itm = self._match(states, ids, keep, to_texts[:, : len(ids)], to_images[:, : len(ids)], draw)
        return {"itc": itc, "itm": itm, "lm": self._caption(states, ids, keep)}

    @torch.no_grad()
    def _keys(self, images: Tensor, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The momentum encoders' features of the batch, then the queue: (E, B + K) of images and of texts."""
        for name in self._followed:
            student, teacher = getattr(self, name), getattr(self, f"{name}_m")
            for own, theirs in zip(student.parameters(), teacher.parameters(), strict=True):
                theirs.mul_(MOMENTUM).add_(own, alpha=1 - MOMENTUM)
        image = F.normalize(self.vision_proj_m(self.visual_encoder_m(images)[:, 0]), dim=-1)
        text = F.normalize(self.text_proj_m(self.text_encoder_m(ids, mask)[:, 0]), dim=-1)
        return torch.cat([image.T, self.image_queue], dim=1), torch.cat([text.T, self.text_queue], dim=1)

    def _contrast(self, to_texts: Tensor, to_images: Tensor, image_keys: Tensor, text_keys: Tensor, alpha: float) -> Tensor:
        with torch.no_grad():
            own = torch.zeros_like(to_texts).fill_diagonal_(1)
            batch = len(own)
            softer = [
                alpha * ((queries.T @ keys).float() / self.temp).softmax(dim=1) + (1 - alpha) * own
                for queries, keys in ((image_keys[:, :batch], text_keys), (text_keys[:, :batch], image_keys))
            ]
        return (F.cross_entropy(to_texts, softer[0]) + F.cross_entropy(to_images, softer[1])) / 2

    @torch.no_grad()
    def _enqueue(self, image_keys: Tensor, text_keys: Tensor) -> None:
        """Write the batch's keys (E, B) over the oldest; the queue is a multiple of the batch."""
        batch, queue = image_keys.shape[1], self.image_queue.shape[1]
        start = int(self.queue_ptr)
        self.image_queue[:, start : start + batch] = image_keys
        self.text_queue[:, start : start + batch] = text_keys
        self.queue_ptr[0] = (start + batch) % queue

    def _match(
        self, states: Tensor, ids: Tensor, keep: Tensor, to_texts: Tensor, to_images: Tensor, draw: Draw
    ) -> Tensor:
        """ITM: the pairs in one pass, then each text with a hard image and each image with a hard text."""
        ids = _led(ids, self.special.enc)
        with torch.no_grad():
            image, text = (
                draw((similarity.softmax(dim=1) + FLOOR).fill_diagonal_(0), stream)
                for stream, similarity in enumerate((to_images, to_texts))
            )
        positive = self.text_encoder(ids, _hidden(keep[:, None, None, :]), states)
        texts, kept = torch.cat([ids, ids[text]]), torch.cat([keep, keep[text]])
        images = torch.cat([states[image], states])
        negative = self.text_encoder(texts, _hidden(kept[:, None, None, :]), images)
        logits = self.itm_head(torch.cat([positive[:, 0], negative[:, 0]]))
        labels = torch.arange(len(logits), device=logits.device) < len(ids)
        return F.cross_entropy(logits.float(), labels.long())

    def _caption(self, states: Tensor, ids: Tensor, keep: Tensor) -> Tensor:
        """LM: each token from those before it, the padding not counted."""
        causal = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool, device=ids.device).tril()
        mask = _hidden(causal & keep[:, None, None, :])
        logits = self.text_decoder(_led(ids, self.special.dec), mask, states)
        labels = ids.masked_fill(~keep, _IGNORED)[:, 1:]
        return F.cross_entropy(
            logits[:, :-1].flatten(0, 1).float(), labels.flatten(), ignore_index=_IGNORED, label_smoothing=SMOOTHING
        )


def _hidden(keep: Tensor) -> Tensor:
    """What is added to attention's scores: 0 where a key may be seen, very little elsewhere."""
    return torch.zeros(keep.shape, device=keep.device).masked_fill(~keep, torch.finfo(torch.float32).min)


def _led(ids: Tensor, first: int) -> Tensor:
    return torch.cat([torch.full_like(ids[:, :1], first), ids[:, 1:]], dim=1)
