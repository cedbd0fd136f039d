"""`lab bench pretrain`: a pre-training step here beside the published algorithm written plainly, in one run.

Both have the same random weights, pairs and hard-negative rule. Four ways take turns in one process: each side in
float32 and under bf16 autocast. Activation memory is measured in a step of its own.
"""

import gc
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from blip.compiled import compile_image_blocks
from blip.config import BlipConfig, named
from blip.errors import InputError
from lab.bench import pretrain_flops
from lab.bench.contest import Times, agreed, concluded, limit, product_flops, timed, versus
from lab.bench.pretrain_memory import HOW as MEMORY
from lab.bench.pretrain_memory import activation_bytes
from lab.bench.pretrain_peer import MAX_TOKENS
from lab.bench.pretrain_sides import Ours, Plain, both_losses, random_pairs, sides
from lab.bench.running import check_counts, check_running

LENGTHS = tuple(range(8, 16))
TOLERANCE = 1e-3
"""Largest difference of a loss at which both sides have computed the same."""
DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}
PAIRS = (("float32", "float32"), ("bf16", "float32"), ("bf16", "bf16"))
"""Precisions that are compared: ours, the peer's."""
TARGETS = {
    "cpu": {("float32", "float32"): 1.8, ("bf16", "float32"): 3.5},
    "cuda": {("bf16", "float32"): 8.0, ("bf16", "bf16"): 2.5},
}
MEMORY_TARGET = 0.5
LARGEST_BYTES = 141e9
"""The memory of an H200."""
USEFUL = {"cuda": {"bf16": 0.4}}
"""Share of the measured matrix-product peak that our step must turn into useful operations."""
HOW = (
    "A step is forward, backward, optimizer, momentum encoders and queues. The peer is written from the paper in the "
    "bench: texts padded to 30 tokens, two ITM passes of B and 2B pairs, keys and values computed in each, momentum "
    "encoders updated parameter by parameter, eager attention, torch's ordinary layers and AdamW. It reproduces the "
    "losses of the published code on tiny weights to 1e-5 (a test). Ours also computes the gradient's norm. Dropout "
    "is on in both. Random weights, pixels and words."
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure a pre-training step against the published algorithm written plainly."""

    size: str = "base"
    """Size of the models by name: nano, tiny, small, base or large."""
    image_size: int = 224
    """Side of the images in pixels."""
    batch: int = 8
    """Pairs a step; on a GPU as many as fit both sides."""
    queue: int = 57_600
    """Keys of each queue, a multiple of the batch (published: 57,600)."""
    rounds: int = 3
    """Steps of each way; the medians are compared."""
    compile_blocks: bool = False
    """Compile our image encoders' blocks, as lab pretrain --compile-blocks does; the agreement is measured before."""
    largest: int = 768 if torch.cuda.is_available() else 0
    """Pairs of a step of ours alone, under bf16, whose whole memory is measured on a GPU; 0 leaves it out."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    """cpu or cuda."""
    out: Path | None = None
    """The record, JSON; by default pretrain-DEVICE.json among the benches' records."""
    seed: int = 0
    """Of weights, pairs and draws."""


def main(options: Options) -> int:
    """Measure, print, record; 1 if a target is missed or the losses disagree."""
    _check(options)
    config = named(options.size, image_size=options.image_size)
    ours, plain = sides(
        config,
        batch=options.batch,
        lengths=LENGTHS,
        queue=options.queue,
        device=options.device,
        seed=options.seed,
    )
    same = _agreement(both_losses(ours, plain))
    if options.compile_blocks:
        compile_image_blocks(ours.task)
    memory = _memory(ours, plain, options.device)
    ways = {
        f"{name}, {dtype}": partial(side.step, dtype)
        for dtype in DTYPES
        for name, side in (("ours", ours), ("peer", plain))
    }
    times = timed(ways, options.rounds, options.device, "step")
    flops = _flops(config, ours, options)
    cases = {
        _name(pair): agreed(_case(times, pair, options.device), same) | {"limit": limit(flops["ours"], flops["peer"])}
        for pair in PAIRS
    }
    cases |= memory | _useful(times, flops["ours"], options.device)
    result: dict[str, Any] = {"how": HOW, "unit": "seconds a step", "shapes": _shapes(config, ours)}
    del plain, ways  # its weights and optimizer are not ours
    if options.largest:
        try:
            cases |= _largest(config, ours, options)
        except torch.OutOfMemoryError:  # what was measured before is not lost
            result["did_not_fit"] = options.largest
            print(f"{options.largest} pairs do not fit on this GPU; --largest takes fewer.")
    return concluded("pretrain", options, result, cases)


def _case(times: dict[str, Times], pair: tuple[str, str], device: str) -> dict[str, Any]:
    target = TARGETS[device.split(":")[0]].get(pair)
    own, theirs = times[f"ours, {pair[0]}"], times[f"peer, {pair[1]}"]
    return versus(own, theirs, target) | {"precision": _name(pair)}


def _name(pair: tuple[str, str]) -> str:
    return pair[0] if pair[0] == pair[1] else f"{pair[0]} against {pair[1]}"


def _memory(ours: Ours, plain: Plain, device: str) -> dict[str, dict[str, Any]]:
    """Activation memory of both sides in both precisions; here a lower ratio is better."""
    found = {}
    for name in DTYPES:
        own, theirs = (
            activation_bytes(partial(side.forward_backward, name), side.module, device)
            for side in (ours, plain)
        )
        ratio = own / theirs
        print(f"activation memory, {name}: ours {own / 2**20:,.0f} MiB, peer {theirs / 2**20:,.0f} MiB", flush=True)
        found[f"activation memory, {name}"] = {
            "what": MEMORY[device.split(":")[0]],
            "ours": {"mib": round(own / 2**20, 1)},
            "peer": {"mib": round(theirs / 2**20, 1)},
            "ratio": round(ratio, 3),
            "better": "lower",
            "precision": name,
            "target": MEMORY_TARGET,
            "reached": ratio <= MEMORY_TARGET,
        }
    return found


def _largest(config: BlipConfig, ours: Ours, options: Options) -> dict[str, dict[str, Any]]:
    """Whole memory and useful operations of bf16 steps of our task alone, with as many pairs as `largest` says."""
    ours.steps.clear()
    gc.collect()  # graphs of the smaller batch, and the memory that they keep
    torch.cuda.empty_cache()
    more = Ours(ours.task, random_pairs(config, options.largest, LENGTHS).to(options.device), ours.optimizer)
    torch.cuda.reset_peak_memory_stats()
    times = timed({"ours, bf16": partial(more.step, "bf16")}, options.rounds, options.device, f"{options.largest} pairs")
    peak, limit = torch.cuda.max_memory_allocated(), LARGEST_BYTES
    print(f"memory of {options.largest} pairs, bf16: {peak / 1e9:,.1f} GB", flush=True)
    flops = pretrain_flops.ours(config, options.largest, more.batch.tokens.ids.shape[1], options.largest + options.queue)
    useful = _useful(times, flops, options.device, ("bf16",))["useful operations, bf16"]
    return {
        f"memory of {options.largest} pairs, bf16": {
            "what": "most bytes that torch's allocator held: weights, teacher, optimizer, queues, activations",
            "ours": {"mib": round(peak / 2**20, 1)},
            "limit_mib": round(limit / 2**20, 1),
            "ratio": round(peak / limit, 3),
            "better": "lower",
            "precision": "bf16",
            "target": 1.0,
            "reached": peak <= limit,
        },
        f"useful operations of {options.largest} pairs, bf16": useful | {"seconds": times["ours, bf16"].told()},
    }


def _agreement(losses: dict[str, tuple[float, float]]) -> dict[str, Any]:
    difference = max(abs(own - theirs) for own, theirs in losses.values())
    return {
        "losses": {name: {"ours": own, "peer": theirs} for name, (own, theirs) in losses.items()},
        "largest_difference": difference,
        "tolerance": TOLERANCE,
        "agree": difference <= TOLERANCE,
    }


def _flops(config: BlipConfig, ours: Ours, options: Options) -> dict[str, float]:
    keys, length = options.batch + options.queue, ours.batch.tokens.ids.shape[1]
    return {
        "ours": pretrain_flops.ours(config, options.batch, length, keys),
        "peer": pretrain_flops.published(config, options.batch, MAX_TOKENS, keys),
    }


def _useful(
    times: dict[str, Times], flops: float, device: str, names: Sequence[str] = tuple(DTYPES)
) -> dict[str, dict[str, Any]]:
    """Our operations a second as a share of those of a large matrix product, by precision."""
    found = {}
    for name in names:
        peak, rate = product_flops(device, DTYPES[name]), flops / times[f"ours, {name}"].told()["seconds"]["median"]
        target = USEFUL.get(device.split(":")[0], {}).get(name)
        found[f"useful operations, {name}"] = {
            "what": "operations of the step by formula a second, over those of a large matrix product",
            "ours": {"gflop_a_second": round(rate / 1e9, 1)},
            "peak": {"gflop_a_second": round(peak / 1e9, 1)},
            "ratio": round(rate / peak, 3),
            "better": "higher",
            "precision": name,
            "target": target,
            "reached": target is None or rate / peak >= target,
        }
    return found


def _shapes(config: BlipConfig, ours: Ours) -> dict[str, Any]:
    return {
        "pairs": len(ours.batch.ids),
        "image_tokens": config.vision.tokens,
        "text_tokens": ours.batch.tokens.keep.sum(dim=1).tolist(),
        "text_tokens_padded": ours.batch.tokens.ids.shape[1],
        "text_tokens_peer": MAX_TOKENS,
    }


def _check(options: Options) -> None:
    named(options.size, image_size=options.image_size)
    check_counts(options, "batch", "queue", "rounds")
    if options.queue % options.batch:
        raise InputError(f"--queue {options.queue} is no multiple of --batch {options.batch}, which the peer needs; give one.")
    check_running(options.device, "float32")
    if options.largest and not options.device.startswith("cuda"):
        raise InputError(f"--largest {options.largest} measures a GPU's memory; give --largest 0, or --device cuda.")
