"""`lab bench growth`: how the cost of a pre-training step and of CapFilt grows, one thing at a time from a middle point.

A step: batch, image size, text length, queue. CapFilt, with the shipped weights over generated tars: images, synthetic
captions an image, processes, images of a tile. A fit says how each cost grows, with its residual.
"""

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from blip.config import named
from blip.errors import InputError
from lab.bench import growth_capfilt, growth_steps
from lab.bench.growth_capfilt import Load
from lab.bench.growth_figure import figure
from lab.bench.growth_fit import LINEAR, SQUARE, fitted, told
from lab.bench.growth_steps import Point
from lab.bench.killing import world_tars
from lab.bench.pretrain_memory import HOW as MEMORY
from lab.bench.running import check_counts, check_running, record_path
from lab.figures import save
from lab.records import DRAWN, record, write_record

STEP_AXES = {
    "batch": ("batch", LINEAR),
    "image size": ("image_tokens", SQUARE),
    "text length": ("text", SQUARE),
    "queue": ("queue", LINEAR),
}
CAPFILT_AXES = {"images": ("images", LINEAR), "captions an image": ("candidates", LINEAR)}
"""What is varied -> what its costs are fitted against, and the powers of the fit."""
STEP_COSTS = ("seconds", "processor_seconds", "activation_mib")
CAPFILT_COSTS = ("seconds", "processor_seconds")
FEWEST = {"image_sizes": 3, "texts": 3, "workers": 1, "tiles": 1}
"""Numbers that a sweep needs where it is not 2: as many as its fit has terms."""
HOW = (
    "Random weights, pixels and words; forward, backward, optimizer, momentum encoders and queues. Points of a sweep take "
    "turns. CapFilt: shipped weights, every point in a process of its own, its start-up apart, after a warm-up; memory "
    "is the sum of its processes' peaks. Fits: least relative squares, no term below 0; the residual is the farthest "
    "that a measured median lies from the fit. By operations: seconds if each operation of the formula took as long as at "
    "the sweep's middle point."
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure how step time, memory and CapFilt grow, and fit it."""

    size: str = "base" if torch.cuda.is_available() else "small"
    """Size of the pre-trained model by name: nano, tiny, small, base or large."""
    batches: tuple[int, ...] = (2, 4, 8, 16)
    """Pairs a step."""
    image_sizes: tuple[int, ...] = (96, 128, 160, 192, 224)
    """Sides of the images in pixels."""
    texts: tuple[int, ...] = (8, 16, 32, 48, 64)
    """Tokens of every text."""
    queues: tuple[int, ...] = (0, 14_400, 28_800, 57_600)
    """Keys of each queue (published: 57,600)."""
    batch: int = 8
    """Pairs of the middle point."""
    image_size: int = 160
    """Pixels of the middle point."""
    text: int = 16
    """Tokens of the middle point."""
    queue: int = 14_400
    """Keys of the middle point."""
    images: tuple[int, ...] = (512, 1024, 2048, 4096)
    """Images through CapFilt; the other CapFilt points have the middle one."""
    candidates: tuple[int, ...] = (1, 2, 4, 8)
    """Synthetic captions an image; the other points have the first one."""
    workers: tuple[int, ...] = (1, 2)
    """Processes of CapFilt; the other points have the first one."""
    tiles: tuple[int, ...] = (8, 16, 32)
    """Images of a tile; the other points have the middle one."""
    threads: int = 1
    """Threads of each CapFilt process's models."""
    rounds: int = 3
    """Of every point; the medians are fitted."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    """cpu or cuda."""
    precision: str = "float32"
    """Of the pre-training step: float32 or bf16."""
    out: Path | None = None
    """The record, JSON; by default growth-DEVICE.json among the benches' records."""
    plot: Path = DRAWN / "growth.png"
    """The picture, PNG."""
    seed: int = 0
    """Of weights, pairs and draws."""


def main(options: Options) -> int:
    """Measure, fit, draw, record."""
    _check(options)
    load = round(os.getloadavg()[0], 2)
    result = {"how": HOW, "device": options.device, "precision": options.precision, "load_average_before": load}
    result |= {"size": options.size, "activation_memory": MEMORY[options.device.split(":")[0]]}
    result |= {"steps": _steps(options), "capfilt": _capfilt(options), "load_average_after": round(os.getloadavg()[0], 2)}
    path = options.out or record_path("growth", options.device, options.precision)
    config = asdict(options) | {"out": path.name, "plot": options.plot.name}
    write_record(path, record("bench-growth", result, seed=options.seed, config=config))
    print("\n".join(lines(result)))
    print(f"plot: {save(figure(result), options.plot)}")
    print(f"record: {path}")
    return 0


def step_points(options: Options) -> dict[str, list[Point]]:
    """The points of each sweep of the pre-training step."""
    middle = Point(batch=options.batch, image_size=options.image_size, text=options.text, queue=options.queue)
    return {
        "batch": [replace(middle, batch=pairs) for pairs in options.batches],
        "image size": [replace(middle, image_size=side) for side in options.image_sizes],
        "text length": [replace(middle, text=tokens) for tokens in options.texts],
        "queue": [replace(middle, queue=keys) for keys in options.queues],
    }


def loads(options: Options) -> dict[str, list[Load]]:
    """The points of each sweep of CapFilt."""
    middle = Load(
        images=_middle(options.images),
        candidates=options.candidates[0],
        workers=options.workers[0],
        tile=_middle(options.tiles),
    )
    return {
        "images": [replace(middle, images=count) for count in options.images],
        "captions an image": [replace(middle, candidates=count) for count in options.candidates],
        "workers": [replace(middle, workers=count) for count in options.workers],
        "tile": [replace(middle, tile=count) for count in options.tiles],
    }


def lines(result: Mapping[str, Any]) -> list[str]:
    """One printed line a fit, then the workers."""
    said = [
        f"{part}, {name}, {cost}: {told(fit)}"
        for part in ("steps", "capfilt")
        for name, sweep in result[part].items()
        for cost, fit in sweep["fits"].items()
    ]
    for point in result["capfilt"]["workers"]["points"]:
        said.append(f"capfilt, {point['workers']} processes: {point['images_per_second']:,.0f} images a second")
    return said


def _steps(options: Options) -> dict[str, Any]:
    setting = growth_steps.Setting(
        size=options.size,
        device=options.device,
        precision=options.precision,
        rounds=options.rounds,
        seed=options.seed,
    )
    found = {}
    for name, sweep in step_points(options).items():
        points = growth_steps.measured(sweep, setting, name)
        axis, powers = STEP_AXES[name]
        fits = {cost: _fit(points, axis, cost, powers) for cost in STEP_COSTS}
        expected = growth_steps.by_operations(points, _middle(points))
        found[name] = {"points": points, "fits": fits, "seconds_by_operations": [round(one, 4) for one in expected]}
    return found


def _capfilt(options: Options) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="growth-") as folder:
        setting = growth_capfilt.Setting(
            tars=world_tars(Path(folder), max(options.images), options.seed),
            device=options.device,
            threads=options.threads,
            rounds=options.rounds,
            seed=options.seed,
        )
        sweeps = loads(options)
        distinct = list(dict.fromkeys(load for sweep in sweeps.values() for load in sweep))
        points = dict(zip(distinct, growth_capfilt.measured(distinct, setting), strict=True))
    return {name: _sweep(name, [points[load] for load in sweep]) for name, sweep in sweeps.items()}


