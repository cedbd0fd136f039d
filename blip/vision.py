"""The image encoder: a Vision Transformer with [CLS], pre-norm, as in the paper's section 3.1."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from blip.config import VisionConfig
from blip.dropout import same_draws
from blip.errors import InputError
from blip.layers import MLP, DropPath, merge_heads, normed, split_heads, start_std, start_weights


class ImageAttention(nn.Module):
    """Self-attention over normed image tokens: (B, N, D) -> (B, N, D)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, norm: nn.Module) -> Tensor:
        q, k, v = (split_heads(part, self.heads) for part in normed(norm, self.qkv, x).chunk(3, dim=-1))
        return self.out(merge_heads(F.scaled_dot_product_attention(q, k, v)))


class ImageBlock(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, config: VisionConfig, drop_path: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width, eps=config.eps)
        self.attention = ImageAttention(config.width, config.heads)
        self.mlp_norm = nn.LayerNorm(config.width, eps=config.eps)
        self.mlp = MLP(config.width, config.mlp_ratio * config.width)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.attention(x, self.attention_norm))
        return x + self.drop_path(self.mlp.narrow(normed(self.mlp_norm, self.mlp.up, x)))


class ImageEncoder(nn.Module):
    """Images (B, 3, H, W) to image states (B, N, D): [CLS] first, then patches in row order."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.checkpoint_last = 0
        self.patches = nn.Conv2d(3, config.width, config.patch_size, stride=config.patch_size)
        self.cls = nn.Parameter(torch.zeros(1, 1, config.width))
        self.positions = nn.Parameter(torch.zeros(1, config.tokens, config.width))
        rates = torch.linspace(0, config.drop_path, config.depth, device="cpu").tolist()
        self.blocks = nn.ModuleList(ImageBlock(config, rate) for rate in rates)
        self.norm = nn.LayerNorm(config.width, eps=config.eps)
        start_weights(self, config.width)
        with torch.no_grad():  # torch's own start, as wide against the positions at any width
            self.patches.weight.mul_(start_std(config.width) / start_std(768))
        for learned in (self.cls, self.positions):
            nn.init.normal_(learned, std=start_std(config.width))

    def checkpoint_gradients(self, last: int) -> None:
        """Recompute the last `last` blocks in the backward pass: memory for time (paper: ViT-L)."""
        self.checkpoint_last = last

    def forward(self, images: Tensor) -> Tensor:
        side = self.config.image_size
        if images.shape[-2:] != (side, side):
            given = "x".join(map(str, images.shape[-2:]))
            raise InputError(f"This model reads {side}x{side} pixels, not {given}; resize the images.")
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1).to(x.dtype), x], dim=1) + self.positions
        first_recomputed = len(self.blocks) - self.checkpoint_last
        for i, block in enumerate(self.blocks):
            recompute = self.training and i >= first_recomputed
            x = checkpoint(block, x, use_reentrant=False, context_fn=same_draws) if recompute else block(x)
        return self.norm(x)


def resize_positions(positions: Tensor, tokens: int) -> Tensor:
    """Position embeddings (1, N, D) for another number of image tokens, [CLS] kept.

    Bicubic without aligned corners, as published. Both grids are square.
    """
    if positions.shape[1] == tokens:
        return positions
    cls, grid = positions[:, :1], positions[:, 1:]
    old, new = (round((n - 1) ** 0.5) for n in (positions.shape[1], tokens))
    grid = grid.unflatten(1, (old, old)).permute(0, 3, 1, 2).float()
    grid = F.interpolate(grid, size=(new, new), mode="bicubic", align_corners=False)
    return torch.cat([cls, grid.flatten(2).transpose(1, 2).to(cls.dtype)], dim=1)
