"""Optimizer steps as CUDA graphs: losses and gradients are one, what follows them another.

A step launches thousands of kernels, and of small models each runs for less time than it takes to launch it. Between both
graphs the losses and the gradient's norm are read, so that what is not finite changes nothing, as in plain steps.
"""

import gc
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeGuard

import torch
from torch import Tensor, nn

from blip.captured import Captured, captures
from blip.distributed import world_size
from blip.dropout import Dropout
from blip.guard import NotFinite, refuse_losses
from blip.log import Clock
from blip.precision import precision, products
from blip.tasks.batch import Batches, Losses, PairBatch, TeacherFeatures
from blip.tasks.staged import Staged

Steps = Callable[[Batches, float, Clock], tuple[list[Losses], float]]
"""What takes a step on the next batch at an alpha: its losses, and the norm of the gradient before clipping."""


def can_be_captured(task: nn.Module, precision: str) -> TypeGuard[Staged]:
    """Whether steps of a task may be captured: it is on a GPU, in one process, and knows its stages.

    With dropout in float32 they may not: what is computed again in the backward pass then asks for the generator's state.
    """
    draws = any(isinstance(part, Dropout) and part.rate for part in task.modules())
    free = isinstance(task, Staged) and (precision == "bf16" or not draws)
    return free and world_size() == 1 and captures(next(task.parameters()).device)


class CapturedSteps:
    """Steps of a task over `PairBatch`, captured for each shape of batches; the first of a shape runs plainly.

    Steps of no stage are taken by `plain`, and a new stage captures anew. Gradients stay in the tensors that the first step
    put them in. Rate, alpha and the number of the step are tensors, so that graphs read what they are by then.
    """

    def __init__(self, task: Staged, optimizer: torch.optim.Optimizer, *, precision: str, clip: float | None, plain: Steps) -> None:
        self._task, self._optimizer, self._precision, self._plain = task, optimizer, precision, plain
        self._clip = math.inf if clip is None else clip
        self._device = next(task.parameters()).device
        self._rate, self._alpha = torch.zeros(2, device=self._device).unbind()
        self._step = torch.zeros((), dtype=torch.int64, device=self._device)
        self._gradients: dict[nn.Parameter, Tensor] = {}
        self._images: dict[torch.Size, Tensor] = {}
        self._stage: str | None = None
        self._forms: dict[tuple[torch.Size, torch.Size], _Form] = {}

    def __call__(self, feed: Batches, alpha: float, clock: Clock) -> tuple[list[Losses], float]:
        """As `blip.train.take_step`; the losses are overwritten by the next step."""
        stage = self._task.stage_now()
        if stage != self._stage:
            self._forms.clear()
            gc.collect()  # now, since a graph must not be destroyed while another one is captured
            self._stage = stage
        if stage is None:
            return self._plain(feed, alpha, clock)
        batch = next(feed)
        assert isinstance(batch, PairBatch)
        form = self._form(batch, stage)
        form.fill(batch)
        self._step.fill_(batch.step)
        self._alpha.fill_(alpha)
        self._rate.fill_(self._optimizer.param_groups[0]["lr"])
        form.learn()
        refuse_losses(form.losses, batch)
        norm = float(form.norm)
        if not math.isfinite(norm):
            raise NotFinite("The gradient is not finite.", ["gradient"], [batch])
        form.follow()
        self._optimizer.zero_grad(set_to_none=True)  # a plain step that comes next adds to none of them
        clock.count(len(batch.ids))
        return [form.losses], norm

    def _form(self, batch: PairBatch, stage: str) -> "_Form":
        """What is prepared for batches of these shapes in the stage. All share the images' tensor, the largest of what they read."""
        key = (batch.images.shape, batch.tokens.ids.shape)
        if key not in self._forms:
            own = lambda tensor: tensor.to(self._device, copy=True)
            tokens = replace(batch.tokens, ids=own(batch.tokens.ids), keep=own(batch.tokens.keep))
            images = self._images.setdefault(key[0], own(batch.images))
            held = replace(batch, images=images, tokens=tokens, ids=own(batch.ids), keys=(), at=self._step)
            form = self._forms[key] = _Form(held, stage)
            form.learn = Captured(lambda: self._learn(form))
            form.follow = Captured(lambda: self._follow(form))
        return self._forms[key]

    def _learn(self, form: "_Form") -> None:
        """Losses and gradients of a batch, and the gradient clipped."""
        self._attach()
        if self._gradients:
            torch._foreach_zero_(list(self._gradients.values()))
        with precision(self._device, self._precision), self._task.within(form.stage):
            losses = self._task(form.batch, self._alpha)
        with products(self._device, self._precision):
            losses.total.backward()
        trained = [p for p in self._task.parameters() if p.grad is not None]
        self._gradients = self._gradients or {p: p.grad for p in trained if p.grad is not None}
        form.norm = nn.utils.clip_grad_norm_(trained, self._clip)
        # What remembers how it was computed would tie the next capture to the stream of this one.
        form.losses = _detached(losses)

    def _attach(self) -> None:
        """Give what has gradients its tensors of them, which the end of a step takes away."""
        for parameter, gradient in self._gradients.items():
            parameter.grad = gradient

    def _follow(self, form: "_Form") -> None:
        """The optimizer's step, the momentum encoders and the queues."""
        self._attach()
        with self._as_tensors():
            self._optimizer.step()
        features = form.losses.features
        with self._task.within(form.stage):
            self._task.after_step([] if features is None else [features])

    @contextmanager
    def _as_tensors(self) -> Iterator[None]:
        """Within it the optimizer reads its rate from a tensor; what it says of itself, in checkpoints too, is a number."""
        groups, capturing = self._optimizer.param_groups, _is_capturing()
        before = [(group["lr"], group["capturable"]) for group in groups]
        for group in groups:
            group["lr"], group["capturable"] = self._rate, capturing
        try:
            yield
        finally:
            for group, (rate, capturable) in zip(groups, before, strict=True):
                group["lr"], group["capturable"] = rate, capturable


@dataclass(repr=False)
class _Form:
    """Batches of one shape in a stage: the tensors that they are put into, and what a step finds."""

    batch: PairBatch
    stage: str
    losses: Losses = field(init=False)
    norm: Tensor = field(init=False)
    learn: Captured = field(init=False)
    follow: Captured = field(init=False)

    def fill(self, batch: PairBatch) -> None:
        """Hold another batch of the shape."""
        own = self.batch
        for mine, new in (
            (own.images, batch.images),
            (own.tokens.ids, batch.tokens.ids),
            (own.tokens.keep, batch.tokens.keep),
            (own.ids, batch.ids),
        ):
            mine.copy_(new, non_blocking=True)


def _detached(losses: Losses) -> Losses:
    seen = losses.features
    features = None if seen is None else TeacherFeatures(seen.image.detach(), seen.text.detach(), seen.ids)
    parts = {name: loss.detach() for name, loss in losses.parts.items()}
    return Losses(parts, losses.total.detach(), features)


def _is_capturing() -> bool:
    return torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()