def _sweep(name: str, points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Points of CapFilt with the fits of what there is one for."""
    if name not in CAPFILT_AXES:
        return {"points": points, "fits": {}}
    axis, powers = CAPFILT_AXES[name]
    return {"points": points, "fits": {cost: _fit(points, axis, cost, powers) for cost in CAPFILT_COSTS}}


def _fit(points: Sequence[Mapping[str, Any]], axis: str, cost: str, powers: tuple[int, ...]) -> dict[str, Any]:
    values = [point[cost]["median"] if isinstance(point[cost], dict) else point[cost] for point in points]
    return {"of": axis} | asdict(fitted([point[axis] for point in points], values, powers))


def _middle(values: Sequence[Any]) -> Any:
    return values[(len(values) - 1) // 2]


def _check(options: Options) -> None:
    check_counts(options, "batch", "text", "threads", "rounds")
    for name in ("batches", "image_sizes", "texts", "queues", "images", "candidates", "workers", "tiles"):
        values, least, fewest = getattr(options, name), int(name != "queues"), FEWEST.get(name, 2)
        if min(values, default=-1) < least or len(set(values)) < fewest:
            raise InputError(
                f"--{name.replace('_', '-')} must name {fewest} or more different numbers of {least} or more, for its fit."
            )
    if min(options.text, *options.texts) < 2:
        raise InputError("--text and --texts cannot be 1; a text has at least its first token and [SEP].")
    if options.queue < 0:
        raise InputError(f"--queue {options.queue} cannot be; give 0 or more.")
    for side in (options.image_size, *options.image_sizes):
        named(options.size, image_size=side)
    check_running(options.device, options.precision)
