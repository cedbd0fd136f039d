"""Training: parameter groups, precision, exact resume, and one visible loop."""

import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from blip.ahead import read_ahead
from blip.captured_steps import CapturedSteps, Steps, can_be_captured
from blip.compiled import compile_image_blocks
from blip.distributed import average_gradients, begin_equal, first_row, largest, mean, world_size
from blip.dropout import keyed, own_draws
from blip.errors import InputError
from blip.guard import POLICIES, Guard, NotFinite, refuse_losses
from blip.log import Clock, append, earlier_rows, log_row
from blip.precision import PRECISIONS, precision, products
from blip.profiling import profiled
from blip.resume import Keeper, kept_if_lost
from blip.schedules import Schedule
from blip.signals import stop_signals, stopped
from blip.tasks.batch import Batches, Feed, Losses, TaskBatch
from blip.vision import ImageEncoder


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
    """float32, tf32 (float32 with TF32 matrix products on a GPU), or bf16 autocast with float32 weights, losses, ITC
    features and ITM logits; the other logits are rounded to bf16."""
    checkpoint_blocks: int = 0
    """Last blocks of every image encoder that are recomputed in the backward pass: less memory, more time."""
    compile_blocks: bool = False
    """Compile the image encoders' blocks (torch.compile), for a GPU; needs a C compiler, for which the first step waits."""
    seed: int = 0
    log_every: int = 10
    save_seconds: float = 120.0
    """A resumable checkpoint is written when this long has passed, and at the end."""
    kept: int = 2
    """The last checkpoints that are kept."""
    not_finite: str = "stop"
    """What a loss or gradient that is not finite does: stop the run, or skip that step."""
    most_skipped: int = 10
    """Steps skipped in a row; one more stops the run."""
    keyed_dropout: bool = False
    """Dropout drawn for each sample by (seed, step, row): the same on any number of processes, but for VQA
    and visual dialog, whose texts are grouped by image and padded, which moves their draws. Otherwise each process
    draws from torch's generator, which is far faster on a GPU, and other numbers of processes draw otherwise."""

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise InputError(
                f"There is no precision {self.precision!r}; choose one of {', '.join(PRECISIONS)}."
            )
        if not 0 <= self.weight_decay < math.inf:
            raise InputError(f"A weight decay of {self.weight_decay:g} cannot be; give a finite number, 0 or more.")
        if self.clip is not None and not 0 < self.clip < math.inf:
            raise InputError(f"A gradient's norm of at most {self.clip:g} cannot be; give a number above 0, or none.")
        if self.checkpoint_blocks < 0:
            raise InputError(f"{self.checkpoint_blocks} recomputed blocks cannot be; give 0 or more.")
        if self.accumulate < 1:
            raise InputError(f"{self.accumulate} micro-batches a step cannot be; give 1 or more.")
        if self.kept < 1:
            raise InputError(f"{self.kept} checkpoints kept cannot be; give 1 or more.")
        if self.most_skipped < 0:
            raise InputError(f"{self.most_skipped} skipped steps in a row cannot be; give 0 or more.")
        if self.not_finite not in POLICIES:
            raise InputError(
                f"There is no policy {self.not_finite!r} for what is not finite; choose one of {', '.join(POLICIES)}."
            )


def train(
    task: nn.Module,
    feed: Feed,
    config: TrainConfig,
    *,
    out: Path | None = None,
    stop_at: int | None = None,
    progress: Callable[[dict[str, float]], None] | None = None,
    profile: Path | None = None,
    made_of: Mapping[str, Any] | None = None,
) -> list[dict[str, float]]:
    """Train a task to the end of its schedule and return the logged rows.

    With `out`, rows go to `metrics.jsonl` and resumable checkpoints to `checkpoints/`; a run that finds one continues from it
    exactly, on any number of processes. SIGTERM and SIGINT end the step, save and raise `Stopped`. `stop_at` ends early at
    that step, checkpoint written. profile: a folder for a trace of a few steps. made_of: what decides on the result, by
    readable names with plain values; a checkpoint made of anything else is refused. In a process group every process calls
    this with the same arguments; InputError where one of them is lost.
    """
    torch.manual_seed(config.seed)
    prepare_blocks(task, config)
    optimizer = build_optimizer(task, config)
    guard, take = Guard(config.not_finite, config.most_skipped, out), steps_of(task, optimizer, config)
    end = min(stop_at or config.schedule.steps, config.schedule.steps)
    with (
        read_ahead(feed, next(task.parameters()).device) as served,
        stop_signals(out is not None) as signalled,
        kept_if_lost(Keeper(out, task, optimizer, served, guard, kept=config.kept, made_of=made_of)) as keeper,
        profiled(profile) as traced,
    ):
        begin_equal(task)
        step = keeper.resume() if out else 0
        rows = earlier_rows(out, step)
        guard.catch_up(rows)
        clock = Clock()
        task.train()
        while step < end:
            rate, alpha = set_rate(optimizer, config.schedule, step), config.schedule.soft_target_weight(step)
            try:
                parts, norm = take(served, alpha, clock)
                guard.passed()
            except NotFinite as found:
                optimizer.zero_grad(set_to_none=True)
                guard.met(found, step)
                parts, norm = [], math.nan
            step += 1
            keeper.mark(step)
            if parts and (step % config.log_every == 0 or step == end):
                row = log_row(step, parts, rate=rate, alpha=alpha, norm=norm, clock=clock) | guard.counted()
                rows.append(row)
                append(out, row)
                if progress is not None:
                    progress(row)
            if out and (step == end or keeper.due(config.save_seconds)):
                keeper.save()
            traced()
            if out and (number := largest(signalled())):
                keeper.save()
                raise stopped(step, number)
    return rows


