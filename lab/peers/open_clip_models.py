"""open_clip's CLIP and CoCa of a BLIP's sizes, as tasks of our training loop and for our decoding.

They read our token ids: vocabulary, padding and [SEP] are said to them, for by default CLIP takes the text's
feature where the largest id stands. Texts are padded to one length, as open_clip does.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from open_clip.coca_model import CoCa, MultimodalCfg
from open_clip.loss import ClipLoss, CoCaLoss
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from torch import Tensor, nn

from blip.config import BlipConfig, TextConfig
from blip.memory import Cache, Memory
from blip.tasks.batch import Losses, PairBatch, TeacherFeatures
from blip.tokenizer import SpecialIds, Tokens

CONTEXT = 30  # most tokens of a text, as many as BLIP reads in pre-training
CAPTION_WEIGHT, CONTRASTIVE_WEIGHT = 2.0, 1.0  # of CoCa's losses, open_clip's defaults
LARGEST_SCALE = math.log(100)  # of the logits, as open_clip's training clamps it


def clip(config: BlipConfig, special: SpecialIds, context: int = CONTEXT) -> CLIP:
    """A new CLIP with as many layers, and layers as wide, as a BLIP; texts of `context` tokens, pooled at [SEP]."""
    read = CLIPTextCfg(**_text(config.text, special, context))
    return CLIP(config.embed_dim, _vision(config), read, output_dict=True)


def coca(config: BlipConfig, special: SpecialIds, context: int = CONTEXT) -> CoCa:
    """A new CoCa of like size, for texts of `context` tokens: half of the text layers read text alone, half the image too, as its paper has it.

    Texts are pooled at its class token, which overrules [SEP]; in open_clip its features are as wide as its text.
    What open_clip leaves as memory happens to be (the decoder's output matrix), or masks wrongly by its own word
    (the class token), is set right.
    """
    text = replace(config.text, depth=max(1, config.text.depth // 2))
    vision = replace(
        _vision(config),
        attentional_pool=True,
        attn_pooler_queries=config.vision.tokens,
        attn_pooler_heads=text.heads,
        output_tokens=True,
    )
    decoder = MultimodalCfg(context_length=context, width=text.width, heads=text.heads, layers=text.depth)
    read = CLIPTextCfg(**_text(text, special, context), embed_cls=True, output_tokens=True)
    model = CoCa(text.width, decoder, read, vision, pad_id=special.pad)
    nn.init.normal_(model.text_decoder.text_projection, std=text.width**-0.5)
    model.text.correct_cls_mask = True
    return model


def padded(tokens: Tokens, context: int = CONTEXT) -> Tensor:
    """Ids (R, context), padded on the right."""
    return F.pad(tokens.ids, (0, context - tokens.ids.shape[1]), value=tokens.special.pad)


class PeerTask(nn.Module):
    """A peer as the training loop sees it. lost: from what the model gives to its weighted losses by name."""

    def __init__(self, model: CLIP | CoCa, lost: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
        super().__init__()
        self.model, self.lost = model, lost

    def forward(self, batch: PairBatch, alpha: float) -> Losses:
        """Losses of B pairs; there are no soft targets, so alpha is not read."""
        parts = self.lost(self.model(batch.images, padded(batch.tokens, self.model.context_length)))
        return Losses(parts, torch.stack(list(parts.values())).sum())

    @torch.no_grad()
    def after_step(self, features: Sequence[TeacherFeatures]) -> None:
        """Keep the scale of the logits within open_clip's range; there is no momentum encoder."""
        self.model.logit_scale.clamp_(0, LARGEST_SCALE)


def clip_losses(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """CLIP's loss, by open_clip, under our name."""
    return {"itc": ClipLoss()(found["image_features"], found["text_features"], found["logit_scale"])}


def coca_losses(
    pad: int, *, caption: float = CAPTION_WEIGHT, contrastive: float = CONTRASTIVE_WEIGHT
) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    """CoCa's losses, by open_clip, under our names; padding carries none, and a loss of weight 0 is left out."""
    loss, weights = CoCaLoss(caption, contrastive, pad_id=pad), {"itc": contrastive, "lm": caption}

    def lost(found: dict[str, Tensor]) -> dict[str, Tensor]:
        names = ("image_features", "text_features", "logits", "labels", "logit_scale")
        parts = zip(weights, loss(*(found[name] for name in names)), strict=True)
        return {name: part for name, part in parts if weights[name]}

    return lost


class CoCaDecoder:
    """A CoCa as `blip.generate` sees a decoder: greedy captions from its logits by our own step function.

    (open_clip's `generate` needs classes that transformers 5 no longer has.) CoCa keeps no keys and values, so
    what the cache holds are the ids so far, and every step reads them anew.
    """

    training = False

    def __init__(self, model: CoCa, config: BlipConfig) -> None:
        cached = replace(config.text, width=1, depth=1, heads=1, max_positions=model.context_length)
        self.config, self.text = replace(config, text=cached), _CoCaText(model, cached)

    def remember(self, images: Tensor) -> Memory:
        """What the decoder reads of images (B, 3, H, W): the outputs of the attention pooler."""
        states = self.text.model.visual(images)[1]
        return Memory((states,), (states,))


class _CoCaText:
    """The part of `TextTransformer` that decoding calls; states are the logits themselves."""

    def __init__(self, model: CoCa, config: TextConfig) -> None:
        self.model, self.config = model, config

    def __call__(self, ids: Tensor, keep: None, role: str, *, memory: Memory, cache: Cache) -> Tensor:
        new = ids[:, None, :, None].to(memory.keys[0].dtype)  # whole numbers up to 2^24 are exact in float32
        so_far, _ = cache.extend(0, new, new)
        cache.length += ids.shape[1]
        read = so_far[:, 0, :, 0].long()
        images = memory.keys[0].repeat_interleave(len(read) // len(memory), dim=0)
        return self.model.text_decoder(images, self.model.text(read)[1])

    def logits(self, states: Tensor) -> Tensor:
        return states


def _vision(config: BlipConfig) -> CLIPVisionCfg:
    vision = config.vision
    return CLIPVisionCfg(
        layers=vision.depth,
        width=vision.width,
        head_width=vision.width // vision.heads,
        patch_size=vision.patch_size,
        image_size=vision.image_size,
    )


def _text(text: TextConfig, special: SpecialIds, context: int) -> dict[str, Any]:
    return {
        "context_length": context,
        "vocab_size": text.vocab_size,
        "width": text.width,
        "heads": text.heads,
        "layers": text.depth,
        "pad_id": special.pad,
        "eos_id": special.sep,
        "pool_type": "eos",
    }
