"""What training does when things go wrong: numbers that are not finite, signals, damaged checkpoints; its trace."""

import hashlib
import json
import os
import signal
import threading
from dataclasses import replace

import pytest
import torch
from distributed_jobs import CONFIG, Poisoned, feed, pretrain

from blip.errors import InputError, InputWarning, Stopped
from blip.guard import NotFinite
from blip.schedules import Schedule
from blip.signals import stop_signals
from blip.train import take_step, train


class Bad(Poisoned):
    """A feed with several batches that are not finite."""

    def __init__(self, *bad: int) -> None:
        super().__init__(feed())
        self.all_bad = bad

    def __next__(self):
        self.bad = next((step for step in self.all_bad if step == self.inner.step), -1)
        return super().__next__()


class Signalled(Poisoned):
    """A feed that sends this process a signal while it makes a batch."""

    def __init__(self, number: int, at: int) -> None:
        super().__init__(feed(), bad=-1)
        self.number, self.at = number, at

    def __next__(self):
        if self.inner.step == self.at:
            os.kill(os.getpid(), self.number)
        return super().__next__()


def state(task):
    return {name: value.clone() for name, value in task.state_dict().items()}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


# ---- numbers that are not finite ----


def test_it_names_step_loss_and_sample_and_saves_the_batch(tmp_path):
    task = pretrain()
    with pytest.raises(NotFinite) as caught:
        train(task, Bad(2), CONFIG, out=tmp_path)
    batch = [batch for source in [feed()] for batch in (next(source) for _ in range(3))][2]
    path = tmp_path / "not-finite" / "step-00000002-rank0.pt"
    assert str(caught.value) == (
        f"The loss itc, itm, lm is not finite at step 2 (samples {batch.keys[-1]}; their batch is in {path}); "
        "look at them, lower the learning rate, or start again and skip such steps (not_finite skip)."
    )
    assert isinstance(caught.value, InputError) and isinstance(caught.value, FloatingPointError)
    saved = torch.load(path, weights_only=True)
    assert saved["step"] == 2 and saved["what"] == ["itc", "itm", "lm"]
    (found,) = saved["batches"]
    assert found["keys"] == batch.keys and torch.equal(found["tokens"]["ids"], batch.tokens.ids)
    assert torch.equal(found["images"][:-1], batch.images[:-1]) and found["images"][-1].isnan().all()
    before = pretrain()
    train(before, feed(), CONFIG, stop_at=2)
    assert equal(state(task), state(before)), "weights, teacher and queues are those of the last whole step"


def test_of_weights_that_are_not_finite_no_sample_is_suspected():
    task = pretrain()
    task.model.text.lm_head.bias.data.fill_(float("inf"))
    keys = next(feed()).keys
    with pytest.raises(
        NotFinite,
        match=rf"The loss lm is not finite at step 0 \(samples {', '.join(keys[:3])} and 3 more; "
        r"their batch was not saved\)",
    ):
        train(task, feed(), CONFIG)


def test_a_gradient_that_is_not_finite_changes_nothing(tmp_path):
    task = pretrain()
    before = state(task)
    task.model.image_projection.weight.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(NotFinite, match=r"The gradient is not finite at step 0 \(samples "):
        train(task, feed(), replace(CONFIG, accumulate=2), out=tmp_path)
    assert equal(before, state(task))
    saved = torch.load(tmp_path / "not-finite/step-00000000-rank0.pt", weights_only=True)
    assert [batch["step"] for batch in saved["batches"]] == [0, 1] and saved["what"] == ["gradient"]


class Remembering:
    """`take_step` that notes the state before and after each step."""

    def __init__(self):
        self.seen = []

    def __call__(self, task, optimizer, *more):
        def now():
            moments = [v.clone() for one in optimizer.state.values() for v in one.values()]
            return state(task), moments

        self.seen.append([now()])
        try:
            return take_step(task, optimizer, *more)
        finally:
            self.seen[-1].append(now())


