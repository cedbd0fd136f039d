"""Checkpoints of a small state: damaged ones, those of other GPUs, the draws of the device that trains."""

from types import SimpleNamespace

import pytest
import torch

from blip.errors import InputWarning
from blip.resume import Keeper


class Counter:
    """A state that is nothing but a number."""

    def __init__(self):
        self.at = 0

    def state_dict(self):
        return {"at": self.at}

    def load_state_dict(self, state):
        self.at = state["at"]


class OnAGPU(torch.nn.Linear):
    """A task whose weights say that they are on a GPU."""

    def __init__(self, index):
        super().__init__(2, 2)
        self.index = index

    def parameters(self, recurse=True):
        return iter([SimpleNamespace(device=torch.device("cuda", self.index))])


def keeper(out, *, kept=2, gpu=None):
    task = torch.nn.Linear(2, 2)
    made = Keeper(out, task, torch.optim.AdamW(task.parameters()), Counter(), Counter(), kept=kept)
    if gpu is not None:
        made.task = OnAGPU(gpu)
    return made


def saved_steps(keeper, *steps):
    """The steps of the checkpoints that are there after these were saved."""
    for step in steps:
        keeper.mark(step)
        keeper.save()
    return [int(path.name[:8]) for path in sorted(keeper.folder.glob("*.pt"))]


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_damaged_checkpoints_of_later_steps_take_no_place_of_new_ones(kept, tmp_path):
    assert saved_steps(keeper(tmp_path, kept=kept), 100, 200, 300) == [100, 200, 300][-kept:]
    damaged = sorted((tmp_path / "checkpoints").glob("*.pt"))
    for path in damaged:
        path.write_bytes(path.read_bytes()[:-100])
    again = keeper(tmp_path, kept=kept)
    with pytest.warns(InputWarning) as warned:
        assert again.resume() == 0
    aside = [path.with_name(f"{path.name}.damaged") for path in damaged]
    for path, now, one in zip(reversed(damaged), reversed(aside), warned, strict=True):
        assert str(one.message).startswith(f"The checkpoint {path} is damaged, so training ")
        assert str(one.message).endswith(f"; it is now named {now.name}.")
    assert saved_steps(again, 50) == [50] and keeper(tmp_path, kept=kept).resume() == 50
    assert saved_steps(again, 60, 70, 80) == [60, 70, 80][-kept:] and keeper(tmp_path, kept=kept).resume() == 80
    assert sorted((tmp_path / "checkpoints").glob("*.damaged")) == aside


def test_the_one_before_a_damaged_one_stays_beside_what_is_saved_next(tmp_path):
    saved_steps(keeper(tmp_path), 100, 200)
    newest = max((tmp_path / "checkpoints").glob("*.pt"))
    newest.write_bytes(b"")
    again = keeper(tmp_path)
    with pytest.warns(InputWarning, match="so training tries 00000100-"):
        assert again.resume() == 100
    assert saved_steps(again, 150) == [100, 150]


@pytest.fixture
def see(monkeypatch):
    """A function that makes so many GPUs visible to torch, each with a generator, and returns the generators."""
    visible = []

    def see(count):
        visible[:] = [torch.Generator().manual_seed(seed) for seed in range(count)]
        return list(visible)

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_rng_state", lambda device: visible[device.index].get_state())
    monkeypatch.setattr("torch.cuda.set_rng_state", lambda state, device: visible[device.index].set_state(state))
    monkeypatch.setattr("torch.cuda.get_rng_state_all", lambda: [one.get_state() for one in visible])
    monkeypatch.setattr(
        "torch.cuda.set_rng_state_all", lambda states: [visible[i].set_state(state) for i, state in enumerate(states)]
    )
    return see


def draws(generator):
    return torch.rand(3, generator=generator)


@pytest.mark.parametrize(("saw", "was", "sees", "now"), [(2, 0, 1, 0), (2, 1, 1, 0), (1, 0, 4, 3), (2, 1, 2, 1)])
def test_draws_go_on_on_the_gpu_that_trains_whatever_others_are_visible(saw, was, sees, now, see, tmp_path):
    gpus = see(saw)
    draws(gpus[was])
    saved_steps(keeper(tmp_path, gpu=was), 1)
    expected = draws(gpus[was])
    others = see(sees)
    untouched = [one.get_state() for one in others]
    assert keeper(tmp_path, gpu=now).resume() == 1
    assert torch.equal(draws(others[now]), expected)
    assert all(torch.equal(one.get_state(), untouched[i]) for i, one in enumerate(others) if i != now)


@pytest.mark.parametrize(("saw", "sees", "now", "of"), [(2, 1, 0, 0), (2, 2, 1, 1), (1, 4, 3, 0)])
def test_an_older_checkpoint_holds_the_draws_of_all_gpus_and_is_read(saw, sees, now, of, see, tmp_path):
    gpus = see(saw)
    older = keeper(tmp_path, gpu=0)
    older.mark(1)
    older.position["cuda_rng"] = torch.cuda.get_rng_state_all()
    older.save()
    expected, others = draws(gpus[of]), see(sees)
    others[now].manual_seed(99)
    assert keeper(tmp_path, gpu=now).resume() == 1
    assert torch.equal(draws(others[now]), expected)


def test_training_on_a_cpu_leaves_cuda_alone(monkeypatch, tmp_path):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    for name in ("get_rng_state", "get_rng_state_all", "set_rng_state", "set_rng_state_all"):
        monkeypatch.setattr(f"torch.cuda.{name}", lambda *_: pytest.fail("CUDA was asked"))
    assert saved_steps(keeper(tmp_path), 1) == [1] and keeper(tmp_path).resume() == 1
