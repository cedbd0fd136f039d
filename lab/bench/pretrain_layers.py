"""The layers of the plain peer of `lab bench pretrain`: ordinary torch, eager attention, published names.

Axes: B images or R texts, N image tokens, L text tokens, D width. Modules are named as the published
checkpoints name them, so that a state dict of that layout loads as it is.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blip.config import TextConfig, VisionConfig
from blip.layers import merge_heads, split_heads


def weighed(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: nn.Module) -> Tensor:
    """Attention by two products and a softmax between them: (R, H, L, d) each to (R, H, L, d)."""
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    if mask is not None:
        scores = scores + mask
    return dropout(scores.softmax(dim=-1)) @ value


class ImageAttention(nn.Module):
    """Self-attention over image tokens: (B, N, D) -> (B, N, D)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.drop = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (split_heads(part, self.heads) for part in self.qkv(x).chunk(3, dim=-1))
        return self.proj(merge_heads(weighed(query, key, value, None, self.drop)))


class ImageMLP(nn.Module):
    """Two linear maps with a GELU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class ImageBlock(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=config.eps)
        self.attn = ImageAttention(config.width, config.heads)
        self.norm2 = nn.LayerNorm(config.width, eps=config.eps)
        self.mlp = ImageMLP(config.width, config.mlp_ratio * config.width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Image(nn.Module):
    """The image encoder, ViT without stochastic depth: (B, 3, H, W) -> (B, N, D)."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        convolution = nn.Conv2d(3, config.width, config.patch_size, stride=config.patch_size)
        self.patch_embed = nn.ModuleDict({"proj": convolution})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, config.tokens, config.width))
        self.blocks = nn.ModuleList(ImageBlock(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, eps=config.eps)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patch_embed["proj"](images).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class Heads(nn.Module):
    """Attention of texts (R, L, D) over themselves or over image states (R, N, M), before the output map."""

    def __init__(self, config: TextConfig, memory_width: int) -> None:
        super().__init__()
        self.heads = config.heads
        self.query = nn.Linear(config.width, config.width)
        self.key = nn.Linear(memory_width, config.width)
        self.value = nn.Linear(memory_width, config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor | None) -> Tensor:
        query, key, value = (
            split_heads(part, self.heads) for part in (self.query(x), self.key(memory), self.value(memory))
        )
        return merge_heads(weighed(query, key, value, mask, self.dropout))


class Residual(nn.Module):
    """The output map of a branch, added to what went into it, then the norm."""

    def __init__(self, config: TextConfig, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, config.width)
        self.LayerNorm = nn.LayerNorm(config.width, eps=config.eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, branch: Tensor, x: Tensor) -> Tensor:
        return self.LayerNorm(x + self.dropout(self.dense(branch)))


class Attention(nn.Module):
    """Attention with its residual norm: (R, L, D) -> (R, L, D)."""

    def __init__(self, config: TextConfig, memory_width: int) -> None:
        super().__init__()
        self.self = Heads(config, memory_width)
        self.output = Residual(config, config.width)

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor | None) -> Tensor:
        return self.output(self.self(x, memory, mask), x)


class TextLayer(nn.Module):
    """Self-attention, cross-attention if there are image states, and the feed-forward part."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.attention = Attention(config, config.width)
        self.crossattention = Attention(config, config.memory_width)
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(config.width, config.mlp_width)})
        self.output = Residual(config, config.mlp_width)

    def forward(self, x: Tensor, mask: Tensor, states: Tensor | None) -> Tensor:
        x = self.attention(x, x, mask)
        if states is not None:
            x = self.crossattention(x, states, None)
        return self.output(F.gelu(self.intermediate["dense"](x)), x)


class TextEmbeddings(nn.Module):
    """Word and position embeddings: ids (R, L) -> (R, L, D)."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.width)
        self.position_embeddings = nn.Embedding(config.max_positions, config.width)
        self.LayerNorm = nn.LayerNorm(config.width, eps=config.eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, ids: Tensor) -> Tensor:
        positions = self.position_embeddings.weight[: ids.shape[1]]
        return self.dropout(self.LayerNorm(self.word_embeddings(ids) + positions))


class Layers(nn.Module):
    """The layers under the name that published weights have for them."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(TextLayer(config) for _ in range(config.depth))


class Text(nn.Module):
    """A text transformer: ids (R, L), an additive mask and image states, if any, to states (R, L, D)."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.embeddings = TextEmbeddings(config)
        self.encoder = Layers(config)

    def forward(self, ids: Tensor, mask: Tensor, states: Tensor | None = None) -> Tensor:
        x = self.embeddings(ids)
        for layer in self.encoder.layer:
            x = layer(x, mask, states)
        return x


class LMHead(nn.Module):
    """States to logits over the vocabulary; the output matrix is the word embeddings'."""

    def __init__(self, config: TextConfig, words: Tensor) -> None:
        super().__init__()
        norm = nn.LayerNorm(config.width, eps=config.eps)
        self.transform = nn.ModuleDict({"dense": nn.Linear(config.width, config.width), "LayerNorm": norm})
        self.decoder = nn.Linear(config.width, config.vocab_size)
        self.decoder.weight = words
        self.bias = self.decoder.bias

    def forward(self, states: Tensor) -> Tensor:
        return self.decoder(self.transform["LayerNorm"](F.gelu(self.transform["dense"](states))))


class TextDecoder(nn.Module):
    """The decoder that owns its self-attention and shares all else with the encoder (paper 3.1)."""

    def __init__(self, config: TextConfig, encoder: Text) -> None:
        super().__init__()
        self.bert = Text(config)
        self.bert.embeddings = encoder.embeddings
        for own, theirs in zip(self.bert.encoder.layer, encoder.encoder.layer, strict=True):
            own.crossattention, own.intermediate, own.output = theirs.crossattention, theirs.intermediate, theirs.output
        self.cls = nn.ModuleDict({"predictions": LMHead(config, encoder.embeddings.word_embeddings.weight)})

    def forward(self, ids: Tensor, mask: Tensor, states: Tensor) -> Tensor:
        return self.cls["predictions"](self.bert(ids, mask, states))