def test_a_skipped_step_leaves_weights_optimizer_teacher_and_queue(tmp_path, monkeypatch):
    steps = Remembering()
    monkeypatch.setattr("blip.train.take_step", steps)
    config = replace(CONFIG, not_finite="skip", schedule=Schedule(steps=5, peak=1e-3))
    rows = train(pretrain(), Bad(1, 3), config, out=tmp_path)
    assert len(steps.seen) == 5
    for number, ((before, moments), (after, later)) in enumerate(steps.seen):
        assert equal(before, after) == (number in (1, 3))
        same = len(moments) == len(later) and all(map(torch.equal, moments, later))
        assert same == (number in (1, 3))
    assert [(row["step"], row["skipped"]) for row in rows] == [(1, 0), (3, 1), (5, 2)]
    assert len(list((tmp_path / "not-finite").iterdir())) == 2
    logged = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert logged == rows
    more = train(pretrain(), Bad(), replace(config, schedule=Schedule(steps=6, peak=1e-3)), out=tmp_path)
    assert more[-1]["skipped"] == 2, "a run that goes on goes on counting"


class Dying(Bad):
    """A feed with bad batches whose machine is lost when it is to make the batch of a step."""

    def __init__(self, *bad: int, dies: int) -> None:
        super().__init__(*bad)
        self.dies = dies

    def __next__(self):
        if self.inner.step == self.dies:
            raise OSError("the machine is lost")
        return super().__next__()


def test_skips_since_the_last_row_and_in_a_row_are_in_the_checkpoint(tmp_path):
    config = replace(
        CONFIG, not_finite="skip", most_skipped=3, log_every=4, save_seconds=0.0, schedule=Schedule(steps=9, peak=1e-3)
    )
    with pytest.raises(OSError, match="lost"):
        train(pretrain(), Dying(4, 5, dies=6), config, out=tmp_path)
    with pytest.raises(NotFinite, match="not finite at step 7 and the 3 steps before it were skipped"):
        train(pretrain(), Bad(*range(4, 9)), config, out=tmp_path)
    rows = train(pretrain(), Bad(), config, out=tmp_path)
    assert [(row["step"], row["skipped"]) for row in rows] == [(4, 0), (8, 3), (9, 3)]


def test_a_checkpoint_from_before_it_held_the_counts_goes_on_from_the_rows(tmp_path):
    config = replace(CONFIG, not_finite="skip", schedule=Schedule(steps=3, peak=1e-3))
    train(pretrain(), Bad(1), config, out=tmp_path)
    (path,) = (tmp_path / "checkpoints").iterdir()
    saved = torch.load(path, weights_only=True)
    assert saved.pop("guard") == {"skipped": 1, "in_a_row": 0}
    torch.save(saved, path)
    path.rename(path.with_name(f"00000003-{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}.pt"))
    rows = train(pretrain(), Bad(3), replace(config, schedule=Schedule(steps=5, peak=1e-3)), out=tmp_path)
    assert rows[-1]["skipped"] == 2


def test_more_in_a_row_than_allowed_stop():
    config = replace(CONFIG, not_finite="skip", most_skipped=2, schedule=Schedule(steps=9, peak=1e-3))
    rows = train(pretrain(), Bad(0, 1, 3, 4), config)
    assert rows[-1]["skipped"] == 4 and rows[-1]["step"] == 9
    with pytest.raises(NotFinite, match="not finite at step 5 and the 2 steps before it were skipped"):
        train(pretrain(), Bad(0, 3, 4, 5), config)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"kept": 0}, "0 checkpoints kept cannot be"),
        ({"not_finite": "hope"}, "no policy 'hope' for what is not finite; choose one of stop, skip"),
        ({"most_skipped": -1}, "-1 skipped steps in a row cannot be"),
    ],
)
def test_policies_that_cannot_be_are_refused(wrong, says):
    with pytest.raises(InputError, match=says):
        replace(CONFIG, **wrong)


# ---- signals ----


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_step_saves_and_the_run_goes_on_bit_for_bit(number, tmp_path):
    whole = pretrain()
    train(whole, feed(), CONFIG)
    before = signal.getsignal(number)
    with pytest.raises(Stopped, match=f"Stopped by {number.name} after step 2, which is saved; the same command") as caught:
        train(pretrain(), Signalled(number, 1), CONFIG, out=tmp_path)
    assert caught.value.number == number and isinstance(caught.value, KeyboardInterrupt)
    assert signal.getsignal(number) is before
    (path,) = (tmp_path / "checkpoints").iterdir()
    assert path.name.startswith("00000002-")
    resumed = pretrain()
    train(resumed, feed(), CONFIG, out=tmp_path)
    assert equal(state(whole), state(resumed))


