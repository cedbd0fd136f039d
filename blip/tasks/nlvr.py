"""Natural language visual reasoning: is a statement true of two images? (paper 5.4 and Figure 5b).

Every text layer reads both images with a cross-attention each and merges what they say.
"""

import torch
from torch import Tensor, nn

from blip.config import BlipConfig, TextConfig
from blip.dropout import Dropout
from blip.errors import InputError
from blip.layers import Layers, attend, split_heads, start_weights
from blip.model import BLIP, narrowed
from blip.text import SelfAttention, TextEmbeddings, TextMLP
from blip.tokenizer import Tokens
from blip.vision import ImageEncoder

FIRST_MERGING_LAYER = 6  # published: below it the two outputs are averaged, from it on merged


class ImageReader(nn.Module):
    """Attention from text to one of the two images, without residual and norm: (B, L, D) -> (B, L, D)."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.heads, self.drop = config.heads, config.dropout
        self.query = nn.Linear(config.width, config.width)
        self.key_value = nn.Linear(config.memory_width, 2 * config.width)
        self.out = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor, image_states: Tensor) -> Tensor:
        keys, values = (split_heads(t, self.heads) for t in self.key_value(image_states).chunk(2, dim=-1))
        drop = self.drop if self.training else 0.0
        return self.out(attend(self.query(x), keys, values, None, drop))


class TwinCrossAttention(nn.Module):
    """Two image readers and how their outputs become one, with the residual norm."""

    def __init__(self, config: TextConfig, *, merging: bool) -> None:
        super().__init__()
        self.first, self.second = ImageReader(config), ImageReader(config)
        self.merge = nn.Linear(2 * config.width, config.width) if merging else None
        self.norm = nn.LayerNorm(config.width, eps=config.eps)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, first: Tensor, second: Tensor) -> Tensor:
        one, two = self.first(x, first), self.second(x, second)
        both = (one + two) / 2 if self.merge is None else self.merge(torch.cat([one, two], dim=-1))
        return self.norm(x + self.dropout(both))


class PairTextBlock(nn.Module):
    """One text layer that reads two images."""

    def __init__(self, config: TextConfig, *, merging: bool) -> None:
        super().__init__()
        self.self_attention = SelfAttention(config)
        self.cross_attention = TwinCrossAttention(config, merging=merging)
        self.mlp = TextMLP(config)

    def forward(self, x: Tensor, mask: Tensor, first: Tensor, second: Tensor) -> Tensor:
        x = self.self_attention(x, mask, None, 0)
        return self.mlp(self.cross_attention(x, first, second))


class NLVR(nn.Module):
    """Two images and a statement to two logits; column 1 says that the statement is true."""

    def __init__(self, config: BlipConfig) -> None:
        super().__init__()
        self.config = config.reading("fuse")
        text = config.text
        self.image_encoder = ImageEncoder(config.vision)
        self.embeddings = TextEmbeddings(text)
        self.blocks = Layers(
            PairTextBlock(text, merging=i >= FIRST_MERGING_LAYER) for i in range(text.depth)
        )
        self.head = nn.Sequential(
            nn.Linear(text.width, text.width), nn.ReLU(), nn.Linear(text.width, 2)
        )
        for part in (self.embeddings, self.blocks, self.head):
            start_weights(part, text.width)

    def forward(self, first: Tensor, second: Tensor, statements: Tokens) -> Tensor:
        """Logits (B, 2) of images (B, 3, H, W) twice and B statements led by [ENC]."""
        statements.require("ENC", "The two-image text encoder")
        length, most = statements.ids.shape[1], self.config.text.max_positions
        if length > most:
            raise InputError(f"A statement of {length} tokens is longer than this model's {most}; cut it.")
        one, two = self.image_encoder(torch.cat([first, second])).chunk(2)
        x = self.embeddings(statements.ids)
        mask = statements.keep[:, None, None, :]
        for block in self.blocks:
            x = block(x, mask, one, two)
        return self.head(x[:, 0])


@torch.no_grad()
def nlvr_from(model: BLIP) -> NLVR:
    """An NLVR model that starts from a pre-trained BLIP's ITM reading, as published.

    Both image readers of a layer start from its one cross-attention; merging layers and head are new.
    """
    if "fuse" not in model.config.text.readings:
        raise InputError("NLVR starts from a model that was pre-trained with ITM; give one.")
    task = NLVR(model.config).to(next(model.parameters()).device)
    task.image_encoder.load_state_dict(model.image_encoder.state_dict())
    text = narrowed(model, "fuse").text
    task.embeddings.load_state_dict(text.embeddings["encoder"].state_dict())
    for new, old in zip(task.blocks, text.blocks, strict=True):
        new.self_attention.load_state_dict(old.self_attention["encoder"].state_dict())
        new.mlp.load_state_dict(old.mlp["encoder"].state_dict())
        cross = old.cross_attention["encoder"]
        new.cross_attention.norm.load_state_dict(cross.norm.state_dict())
        for reader in (new.cross_attention.first, new.cross_attention.second):
            for part in ("query", "key_value", "out"):
                getattr(reader, part).load_state_dict(getattr(cross, part).state_dict())
    return task
