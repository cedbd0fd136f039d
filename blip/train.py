"""Training: parameter groups, precision, exact resume, and one visible loop."""

import contextlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from blip.distributed import is_main
from blip.errors import InputError
from blip.resume import Keeper
from blip.schedules import Schedule
from blip.tasks.batch import Losses, TaskBatch

PRECISIONS = ("float32", "bf16")


class Feed(Protocol):
    """Where batches come from: endless, and its position can be saved and set."""

    def __next__(self) -> TaskBatch: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a task is trained; every field lands in the run's record."""

    schedule: Schedule
    weight_decay: float = 0.05
    """Of tensors with two or more dimensions; biases, norms and the temperature are not decayed."""
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float | None = 1.0
    """Largest norm of the gradient; None leaves it (the published code does not clip)."""
    accumulate: int = 1
    """Micro-batches an optimizer step."""
    precision: str = "float32"
    """float32, or bf16 autocast with float32 weights, logits and losses."""
    seed: int = 0
    log_every: int = 10
    save_seconds: float = 120.0
    """A resumable checkpoint is written when this long has passed, and at the end."""

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise InputError(
                f"There is no precision {self.precision!r}; choose one of {', '.join(PRECISIONS)}."
            )
        if self.accumulate < 1:
            raise InputError(f"{self.accumulate} micro-batches a step cannot be; give 1 or more.")


def train(
    task: nn.Module,
    feed: Feed,
    config: TrainConfig,
    *,
    out: Path | None = None,
    stop_at: int | None = None,
    progress: Callable[[dict[str, float]], None] | None = None,
) -> list[dict[str, float]]:
    """Train a task to the end of its schedule and return the logged rows.

    With `out`, rows go to `metrics.jsonl` and resumable checkpoints to `checkpoints/`; a run that
    finds one continues from it exactly. `stop_at` ends early at that step, checkpoint written.
    """
    torch.manual_seed(config.seed)
    optimizer = build_optimizer(task, config)
    keeper = Keeper(out, task, optimizer, feed)
    step = keeper.resume() if out else 0
    rows = _earlier_rows(out, step)
    end = min(stop_at or config.schedule.steps, config.schedule.steps)
    clock = Clock()
    task.train()
    while step < end:
        rate, alpha = set_rate(optimizer, config.schedule, step), config.schedule.soft_target_weight(step)
        parts = []
        for _ in range(config.accumulate):
            losses, samples = forward_backward(task, next(feed), alpha, config)
            parts.append(losses)
            clock.count(samples)
        norm = clip_gradients(task, config.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        task.after_step([losses.features for losses in parts if losses.features is not None])
        step += 1
        if step % config.log_every == 0 or step == end:
            rows.append(row := log_row(step, parts, rate=rate, alpha=alpha, norm=norm, clock=clock))
            _append(out, row)
            if progress is not None:
                progress(row)
        if out and (step == end or keeper.due(config.save_seconds)):
            keeper.save(step)
    return rows


def build_optimizer(task: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW over two groups: matrices are decayed, everything else is not."""
    trained = [p for p in task.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.schedule.peak, betas=config.betas, fused=True)


def set_rate(optimizer: torch.optim.Optimizer, schedule: Schedule, step: int) -> float:
    """Set and return the learning rate of a step."""
    rate = schedule.learning_rate(step)
    for group in optimizer.param_groups:
        group["lr"] = rate
    return rate


def forward_backward(
    task: nn.Module, batch: TaskBatch, alpha: float, config: TrainConfig
) -> tuple[Losses, int]:
    """One micro-batch: losses, and their gradients added to the parameters'."""
    device = next(task.parameters()).device
    batch = batch.to(device)
    with precision(device, config.precision):
        losses = task(batch, alpha)
    if not torch.isfinite(losses.total):
        bad = [name for name, loss in losses.parts.items() if not torch.isfinite(loss)]
        raise FloatingPointError(f"The loss {', '.join(bad)} is not finite at step {batch.step}.")
    (losses.total / config.accumulate).backward()
    return losses, len(batch.ids)


def precision(device: torch.device, name: str) -> contextlib.AbstractContextManager:
    """The autocast context of a precision by name; logits and losses are float32 in every one."""
    if name == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def clip_gradients(task: nn.Module, limit: float | None) -> float:
    """Scale the gradient down to a norm of at most `limit`; return the norm before."""
    trained = [p for p in task.parameters() if p.grad is not None]
    return float(nn.utils.clip_grad_norm_(trained, math.inf if limit is None else limit))


class Clock:
    """Samples a second since it was last read."""

    def __init__(self) -> None:
        self.samples, self.start = 0, time.perf_counter()

    def count(self, samples: int) -> None:
        """Add samples."""
        self.samples += samples

    def read(self) -> float:
        """The rate since the last reading, and begin anew."""
        now = time.perf_counter()
        rate = self.samples / max(now - self.start, 1e-9)
        self.samples, self.start = 0, now
        return rate


def log_row(
    step: int, parts: list[Losses], *, rate: float, alpha: float, norm: float, clock: Clock
) -> dict[str, float]:
    """One line of metrics.jsonl: the step's losses by name and how training stands."""
    names = parts[0].parts
    row = {name: float(sum(p.parts[name].detach() for p in parts)) / len(parts) for name in names}
    row |= {"step": step, "learning_rate": rate, "alpha": alpha, "gradient_norm": norm}
    return row | {"samples_per_second": clock.read()}


def _earlier_rows(out: Path | None, step: int) -> list[dict[str, float]]:
    """Rows up to the step resumed from; what was logged after it will be logged again."""
    path = out / "metrics.jsonl" if out else None
    if path is None or not path.exists():
        return []
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    rows = [row for row in rows if row["step"] <= step]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return rows


def _append(out: Path | None, row: dict[str, float]) -> None:
    if out and is_main():
        out.mkdir(parents=True, exist_ok=True)
        with (out / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
