"""Checkpoints of a small state: damaged ones, those of other GPUs, the draws of the device that trains, writing beside it."""

import errno
import threading
from types import SimpleNamespace

import pytest
import torch

from blip.errors import InputWarning
from blip.resume import Keeper, kept_if_lost
from blip.saving import copied


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
        keeper.finish()
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
    older.finish()
    expected, others = draws(gpus[of]), see(sees)
    others[now].manual_seed(99)
    assert keeper(tmp_path, gpu=now).resume() == 1
    assert torch.equal(draws(others[now]), expected)


def test_training_on_a_cpu_leaves_cuda_alone(monkeypatch, tmp_path):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    for name in ("get_rng_state", "get_rng_state_all", "set_rng_state", "set_rng_state_all"):
        monkeypatch.setattr(f"torch.cuda.{name}", lambda *_: pytest.fail("CUDA was asked"))
    assert saved_steps(keeper(tmp_path), 1) == [1] and keeper(tmp_path).resume() == 1


def test_the_training_goes_on_while_a_checkpoint_of_the_step_before_is_written(monkeypatch, tmp_path):
    write, may = torch.save, threading.Event()
    monkeypatch.setattr("torch.save", lambda state, file: (may.wait(30), write(state, file)))
    kept = keeper(tmp_path)
    weights = kept.task.weight.detach().clone()
    kept.mark(1)
    kept.save()
    with torch.no_grad():
        kept.task.weight += 1
    kept.feed.at = 9
    assert not list(kept.folder.glob("*.pt"))
    may.set()
    kept.finish()
    again = keeper(tmp_path)
    assert again.resume() == 1
    assert torch.equal(again.task.weight, weights) and again.feed.at == 0


def full(state, file):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_what_keeps_a_checkpoint_from_being_written_ends_the_training_once(monkeypatch, tmp_path):
    monkeypatch.setattr("torch.save", full)
    kept = keeper(tmp_path)
    kept.save()
    kept._writer._thread.join()
    with pytest.raises(OSError, match="No space left"):
        kept.due(1e9)
    assert not kept.due(1e9)
    kept.save()
    with pytest.raises(OSError, match="No space left"):
        kept.save()
    with pytest.raises(OSError, match="No space left"), kept_if_lost(kept):
        kept.save()
    assert not list(kept.folder.glob("*.pt"))


def test_a_copy_shares_nothing_and_holds_tied_weights_once():
    tied, whole = torch.nn.Parameter(torch.arange(4.0)), torch.arange(6.0)
    state = {"a": tied, "b": [tied, {"of": whole[:3], "again": whole[3:]}], "step": 3, "empty": torch.zeros(0)}
    copy = copied(state)
    with torch.no_grad():
        tied += 1
        whole += 1
    assert copy["a"].tolist() == [0, 1, 2, 3] and copy["a"] is copy["b"][0] and not copy["a"].requires_grad
    assert [one.tolist() for one in copy["b"][1].values()] == [[0, 1, 2], [3, 4, 5]] and copy["step"] == 3
    assert copy["b"][1]["of"].untyped_storage().nbytes() == 12