def prepare_blocks(task: nn.Module, config: TrainConfig) -> None:
    """Recompute or compile the blocks of all image encoders of a task; 0 recomputed ones leave them as the task has them."""
    for part in task.modules():
        if isinstance(part, ImageEncoder) and config.checkpoint_blocks:
            part.checkpoint_gradients(config.checkpoint_blocks)
    if config.compile_blocks:
        compile_image_blocks(task)


def steps_of(task: nn.Module, optimizer: torch.optim.Optimizer, config: TrainConfig) -> Steps:
    """What takes the steps of a training: graphs where they are asked for and can be, else `take_step`."""
    plain = lambda feed, alpha, clock: take_step(task, optimizer, feed, alpha, config, clock)
    whole = config.accumulate == 1 and not config.checkpoint_blocks and not config.keyed_dropout
    if not whole or not can_be_captured(task, config.precision):
        return plain
    return CapturedSteps(task, optimizer, precision=config.precision, clip=config.clip, plain=plain)


def take_step(
    task: nn.Module,
    optimizer: torch.optim.Optimizer,
    feed: Batches,
    alpha: float,
    config: TrainConfig,
    clock: Clock,
) -> tuple[list[Losses], float]:
    """One optimizer step over its micro-batches: their losses, and the norm of the gradient before clipping.

    NotFinite, before anything has changed, where a loss or the gradient is not finite.
    """
    parts, batches = [], with_shares(task, [next(feed) for _ in range(config.accumulate)])
    for batch in batches:
        losses, samples = forward_backward(task, batch, alpha, config)
        parts.append(losses)
        clock.count(samples * world_size())
    average_gradients(task)
    norm = clip_gradients(task, config.clip)
    if not math.isfinite(norm):
        raise NotFinite("The gradient is not finite.", ["gradient"], batches)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    # nn.Module does not tell that every task has this.
    task.after_step([losses.features for losses in parts if losses.features is not None])  # type: ignore[operator]
    return parts, norm


def with_shares(task: nn.Module, batches: list[TaskBatch]) -> list[TaskBatch]:
    """The micro-batches of a step, each with its share of the words that are said in it, by all processes.

    LM is then the mean over all words of the step, as if it were one batch: a mean of the micro-batches' means would
    count the words of short texts for more. Tasks without LM over pairs have no `words`.
    """
    words = getattr(task, "words", None)
    if len(batches) == 1 or words is None:
        return batches
    device = next(task.parameters()).device
    counts = mean(torch.stack([words(batch) for batch in batches]).float().to(device))
    shares = counts * len(batches) / counts.sum().clamp(min=1)
    return [replace(batch, share=share) for batch, share in zip(batches, shares.tolist(), strict=True)]


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
    rows = len(batch.ids)
    with precision(device, config.precision), _draws(config, batch.step, rows):
        losses = task(batch, alpha)
    refuse_losses(losses, batch)  # all processes or none: the backward pass talks to the others
    with products(device, config.precision):
        (losses.total / config.accumulate).backward()
    return losses, rows


def _draws(config: TrainConfig, step: int, rows: int) -> contextlib.AbstractContextManager:
    """What dropout draws from in a micro-batch of so many rows here."""
    if config.keyed_dropout:
        return keyed(config.seed, step, first_row(rows), rows)
    own_draws(config.seed, step)
    return contextlib.nullcontext()


def clip_gradients(task: nn.Module, limit: float | None) -> float:
    """Scale the gradient down to a norm of at most `limit`; return the norm before."""
    trained = [p for p in task.parameters() if p.grad is not None]
    return float(nn.utils.clip_grad_norm_(trained, math.inf if limit is None else limit))
