"""`lab bench encoder`: the image encoder here, in transformers' BLIP and in open_clip, in one run.

transformers has the same random weights and must give the same states. open_clip's ViT has the same sizes; it has
one norm more and other weights, so nothing of it is compared but its time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from blip.config import VisionConfig, named
from blip.precision import precision
from lab.bench.capfilt_flops import image_flops
from lab.bench.contest import agreed, agreement, concluded, limit, timed, versus
from lab.bench.running import check_counts, check_running
from lab.bench.transformers_weights import filters

SIDES = (224, 384)
TARGETS = {"cpu": 1.1, "cuda": 1.2}
HOW = (
    "Inference from pixels to states. open_clip's is its ViT-B/16 where the size is base: same width, depth, heads and "
    "patches, other weights and one norm more. The operations are the same in all three."
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure the image encoder against transformers' BLIP and open_clip's ViT."""

    size: str = "base"
    """Size of the encoder by name: nano, tiny, small, base or large."""
    batch: int = 8
    """Images a call."""
    rounds: int = 5
    """Rounds of each encoder; the medians are compared."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    """cpu or cuda."""
    precision: str = "float32"
    """float32 or bf16 (autocast on all sides)."""
    out: Path | None = None
    """The record, JSON; by default encoder-DEVICE.json, or with -bf16, among the benches' records."""
    seed: int = 0
    """Of weights and pixels."""


def main(options: Options) -> int:
    """Measure, print, record; 1 if a target is missed or the states disagree."""
    check_running(options.device, options.precision)
    check_counts(options, "batch", "rounds")
    cases: dict[str, dict[str, Any]] = {}
    for side in SIDES:
        cases |= _cases(side, options)
    return concluded("encoder", options, {"how": HOW, "unit": "seconds a batch"}, cases)


def _cases(side: int, options: Options) -> dict[str, dict[str, Any]]:
    """Ours at one image size against each peer."""
    config = named(options.size, image_size=side)
    twins = filters(config, device=options.device, seed=options.seed)
    theirs, clip = twins.peer.vision_model, open_clip(config.vision).to(options.device).eval()
    pixels = torch.randn(options.batch, 3, side, side).to(options.device)

    def quietly(encode: Callable[[Tensor], Any]) -> Any:
        with torch.inference_mode(), precision(torch.device(options.device), options.precision):
            return encode(pixels)

    encoders = {"ours": twins.ours.model.encode_image, "transformers": theirs, "open_clip": clip}
    ways = {name: partial(quietly, encode) for name, encode in encoders.items()}
    found = agreement(ways["ours"](), ways["transformers"]().last_hidden_state, options.precision)
    times = timed(ways, options.rounds, options.device, f"{side} px")
    flops, target = options.batch * image_flops(config.vision), TARGETS[options.device.split(":")[0]]
    compared = {f"{side} px, {peer}": versus(times["ours"], times[peer], target) for peer in ("transformers", "open_clip")}
    compared[f"{side} px, transformers"] = agreed(compared[f"{side} px, transformers"], found)
    return {name: case | {"limit": limit(flops, flops)} for name, case in compared.items()}


def open_clip(config: VisionConfig) -> nn.Module:
    """open_clip's image encoder at these sizes; for base its ViT-B/16 (projection 512)."""
    return VisionTransformer(
        image_size=config.image_size,
        patch_size=config.patch_size,
        width=config.width,
        layers=config.depth,
        heads=config.heads,
        mlp_ratio=config.mlp_ratio,
    )
