"""Pre-training steps at several points, for `lab bench growth`: seconds, memory, bytes held, operations."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch

from blip.config import BlipConfig, named
from blip.model import BLIP
from blip.momentum import FeatureQueue
from blip.tasks.batch import PairBatch
from blip.tasks.pretrain import ObjectiveConfig, Pretrain
from lab.bench import pretrain_flops
from lab.bench.contest import Times, timed
from lab.bench.pretrain_memory import activation_bytes
from lab.bench.pretrain_sides import Ours
from lab.bench.rerank_retrieval import random_texts
from lab.planning_bytes import held_bytes


@dataclass(frozen=True, kw_only=True)
class Point:
    """The shape of a step: pairs, side of an image in pixels, tokens of every text, keys of each queue."""

    batch: int
    image_size: int
    text: int
    queue: int


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all points share."""

    size: str
    device: str
    precision: str
    rounds: int
    seed: int

    def config(self, image_size: int) -> BlipConfig:
        """The model at a side of the images in pixels."""
        return named(self.size, image_size=image_size)


@dataclass(frozen=True)
class Step:
    """A step at a point; the task and its optimizer serve other points of the same image size, too."""

    ours: Ours
    queues: tuple[FeatureQueue, FeatureQueue]

    def step(self, precision: str) -> None:
        """What the loop of `blip.train` does in a step."""
        self._enter()
        self.ours.step(precision)

    def activation_bytes(self, precision: str, device: str) -> int:
        """Most bytes at once of what forward and backward make."""
        self._enter()
        return activation_bytes(partial(self.ours.forward_backward, precision), self.ours.module, device)

    def held_bytes(self) -> dict[str, int]:
        """Bytes that stay from step to step, after at least one; the optimizer's are those of its own tensors."""
        self._enter()
        states = self.ours.optimizer.state.values()
        return held_bytes(self.ours.task) | {"optimizer": sum(t.nbytes for state in states for t in state.values())}

    def _enter(self) -> None:
        self.ours.task.image_queue, self.ours.task.text_queue = self.queues


def measured(sweep: Sequence[Point], setting: Setting, what: str) -> list[dict[str, Any]]:
    """Every point of a sweep with its figures, in order; the points take turns. what: names the sweep in lines."""
    tasks = {side: _task(side, setting) for side in {point.image_size for point in sweep}}
    steps = [_step(tasks[point.image_size], point, setting) for point in sweep]
    ways = {str(number): partial(step.step, setting.precision) for number, step in enumerate(steps)}
    times = timed(ways, setting.rounds, setting.device, f"step, {what}")
    return [
        _told(point, step, times[str(number)], setting)
        for number, (point, step) in enumerate(zip(sweep, steps, strict=True))
    ]


def operations(point: Point, config: BlipConfig) -> float:
    """Floating-point operations of a step by formula."""
    return pretrain_flops.ours(config, point.batch, point.text, point.batch + point.queue)


def by_operations(points: Sequence[Mapping[str, Any]], middle: Mapping[str, Any]) -> list[float]:
    """Seconds of every point if each operation took as long as at the middle point."""
    return [middle["seconds"]["median"] * point["gflop"] / middle["gflop"] for point in points]


def _told(point: Point, step: Step, times: Times, setting: Setting) -> dict[str, Any]:
    config = setting.config(point.image_size)
    return asdict(point) | {
        "image_tokens": config.vision.tokens,
        **times.told(),
        "activation_mib": round(step.activation_bytes(setting.precision, setting.device) / 2**20, 1),
        "bytes": step.held_bytes(),
        "gflop": round(operations(point, config) / 1e9, 3),
    }


def _task(image_size: int, setting: Setting) -> Ours:
    """A task with random weights and its optimizer; its batch and queues are those of no point yet."""
    torch.manual_seed(setting.seed)
    task = Pretrain(BLIP(setting.config(image_size)), ObjectiveConfig(queue=0, seed=setting.seed))
    blank = PairBatch(torch.zeros(1, 3, image_size, image_size), random_texts(1, (2,), "CLS"), torch.arange(1))
    return Ours.of(task.to(setting.device).train(), blank)


def _step(ours: Ours, point: Point, setting: Setting) -> Step:
    torch.manual_seed(setting.seed)
    images = torch.randn(point.batch, 3, point.image_size, point.image_size)
    pairs = PairBatch(images, random_texts(point.batch, (point.text,), "CLS"), torch.arange(point.batch))
    width = ours.task.model.config.embed_dim
    images_queue, texts_queue = (FeatureQueue(point.queue, width).to(setting.device) for _ in range(2))
    return Step(Ours(ours.task, pairs.to(setting.device), ours.optimizer), (images_queue, texts_queue))
