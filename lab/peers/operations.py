"""What a step of training costs in floating-point operations, counted by torch on the task's own batches."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from blip.tasks.batch import PairBatch

COUNTED = 3  # batches whose operations are counted: their longest texts differ


def step_flops(task: nn.Module, batch: PairBatch) -> float:
    """Operations of the matrix products of one forward and backward, as torch counts them."""
    counter = FlopCounterMode(display=False)
    # Only attention written as plain products is counted on every device.
    with sdpa_kernel(SDPBackend.MATH), counter:
        task(batch, 0.4).total.backward()
    task.zero_grad(set_to_none=True)
    return counter.get_total_flops()


def mean_flops(task: nn.Module, batches: Sequence[PairBatch]) -> float:
    """Operations of a step in the mean of the batches."""
    return sum(step_flops(task, batch) for batch in batches) / len(batches)


def let_a_step_pass(task: nn.Module, batch: PairBatch) -> None:
    """What follows an optimizer step: BLIP's teacher comes in when its time has come."""
    with torch.no_grad():
        seen = task(batch, 0.0).features
    # nn.Module does not tell that every task has this.
    task.after_step([] if seen is None else [seen])  # type: ignore[operator]


def parameters(model: nn.Module) -> int:
    """Trained parameters, without any momentum encoder."""
    return sum(weight.numel() for weight in model.parameters())
