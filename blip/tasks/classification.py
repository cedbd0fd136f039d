"""Zero-shot classification: an image is what the prompt of its class says of it, by ITC or by caption likelihood.

Not in the paper: the two readings of a pre-trained model that need no training, used as in CLIP and in
captioning.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from blip.errors import InputError
from blip.model import BLIP
from blip.tasks.ranking import text_features
from blip.tasks.vqa import answer_losses
from blip.tokenizer import Tokenizer, Tokens

CAPTIONS_AT_ONCE = 64  # their logits over a large vocabulary fill a memory
PLACE = "{}"  # where a prompt has the name of the class


def class_texts(labels: Sequence[str], prompts: Sequence[str]) -> list[str]:
    """The prompts of all C classes, (P * C) texts: all classes of the first prompt, then of the next."""
    for prompt in prompts:
        if PLACE not in prompt:
            raise InputError(f"The prompt {prompt!r} has no {PLACE} for the name of the class; put one in.")
    return [prompt.replace(PLACE, label) for prompt in prompts for label in labels]


@torch.inference_mode()
def class_features(model: BLIP, tokens: Tokens, classes: int) -> Tensor:
    """Unit features (C, E) of classes: the mean over their P prompts, whose texts are led by [CLS]."""
    features = text_features(model, tokens)
    return F.normalize(features.unflatten(0, (-1, classes)).mean(dim=0), dim=-1)


@torch.inference_mode()
def class_cosines(model: BLIP, image_states: Tensor, features: Tensor) -> Tensor:
    """Cosines (B, C) of image states (B, N, D) with class features (C, E)."""
    images = model.image_features(image_states).float()
    with torch.autocast(images.device.type, enabled=False):
        return images @ features.T


@torch.inference_mode()
def class_likelihoods(
    model: BLIP, image_states: Tensor, tokens: Tokens, classes: int, *, at_once: int = CAPTIONS_AT_ONCE
) -> Tensor:
    """Log-likelihoods (B, C) of class captions given images: of P prompts, texts led by any token, the mean.

    A caption's is the sum over its tokens and [SEP] (natural logarithm), so that a long name has to be said in
    full; what all captions have in common changes no order.
    """
    parts = [tokens.led_by("DEC").rows(rows) for rows in torch.arange(len(tokens)).split(at_once)]
    found = []
    for states in image_states.split(1):
        memory = model.remember(states, "decoder")
        losses = torch.cat([answer_losses(model.decode(part, memory), part, 0.0) for part in parts])
        found.append(-losses.unflatten(0, (-1, classes)).mean(dim=0))
    return torch.stack(found)


def class_tokens(tokenizer: Tokenizer, texts: Sequence[str], max_length: int) -> Tokens:
    """The texts as tokens led by [CLS]; InputError names a text that would be cut, since its end may be its name."""
    tokens = tokenizer(texts, max_length + 1)
    long = (tokens.keep.sum(dim=1) > max_length).nonzero().flatten().tolist()
    if long:
        raise InputError(f"{texts[long[0]]!r} has more than {max_length} tokens; shorten the label or the prompt.")
    return tokens
