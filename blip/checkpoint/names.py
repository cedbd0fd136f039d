"""Which stored tensors make up each of ours: one table for reading and for writing.

We join query, key and value into one map; stored files keep them apart. `Names` maps our name to the
stored names whose tensors, joined along their first axis, are ours.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

State = dict[str, Tensor]
Names = dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class ImageNames:
    """What a layout calls the parts of the image encoder, below the layout's prefix."""

    prefix: str
    cls: str
    positions: str
    patches: str
    norm: str
    block: str
    parts: dict[str, str]


PUBLISHED = ImageNames(
    prefix="visual_encoder",
    cls="cls_token",
    positions="pos_embed",
    patches="patch_embed.proj",
    norm="norm",
    block="blocks",
    parts={
        "attention_norm": "norm1",
        "attention.qkv": "attn.qkv",
        "attention.out": "attn.proj",
        "mlp_norm": "norm2",
        "mlp.up": "mlp.fc1",
        "mlp.down": "mlp.fc2",
    },
)
TRANSFORMERS = ImageNames(
    prefix="vision_model",
    cls="embeddings.class_embedding",
    positions="embeddings.position_embedding",
    patches="embeddings.patch_embedding",
    norm="post_layernorm",
    block="encoder.layers",
    parts={
        "attention_norm": "layer_norm1",
        "attention.qkv": "self_attn.qkv",
        "attention.out": "self_attn.projection",
        "mlp_norm": "layer_norm2",
        "mlp.up": "mlp.fc1",
        "mlp.down": "mlp.fc2",
    },
)
ENCODER, DECODER, LM_HEAD = "text_encoder", "text_decoder.bert", "text_decoder.cls.predictions"


def joined(state: State, names: Names) -> State:
    """Our tensors from stored ones."""
    return {
        ours: state[theirs[0]] if len(theirs) == 1 else torch.cat([state[name] for name in theirs])
        for ours, theirs in names.items()
    }


def parted(weights: State, names: Names) -> State:
    """Stored tensors from ours: what `joined` undoes."""
    parts: State = {}
    for ours, theirs in names.items():
        parts |= zip(theirs, weights[ours].chunk(len(theirs)), strict=True)
    return parts


def below(names: Names, ours: str, theirs: str) -> Names:
    """The same table below a prefix on either side."""
    return {ours + name: tuple(theirs + one for one in stored) for name, stored in names.items()}


def image_names(depth: int, layout: ImageNames) -> Names:
    """The image encoder's tensors."""
    names: Names = {"cls": (layout.cls,), "positions": (layout.positions,)}
    names |= pair("patches", layout.patches) | pair("norm", layout.norm)
    for i in range(depth):
        for ours, theirs in layout.parts.items():
            names |= pair(f"blocks.{i}.{ours}", f"{layout.block}.{i}.{theirs}")
    return names


def text_names(role: str, depth: int, *, grounded: bool = True) -> Names:
    """One role of a `TextTransformer`, stored as BERT with cross-attention where it is grounded."""
    names = embedding_names(f"embeddings.{role}")
    for i in range(depth):
        at = f"encoder.layer.{i}"
        names |= self_attention_names(f"blocks.{i}.self_attention.{role}", at)
        if grounded:
            names |= cross_attention_names(f"blocks.{i}.cross_attention.{role}", at)
        names |= mlp_names(f"blocks.{i}.mlp.{role}", at)
    return names


def twin_text_names(depth: int, first_merging: int) -> Names:
    """The text layers of NLVR, whose cross-attention is there twice."""
    names = embedding_names("embeddings")
    for i in range(depth):
        at = f"encoder.layer.{i}"
        names |= self_attention_names(f"blocks.{i}.self_attention", at)
        names |= mlp_names(f"blocks.{i}.mlp", at)
        cross, stored = f"blocks.{i}.cross_attention", f"{at}.crossattention"
        for which, reader in enumerate(("first", "second")):
            names |= _reading(f"{cross}.{reader}", f"{stored}.self{which}")
            names |= pair(f"{cross}.{reader}.out", f"{stored}.output.dense{which}")
        names |= pair(f"{cross}.norm", f"{stored}.output.LayerNorm")
        if i >= first_merging:
            names |= pair(f"{cross}.merge", f"{stored}.output.merge_layer")
    return names


def embedding_names(ours: str) -> Names:
    """Word and position embeddings and their norm."""
    return {
        f"{ours}.word.weight": ("embeddings.word_embeddings.weight",),
        f"{ours}.position.weight": ("embeddings.position_embeddings.weight",),
    } | pair(f"{ours}.norm", "embeddings.LayerNorm")


def self_attention_names(ours: str, layer: str) -> Names:
    """Query, key and value as one map, the output map, the residual norm."""
    at = f"{layer}.attention"
    names = _maps(f"{ours}.qkv", *(f"{at}.self.{which}" for which in ("query", "key", "value")))
    return names | pair(f"{ours}.out", f"{at}.output.dense") | pair(f"{ours}.norm", f"{at}.output.LayerNorm")


def cross_attention_names(ours: str, layer: str) -> Names:
    """Query, key and value of the memory as one map, the output map, the residual norm."""
    at = f"{layer}.crossattention"
    names = _reading(ours, f"{at}.self")
    return names | pair(f"{ours}.out", f"{at}.output.dense") | pair(f"{ours}.norm", f"{at}.output.LayerNorm")


def mlp_names(ours: str, layer: str) -> Names:
    """The feed-forward maps and their residual norm."""
    up = pair(f"{ours}.mlp.up", f"{layer}.intermediate.dense")
    down = pair(f"{ours}.mlp.down", f"{layer}.output.dense")
    return up | down | pair(f"{ours}.norm", f"{layer}.output.LayerNorm")


def head_names() -> Names:
    """The LM head; its output matrix is the word embedding and has no name of its own."""
    names = pair("dense", "transform.dense") | pair("norm", "transform.LayerNorm")
    return names | {"bias": ("bias",)}


def pair(ours: str, theirs: str) -> Names:
    """Weight and bias of a map or norm."""
    return _maps(ours, theirs)


def _maps(ours: str, *theirs: str) -> Names:
    return {f"{ours}.{part}": tuple(f"{one}.{part}" for one in theirs) for part in ("weight", "bias")}


def _reading(ours: str, theirs: str) -> Names:
    key_value = _maps(f"{ours}.key_value", f"{theirs}.key", f"{theirs}.value")
    return pair(f"{ours}.query", f"{theirs}.query") | key_value
