"""Schedules: pure functions of the step."""

import math
from dataclasses import dataclass

from blip.errors import InputError

KINDS = ("cosine", "decay", "constant")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Learning rate and soft-target weight over `steps` optimizer steps."""

    steps: int
    peak: float = 3e-4
    """Published peak of ViT-B (2e-4 for ViT-L)."""
    floor: float = 1e-6
    warmup: int = 0
    """Steps of linear warm-up from the floor (published 3,000 in pre-training)."""
    kind: str = "cosine"
    """cosine to the floor; decay by a factor an epoch (the paper's pre-training); or constant."""
    decay: float = 0.9
    """Factor an epoch of kind decay: 0.9 in the published code, 0.85 in the paper's text."""
    epoch_steps: int = 0
    """Optimizer steps in an epoch; kind decay needs it."""
    alpha: float = 0.4
    """Weight of the momentum encoder's distribution after the ramp."""
    alpha_ramp: int = 0
    """Steps over which alpha rises from 0 (published: two epochs of pre-training, one of fine-tuning)."""
    alpha_from: int = 0
    """The step at which the ramp begins: where momentum encoders come in later, theirs."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"There is no schedule {self.kind!r}; choose one of {', '.join(KINDS)}.")
        if self.kind == "decay" and self.epoch_steps < 1:
            raise InputError("A schedule that decays an epoch needs epoch_steps; give 1 or more.")
        if self.steps < 1:
            raise InputError(f"Training for {self.steps} steps cannot be; give 1 or more.")
        if not 0 <= self.peak < math.inf:
            raise InputError(f"A peak of the learning rate of {self.peak:g} cannot be; give a finite number, 0 or more.")
        if self.warmup < 0:
            raise InputError(f"A warm-up of {self.warmup} steps cannot be; give 0 or more.")

    def learning_rate(self, step: int) -> float:
        """The learning rate of step 0, 1, ..."""
        if step < self.warmup:
            return self.floor + (self.peak - self.floor) * step / self.warmup
        if self.kind == "constant":
            return self.peak
        if self.kind == "decay":
            return max(self.floor, self.peak * self.decay ** (step // self.epoch_steps))
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.floor + (self.peak - self.floor) * (1 + math.cos(math.pi * min(1.0, done))) / 2

    def soft_target_weight(self, step: int) -> float:
        """Alpha of step 0, 1, ..."""
        since = step - self.alpha_from
        if since < 0:
            return 0.0
        return self.alpha * min(1.0, since / self.alpha_ramp) if self.alpha_ramp else self.alpha
