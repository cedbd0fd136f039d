"""Schedules against the formulas written out."""

import math

import pytest

from blip.errors import InputError
from blip.schedules import Schedule


def test_warm_up_then_cosine_to_the_floor() -> None:
    s = Schedule(steps=110, peak=1.0, floor=0.1, warmup=10)
    assert s.learning_rate(0) == pytest.approx(0.1)
    assert s.learning_rate(5) == pytest.approx(0.55)
    assert s.learning_rate(10) == pytest.approx(1.0)
    assert s.learning_rate(60) == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 2)) / 2)
    assert s.learning_rate(110) == pytest.approx(0.1)


def test_decay_by_a_factor_an_epoch_as_published() -> None:
    s = Schedule(steps=1000, peak=3e-4, kind="decay", decay=0.9, epoch_steps=100)
    rates = [s.learning_rate(step) for step in (0, 99, 100, 250, 900)]
    assert rates == pytest.approx([3e-4, 3e-4, 3e-4 * 0.9, 3e-4 * 0.9**2, 3e-4 * 0.9**9])
    assert Schedule(steps=9, peak=3e-4, kind="decay", epoch_steps=1, decay=1e-9).learning_rate(5) == 1e-6


def test_alpha_rises_linearly_and_stays() -> None:
    s = Schedule(steps=100, alpha=0.4, alpha_ramp=20)
    assert [s.soft_target_weight(i) for i in (0, 5, 10, 20, 99)] == pytest.approx([0, 0.1, 0.2, 0.4, 0.4])
    assert Schedule(steps=1, alpha=0.4).soft_target_weight(0) == 0.4
    late = Schedule(steps=100, alpha=0.4, alpha_ramp=20, alpha_from=30)
    assert [late.soft_target_weight(step) for step in (0, 29, 30, 40, 50, 90)] == [0.0, 0.0, 0.0, 0.2, 0.4, 0.4]
    assert [Schedule(steps=9, alpha=0.4, alpha_from=3).soft_target_weight(step) for step in (2, 3)] == [0.0, 0.4]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [({"kind": "linear"}, "linear"), ({"kind": "decay"}, "epoch_steps"), ({"steps": 0}, "0 steps"), ({"peak": -1.0}, "of -1 cannot"), ({"peak": math.nan}, "of nan cannot"), ({"warmup": -1}, "of -1 steps")],
)
def test_what_cannot_be_is_said(wrong: dict, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Schedule(**{"steps": 10, **wrong})
