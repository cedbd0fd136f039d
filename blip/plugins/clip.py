"""CLIP score as a filter, through open_clip: any of its models, from a file, a folder or its hubs."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from blip.errors import InputError
from blip.precision import precision
from blip.tiles import TILE, filled

_LOCAL, _HUB = "local-dir:", "hf-hub:"


class ClipFilter:
    """Cosine of a caption and its image in a CLIP model's space, the column `cosine`.

    CLIPScore (Hessel et al. 2021) is 2.5 times it, never below 0. Images and texts go through the
    model in fixed tiles of `tile`, so that bytes do not depend on what else is scored.

    source: MODEL:CHECKPOINT, a name that open_clip knows with a file of weights or one of open_clip's
    tags (which it downloads); a folder with open_clip_config.json and weights; or hf-hub:NAME (a
    download). Of texts the model reads what fits its context, untouched: its tokenizer cleans them.
    """

    columns = ("cosine",)

    def __init__(self, source: str, *, device: str = "cpu", dtype: str = "float32", tile: int = TILE) -> None:
        self.model, self._transform, self._tokenizer = _opened(source)
        self.id = _fingerprint(self.model, self.model.visual.preprocess_cfg)
        self.reads = ("clip", self.id)
        self.model.eval().to(device)
        self.device, self.dtype, self.tile = torch.device(device), dtype, tile

    def prepare(self, image: Image.Image) -> Tensor:
        """What the model reads of an image: (3, H, W). Safe to call from threads."""
        return self._transform(image)

    @torch.inference_mode()
    def __call__(
        self, prepared: Sequence[Tensor], texts: Sequence[Sequence[str]]
    ) -> list[list[tuple[float, ...]]]:
        """For each image and each of its texts a value of every column."""
        flat = [text for own in texts for text in own]
        with precision(self.device, self.dtype):
            images = self._tiles(prepared, lambda part: self.model.encode_image(filled(part, self.tile).to(self.device)))
            found = self._tiles(flat, self._encode_texts)
        owners = [image for image, own in enumerate(texts) for _ in own]
        # One product a row: a matrix of all of them would have a shape of its own.
        cosines = iter([float(np.dot(images[owner], text)) for owner, text in zip(owners, found, strict=True)])
        return [[(next(cosines),) for _ in own] for own in texts]

    def _encode_texts(self, texts: Sequence[str]) -> Tensor:
        return self.model.encode_text(self._tokenizer([*texts, *[""] * (self.tile - len(texts))]).to(self.device))

    def _tiles(self, rows: Sequence[Any], encode: Any) -> list[np.ndarray]:
        """Unit vectors of all rows, `tile` at a time."""
        parts = [rows[start : start + self.tile] for start in range(0, len(rows), self.tile)]
        return [
            vector
            for part in parts
            for vector in F.normalize(encode(part).float(), dim=-1)[: len(part)].cpu().numpy()
        ]


def _opened(source: str) -> tuple[Any, Any, Any]:
    """Model, image transform and tokenizer, which have no types; every way to fail is an InputError."""
    import open_clip

    name, checkpoint = _named(source, open_clip.list_models())
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it reports every step of loading to the root logger
    try:
        model, _, transform = open_clip.create_model_and_transforms(
            name, pretrained=checkpoint, require_pretrained=True, pretrained_image=False, pretrained_text=False
        )
        return model, transform, open_clip.get_tokenizer(name)
    except ModuleNotFoundError:
        raise
    except Exception as error:  # files of any kind: open_clip, torch and safetensors raise what they like
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"The CLIP model {source} cannot be opened ({reason.rstrip('.')}); give open_clip's name of the "
            "model with a file of its weights, or a folder with open_clip_config.json."
        ) from error
    finally:
        logging.disable(level)


def _named(source: str, known: Sequence[str]) -> tuple[str, str | None]:
    """open_clip's own words for a source: a name, and a checkpoint where the name brings none."""
    if source.startswith(_HUB):
        return source, None
    if Path(source).is_dir():
        return _LOCAL + source, None
    name, _, checkpoint = source.partition(":")
    if name not in known:
        raise InputError(
            f"open_clip knows no model {name!r}, and there is no such folder; give a name from "
            "open_clip.list_models() with a checkpoint, as in ViT-B-32:weights.pt."
        )
    if not checkpoint:
        raise InputError(f"The CLIP model {name} needs weights; give {name}:FILE or {name}:TAG.")
    return name, checkpoint


def _fingerprint(model: nn.Module, transform: Mapping[str, Any]) -> str:
    """16 hex digits of the weights, the kinds of layers and the image transform: what scores depend on."""
    digest = hashlib.sha256()
    digest.update(repr(sorted({type(part).__name__ for part in model.modules()})).encode())
    digest.update(repr(sorted(transform.items())).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