@pytest.fixture
def interruptible():
    """SIGINT as in a shell's foreground: jobs in the background, and tests may be one, start with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_the_second_signal_does_not_wait():
    with pytest.raises(KeyboardInterrupt), stop_signals(True) as noted:
        signal.raise_signal(signal.SIGINT)
        assert noted() == signal.SIGINT
        signal.raise_signal(signal.SIGINT)


@pytest.fixture
def terminated():
    """The SIGTERMs that nobody notes, in place of this process's end."""
    unnoted = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: unnoted.append(number))
    yield unnoted
    signal.signal(signal.SIGTERM, before)


def test_a_second_sigterm_waits_for_the_save(tmp_path, terminated):
    class Twice(Signalled):
        def __next__(self):
            if self.inner.step == self.at:
                os.kill(os.getpid(), self.number)
            return super().__next__()

    with pytest.raises(Stopped, match="Stopped by SIGTERM after step 2, which is saved"):
        train(pretrain(), Twice(signal.SIGTERM, 1), CONFIG, out=tmp_path)
    assert terminated == [] and len(list((tmp_path / "checkpoints").iterdir())) == 1
    signal.raise_signal(signal.SIGTERM)
    assert terminated == [signal.SIGTERM], "after the save it acts as before"


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_does_not_wait_for_what_sigterm_began(terminated):
    with pytest.raises(KeyboardInterrupt), stop_signals(True) as noted:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert noted() == signal.SIGTERM
        signal.raise_signal(signal.SIGINT)
    assert terminated == []


def test_without_a_folder_and_in_other_threads_signals_are_left_alone():
    before, seen = signal.getsignal(signal.SIGINT), []

    def look():
        with stop_signals(True) as noted:
            seen.append((signal.getsignal(signal.SIGINT), noted()))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    with stop_signals(False) as noted:
        seen.append((signal.getsignal(signal.SIGINT), noted()))
    assert seen == [(before, 0)] * 2


# ---- checkpoints ----


@pytest.mark.parametrize("damage", [lambda data: data[:-100], lambda data: data[:500] + b"x" + data[501:], lambda data: b""])
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(damage, tmp_path):
    whole = pretrain()
    train(whole, feed(), CONFIG)
    config = replace(CONFIG, save_seconds=0.0, kept=3)
    train(pretrain(), feed(), config, out=tmp_path, stop_at=3)
    *_, older, newest = sorted((tmp_path / "checkpoints").iterdir())
    newest.write_bytes(damage(newest.read_bytes()))
    resumed = pretrain()
    with pytest.warns(InputWarning, match=f"The checkpoint .*{newest.name} is damaged, so training tries {older.name}"):
        train(resumed, feed(), config, out=tmp_path)
    assert equal(state(whole), state(resumed))


def test_where_all_are_damaged_training_begins_anew(tmp_path):
    whole = pretrain()
    rows = train(whole, feed(), CONFIG, out=tmp_path)
    (path,) = (tmp_path / "checkpoints").iterdir()
    path.write_bytes(b"no checkpoint")
    with pytest.warns(InputWarning, match="is damaged, so training begins anew"):
        again = train(pretrain(), feed(), CONFIG, out=tmp_path)
    assert [row["itm"] for row in again] == [row["itm"] for row in rows]


@pytest.mark.parametrize("kept", [1, 3])
def test_the_last_k_are_kept(kept, tmp_path):
    train(pretrain(), feed(), replace(CONFIG, save_seconds=0.0, kept=kept), out=tmp_path)
    names = [path.name[:8] for path in sorted((tmp_path / "checkpoints").iterdir())]
    assert names == [f"{step:08d}" for step in range(5 - kept, 5)]


# ---- the trace ----


def test_a_trace_of_a_few_steps_changes_nothing(tmp_path):
    config = replace(CONFIG, schedule=Schedule(steps=7, peak=1e-3))
    plain, traced = pretrain(), pretrain()
    train(plain, feed(), config)
    train(traced, feed(), config, profile=tmp_path / "trace")
    assert equal(state(plain), state(traced))
    events = json.loads((tmp_path / "trace" / "trace-rank0.json").read_text())["traceEvents"]
    steps = {event["name"] for event in events if str(event.get("name", "")).startswith("ProfilerStep")}
    assert steps == {"ProfilerStep#3", "ProfilerStep#4", "ProfilerStep#5"}
    assert any("aten::scaled_dot_product" in str(event.get("name")) for event in events)
