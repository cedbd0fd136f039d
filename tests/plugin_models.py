"""Tiny local models in the layouts of open_clip and transformers, made offline."""

import json

import open_clip
import torch
from safetensors.torch import save_file
from toy_models import toy_model
from transformers_models import toy_tokenizer

from blip.checkpoint.folders import write_folder
from blip.model import narrowed

CLIP_CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 16, "layers": 1, "width": 64, "patch_size": 8},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


def clip_folder(folder, *, quick_gelu=False):
    """A random CLIP as open_clip's local-dir has it."""
    torch.manual_seed(0)
    config = CLIP_CONFIG | {"quick_gelu": quick_gelu}
    model = open_clip.CLIP(**config)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    written = {"model_cfg": config, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}}
    (folder / "open_clip_config.json").write_text(json.dumps(written))
    return folder


def captioning_folder(folder, seed=0):
    """Our toy captioner as transformers' BlipForConditionalGeneration, and ours."""
    model = narrowed(toy_model(seed, spread=0.3), "decode").eval()
    return write_folder(folder, model, toy_tokenizer()), model
