"""A small new model with a vocabulary of the texts it is about to read, for tests of tasks."""

from collections.abc import Iterable

import torch

from blip.checkpoint import Card, Loaded, save
from blip.config import BlipConfig, TextConfig, VisionConfig
from blip.model import BLIP
from blip.tokenizer import Tokenizer


def new_model(texts: Iterable[str], *, px: int = 16, vocab: int = 120) -> Loaded:
    """One layer each, width 32, without dropout."""
    tokenizer = Tokenizer.train(texts, vocab)
    torch.manual_seed(3)
    vision = VisionConfig(image_size=px, patch_size=8, width=32, depth=1, heads=2)
    text = TextConfig(
        vocab_size=len(tokenizer), width=32, depth=1, heads=2, mlp_width=64, memory_width=32, max_positions=64, dropout=0.0
    )
    model = BLIP(BlipConfig(vision=vision, text=text, embed_dim=16)).eval()
    return Loaded(model, tokenizer, Card(stage="pretrained"), fingerprint="0" * 16)


def written(loaded: Loaded, path) -> str:
    """The path of the model as a file of weights."""
    return str(save(path, loaded.model, loaded.tokenizer, loaded.card))
