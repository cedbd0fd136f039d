"""The paper's starting point: an image encoder from ViT or DeiT weights, a text transformer from BERT's.

Both are read from files in their own layouts (timm, DeiT; BERT as transformers stores it).
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from blip.checkpoint.names import (
    PUBLISHED,
    Names,
    State,
    below,
    embedding_names,
    head_names,
    image_names,
    joined,
    mlp_names,
    self_attention_names,
)
from blip.checkpoint.tensors import read_tensors
from blip.errors import InputError
from blip.model import BLIP
from blip.text import TextTransformer
from blip.vision import ImageEncoder, resize_positions

_HEAD = "cls.predictions."


def start_from(model: BLIP, *, vision: Path | None = None, text: Path | None = None) -> None:
    """Copy ViT weights into the image encoder and BERT weights into every role of the text transformer.

    Position embeddings are interpolated to the model's image size. Cross-attention, projections,
    the ITM head and the two new word embeddings keep their random start (paper 4.1). The LM head
    starts from BERT's own where the text file has one, and a model for shorter texts takes as many
    of its positions as it reads: see `start_text`.
    """
    if vision is not None:
        start_vision(model.image_encoder, read_tensors(vision), str(vision))
    if text is not None:
        start_text(model.text, read_tensors(text), str(text))


@torch.no_grad()
def start_vision(encoder: ImageEncoder, state: State, source: str) -> None:
    """Fill the image encoder from timm's or DeiT's names; the classifier head is left aside."""
    new = _taken(state, image_names(encoder.config.depth, PUBLISHED), source)
    new["positions"] = resize_positions(new["positions"], encoder.config.tokens)
    _fill(encoder, new, source)


@torch.no_grad()
def start_text(text: TextTransformer, state: State, source: str) -> None:
    """Fill embeddings, self-attention and MLP of every role, and the LM head, from BERT's names.

    The LM head is that of BERT's masked language modelling, as in the published code, whose decoder is
    made from all of bert-base-uncased. A file without it, such as a bare encoder's, leaves the LM head
    its random start. [DEC] and [ENC] keep theirs, in the head's bias as in the word embeddings. Of the
    position embeddings, the first ones are taken, as many as the model has.
    """
    names: Names = {}
    for role in text.embeddings:
        names |= embedding_names(f"embeddings.{role}")
    for i, block in enumerate(text.blocks):
        at = f"encoder.layer.{i}"
        for role in block.self_attention:
            names |= self_attention_names(f"blocks.{i}.self_attention.{role}", at)
        for role in block.mlp:
            names |= mlp_names(f"blocks.{i}.mlp.{role}", at)
    stored = {_modern(name): value for name, value in state.items()}
    by_word = [f"embeddings.{role}.word.weight" for role in text.embeddings]
    if "decode" in text.config.readings and any(name.startswith(_HEAD) for name in stored):
        names |= below(head_names(), "lm_head.", _HEAD)
        by_word.append("lm_head.bias")
    new, mine = _taken(stored, names, source), text.state_dict()
    for name in by_word:
        new[name] = _with_our_words(new[name], mine[name], source)
    for name in (f"embeddings.{role}.position.weight" for role in text.embeddings):
        new[name] = new[name][: len(mine[name])]
    _fill(text, new, source)


def _modern(name: str) -> str:
    """BERT's name without its prefix; the first files call a norm's weight gamma and its bias beta."""
    name = name.removeprefix("bert.")
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def _with_our_words(theirs: Tensor, ours: Tensor, source: str) -> Tensor:
    """The values BERT has for its words; [DEC] and [ENC] keep their start."""
    if len(theirs) > len(ours):
        raise InputError(
            f"{source} has {len(theirs)} words and the model {len(ours)}; use BERT's own vocab.txt."
        )
    return torch.cat([theirs, ours[len(theirs) :].cpu()])


def _taken(state: State, names: Names, source: str) -> State:
    for stored in names.values():
        for name in stored:
            if name not in state:
                raise InputError(f"{source} lacks {name!r}; give weights of the layout this option names.")
    return joined(state, names)


def _fill(module: nn.Module, new: State, source: str) -> None:
    mine = module.state_dict()
    for name, value in new.items():
        if mine[name].shape != value.shape:
            raise InputError(
                f"{source} has {tuple(value.shape)} where {name} is {tuple(mine[name].shape)}; "
                "choose the model size these weights were made for."
            )
        mine[name].copy_(value)
