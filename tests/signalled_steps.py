"""Trainings that get a signal in the middle of a step, for tests of stopping and going on."""

import os

import pytest
import torch


def signalled_steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Signals to be sent to this process, the last first, one at each of the optimizer's next steps."""
    step, numbers = torch.optim.AdamW.step, []

    def signalled(self, *rest):
        if numbers:
            os.kill(os.getpid(), numbers.pop())
        return step(self, *rest)

    monkeypatch.setattr(torch.optim.AdamW, "step", signalled)
    return numbers
