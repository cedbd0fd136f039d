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
    embedding_names,
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


def start_from(model: BLIP, *, vision: Path | None = None, text: Path | None = None) -> None:
    """Copy ViT weights into the image encoder and BERT weights into every role of the text transformer.

    Position embeddings are interpolated to the model's image size. Cross-attention, projections,
    the ITM head and the two new word embeddings keep their random start (paper 4.1).
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
    """Fill embeddings, self-attention and MLP of every role from BERT's names."""
    names: Names = {}
    for role in text.embeddings:
        names |= embedding_names(f"embeddings.{role}")
    for i, block in enumerate(text.blocks):
        at = f"encoder.layer.{i}"
        for role in block.self_attention:
            names |= self_attention_names(f"blocks.{i}.self_attention.{role}", at)
        for role in block.mlp:
            names |= mlp_names(f"blocks.{i}.mlp.{role}", at)
    new = _taken({_modern(name): value for name, value in state.items()}, names, source)
    for role in text.embeddings:
        word = f"embeddings.{role}.word.weight"
        new[word] = _with_our_words(new[word], text.embeddings[role].word.weight, source)
    _fill(text, new, source)


def _modern(name: str) -> str:
    """BERT's name without its prefix; the first files call a norm's weight gamma and its bias beta."""
    name = name.removeprefix("bert.")
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def _with_our_words(theirs: Tensor, ours: Tensor, source: str) -> Tensor:
    """The rows BERT has; [DEC] and [ENC] keep their start."""
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
