"""MED's text transformer: one stack of post-norm blocks, read as encoder, grounded encoder or grounded decoder.

        reading                 self-attention      cross-attention   first token
        encode(text)            encoder's           none              [CLS] -> ITC
        fuse(text, image)       encoder's           encoder's         [ENC] -> ITM head
        decode(text, image)     decoder's, causal   decoder's         [DEC] -> LM head

Which parts the two roles share is the config's business (paper 3.1 and Table 3). Cross-attention
runs if and only if a memory is given.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blip.config import CROSS_ATTENTION, EMBEDDINGS, MLP, SELF_ATTENTION, TextConfig
from blip.dropout import Dropout, attention
from blip.errors import InputError
from blip.layers import MLP as FeedForward
from blip.layers import Layers, PerRole, attend, merge_heads, split_heads, start_weights
from blip.memory import Cache, Memory


class TextEmbeddings(nn.Module):
    """Word and position embeddings: ids (B, L) -> (B, L, D)."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.word = nn.Embedding(config.vocab_size, config.width)
        self.position = nn.Embedding(config.max_positions, config.width)
        self.norm = nn.LayerNorm(config.width, eps=config.eps)
        self.dropout = Dropout(config.dropout)

    def forward(self, ids: Tensor, start: int | Tensor = 0) -> Tensor:
        """start: the position of the first token; a tensor (1,) for a single one."""
        if isinstance(start, Tensor):
            positions = self.position.weight.index_select(0, start)
        else:
            positions = self.position.weight[start : start + ids.shape[1]]
        return self.dropout(self.norm(self.word(ids) + positions))


class SelfAttention(nn.Module):
    """Self-attention with its residual norm: (B, L, D) -> (B, L, D)."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.heads, self.drop = config.heads, config.dropout
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.norm = nn.LayerNorm(config.width, eps=config.eps)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, mask: Tensor | None, cache: Cache | None, layer: int) -> Tensor:
        q, k, v = (split_heads(part, self.heads) for part in self.qkv(x).chunk(3, dim=-1))
        if cache is not None:
            k, v = cache.extend(layer, k, v)
        drop = self.drop if self.training else 0.0
        heads = attention(q, k, v, mask, drop)
        return self.norm(x + self.dropout(self.out(merge_heads(heads))))


class CrossAttention(nn.Module):
    """Attention from text to a memory, with its residual norm: (k * B, L, D) -> (k * B, L, D)."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.heads, self.drop = config.heads, config.dropout
        self.query = nn.Linear(config.width, config.width)
        self.key_value = nn.Linear(config.memory_width, 2 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.norm = nn.LayerNorm(config.width, eps=config.eps)
        self.dropout = Dropout(config.dropout)

    def remember(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, H, N, d) of memory states (B, N, D_memory)."""
        keys, values = self.key_value(states).chunk(2, dim=-1)
        return split_heads(keys, self.heads), split_heads(values, self.heads)

    def forward(self, x: Tensor, memory: Memory, layer: int) -> Tensor:
        keys, values, drop = memory.keys[layer], memory.values[layer], self.drop if self.training else 0.0
        heads = attend(self.query(x), keys, values, memory.keep, drop, memory.at, memory.chosen)
        return self.norm(x + self.dropout(self.out(heads)))


class TextMLP(nn.Module):
    """The feed-forward part with its residual norm."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.mlp = FeedForward(config.width, config.mlp_width)
        self.norm = nn.LayerNorm(config.width, eps=config.eps)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x + self.dropout(self.mlp(x)))


class TextBlock(nn.Module):
    """One layer: its parts, each owned per role."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        roles, shared = config.roles, config.shared
        self.self_attention = PerRole(lambda: SelfAttention(config), roles, shared=SELF_ATTENTION in shared)
        self.cross_attention = PerRole(
            lambda: CrossAttention(config), config.grounded_roles, shared=CROSS_ATTENTION in shared
        )
        self.mlp = PerRole(lambda: TextMLP(config), roles, shared=MLP in shared)


class LMHead(nn.Module):
    """Text states to vocabulary logits; the output matrix is the decoder's word embedding, handed in."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.width, config.width)
        self.norm = nn.LayerNorm(config.width, eps=config.eps)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, states: Tensor, words: Tensor) -> Tensor:
        return F.linear(self.norm(F.gelu(self.dense(states))), words, self.bias)


class TextTransformer(nn.Module):
    """The text side of MED: token ids and an optional memory to states, in the role asked for."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = PerRole(
            lambda: TextEmbeddings(config), config.roles, shared=EMBEDDINGS in config.shared
        )
        self.blocks = Layers(TextBlock(config) for _ in range(config.depth))
        if "decode" in config.readings:
            self.lm_head = LMHead(config)
        start_weights(self, config.width)

    def remember(self, states: Tensor, role: str, keep: Tensor | None = None) -> Memory:
        """Keys and values of states (B, N, D_memory) for every layer of a role; keep (B, N) bool."""
        pairs = [block.cross_attention[role].remember(states) for block in self.blocks]
        keys, values = zip(*pairs, strict=True)
        return Memory(keys, values, keep)

    def forward(
        self,
        ids: Tensor,
        keep: Tensor | None,
        role: str,
        *,
        memory: Memory | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """States (R, L, D) of ids (R, L); with a memory of B images, R = k * B rows, grouped by image."""
        start = cache.length if cache is not None else 0
        self._check(ids, start, memory)
        x = self.embeddings[role](ids, start)
        mask = _causal(ids, cache) if role == "decoder" else _padding(keep)
        for layer, block in enumerate(self.blocks):
            x = block.self_attention[role](x, mask, cache, layer)
            if memory is not None:
                x = block.cross_attention[role](x, memory, layer)
            x = block.mlp[role](x)
        if cache is not None:
            cache.length += ids.shape[1]
        return x

    def logits(self, states: Tensor) -> Tensor:
        """Next-token logits (..., V) of decoder states (..., D)."""
        return self.lm_head(states, self.embeddings["decoder"].word.weight)

    def _check(self, ids: Tensor, start: int | Tensor, memory: Memory | None) -> None:
        # Room that is fixed was checked when it was made; to read its length would wait for the GPU.
        if isinstance(start, int) and start + ids.shape[1] > self.config.max_positions:
            raise InputError(
                f"A text of {start + ids.shape[1]} tokens is longer than this model's "
                f"{self.config.max_positions} positions; cut it or use a model with more."
            )
        if memory is not None and len(ids) % len(memory):
            raise InputError(
                f"{len(ids)} texts cannot be grouped over {len(memory)} images; give each as many."
            )


def _padding(keep: Tensor | None) -> Tensor | None:
    """(R, 1, 1, L) mask of the keys that every query may see."""
    return None if keep is None else keep[:, None, None, :]


def _causal(ids: Tensor, cache: Cache | None) -> Tensor | None:
    """(l, start + l) mask: token i sees itself and what came before.

    Padding stands right of the text, where no kept token looks, so it needs no mask of its own.
    """
    new = ids.shape[1]
    if new == 1:
        return None if cache is None else cache.mask
    start = 0 if cache is None else int(cache.length)
    ones = torch.ones(new, start + new, dtype=torch.bool, device=ids.device)
    return ones.tril(diagonal=start)
