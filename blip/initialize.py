"""The paper's starting point: an image encoder from ViT or DeiT weights, a text transformer from BERT's.

Both are read from files in their own layouts (timm, DeiT; BERT as transformers stores it).
"""

import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from blip.errors import InputError
from blip.model import BLIP
from blip.text import TextTransformer
from blip.vision import ImageEncoder, resize_positions

State = dict[str, Tensor]
_IMAGE_BLOCK = {
    "attention_norm": "norm1",
    "attention.qkv": "attn.qkv",
    "attention.out": "attn.proj",
    "mlp_norm": "norm2",
    "mlp.up": "mlp.fc1",
    "mlp.down": "mlp.fc2",
}


def start_from(model: BLIP, *, vision: Path | None = None, text: Path | None = None) -> None:
    """Copy ViT weights into the image encoder and BERT weights into every role of the text transformer.

    Position embeddings are interpolated to the model's image size. Cross-attention, projections,
    the ITM head and the two new word embeddings keep their random start (paper 4.1).
    """
    if vision is not None:
        start_vision(model.image_encoder, read_tensors(vision), str(vision))
    if text is not None:
        start_text(model.text, read_tensors(text), str(text))


def read_tensors(path: Path) -> State:
    """Tensors of a .safetensors or weights-only .pth file; a folder means its model.safetensors."""
    file = path / "model.safetensors" if path.is_dir() else path
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        state = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"There is no weights file {file}; check the path.") from None
    except (OSError, RuntimeError, SafetensorError, EOFError, ValueError):
        raise InputError(f"{file} is no whole weights file; download or export it again.") from None
    except pickle.UnpicklingError as error:  # what torch raises for anything but tensors
        raise InputError(
            f"{file} holds more than tensors and is not loaded ({type(error).__name__}); "
            "convert it to safetensors."
        ) from None
    state = state.get("model", state)
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


@torch.no_grad()
def start_vision(encoder: ImageEncoder, state: State, source: str) -> None:
    """Fill the image encoder from timm's or DeiT's names; the classifier head is left aside."""
    positions = resize_positions(_take(state, "pos_embed", source), encoder.config.tokens)
    new = {"cls": _take(state, "cls_token", source), "positions": positions}
    names = {"patches": "patch_embed.proj", "norm": "norm"}
    for i in range(encoder.config.depth):
        names |= {f"blocks.{i}.{ours}": f"blocks.{i}.{theirs}" for ours, theirs in _IMAGE_BLOCK.items()}
    for ours, theirs in names.items():
        for part in ("weight", "bias"):
            new[f"{ours}.{part}"] = _take(state, f"{theirs}.{part}", source)
    _fill(encoder, new, source)


@torch.no_grad()
def start_text(text: TextTransformer, state: State, source: str) -> None:
    """Fill embeddings, self-attention and MLP of every role, and the LM head's transform, from BERT's names."""
    bert = _BertNames(state, source)
    new: State = {}
    for role in text.embeddings:
        new |= bert.embeddings(f"embeddings.{role}", len(text.embeddings[role].word.weight), text)
    for i, block in enumerate(text.blocks):
        for role in block.self_attention:
            new |= bert.self_attention(f"blocks.{i}.self_attention.{role}", i)
        for role in block.mlp:
            new |= bert.mlp(f"blocks.{i}.mlp.{role}", i)
    _fill(text, new, source)


class _BertNames:
    """BERT's tensors under our names."""

    def __init__(self, state: State, source: str) -> None:
        self.state = {name.removeprefix("bert."): value for name, value in state.items()}
        self.source = source

    def embeddings(self, name: str, words: int, text: TextTransformer) -> State:
        """Word embeddings (the rows BERT has; [DEC] and [ENC] keep their start), positions and norm."""
        role = name.split(".")[-1]
        theirs = self._get("embeddings.word_embeddings.weight")
        if len(theirs) > words:
            raise InputError(
                f"{self.source} has {len(theirs)} words and the model {words}; use BERT's own vocab.txt."
            )
        word = torch.cat([theirs, text.embeddings[role].word.weight[len(theirs) :].cpu()])
        positions = self._get("embeddings.position_embeddings.weight")
        norm = self._pair(f"{name}.norm", "embeddings.LayerNorm")
        return {f"{name}.word.weight": word, f"{name}.position.weight": positions, **norm}

    def self_attention(self, name: str, layer: int) -> State:
        """Query, key and value joined into one map, the output map, the residual norm."""
        at = f"encoder.layer.{layer}.attention"
        joined = {
            f"{name}.qkv.{part}": torch.cat(
                [self._get(f"{at}.self.{which}.{part}") for which in ("query", "key", "value")]
            )
            for part in ("weight", "bias")
        }
        out = self._pair(f"{name}.out", f"{at}.output.dense")
        return joined | out | self._pair(f"{name}.norm", f"{at}.output.LayerNorm")

    def mlp(self, name: str, layer: int) -> State:
        """The feed-forward maps and their residual norm."""
        at = f"encoder.layer.{layer}"
        up = self._pair(f"{name}.mlp.up", f"{at}.intermediate.dense")
        down = self._pair(f"{name}.mlp.down", f"{at}.output.dense")
        return up | down | self._pair(f"{name}.norm", f"{at}.output.LayerNorm")

    def _pair(self, ours: str, theirs: str) -> State:
        return {f"{ours}.{part}": self._get(f"{theirs}.{part}") for part in ("weight", "bias")}

    def _get(self, name: str) -> Tensor:
        # The first BERT files call a norm's weight gamma and its bias beta.
        old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        return _take(self.state, name if name in self.state else old, self.source)


def _take(state: State, name: str, source: str) -> Tensor:
    if name not in state:
        raise InputError(f"{source} lacks {name!r}; give weights of the layout this option names.")
    return state[name]


def _fill(module: nn.Module, new: State, source: str) -> None:
    mine = module.state_dict()
    for name, value in new.items():
        if mine[name].shape != value.shape:
            raise InputError(
                f"{source} has {tuple(value.shape)} where {name} is {tuple(mine[name].shape)}; "
                "choose the model size these weights were made for."
            )
        mine[name].copy_(value)
