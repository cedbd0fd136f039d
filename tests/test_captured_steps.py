"""Captured steps of training: what they leave is what plain steps leave, whatever the batches that come later are."""

import json
from dataclasses import replace

import pytest
import torch
from imitated_graph import imitated_graphs
from test_train import CONFIG, TEXTS, TOKENIZER, model, state

from blip.captured_steps import CapturedSteps, can_be_captured
from blip.config import BlipConfig
from blip.data.loading import Loader
from blip.data.sources import ArraySource
from blip.dropout import Dropout
from blip.feed import PairFeed
from blip.guard import NotFinite
from blip.model import BLIP
from blip.schedules import Schedule
from blip.tasks.captioning import Captioning
from blip.tasks.pretrain import ObjectiveConfig, Pretrain
from blip.tasks.retrieval import RETRIEVAL
from blip.train import build_optimizer, steps_of, train

STEPS = replace(CONFIG, schedule=Schedule(steps=12, peak=1e-3, warmup=2, alpha_ramp=4))
MIXED = [f"{text} and a cup" if number % 5 == 0 else text for number, text in enumerate(TEXTS)]


def still(dropout: float = 0.0) -> BLIP:
    """The model of the training tests without dropout of its text, which in float32 is not captured; drop path is."""
    old = model().config
    torch.manual_seed(3)
    return BLIP(BlipConfig(vision=old.vision, text=replace(old.text, dropout=dropout), embed_dim=old.embed_dim))


def feed(poisoned: int = -1, **more) -> PairFeed:
    """Batches of more than one length; the pictures of one may be no numbers."""
    pixels = torch.randint(0, 256, (36, 16, 16, 3), generator=torch.Generator().manual_seed(1))
    found = PairFeed(Loader(ArraySource(pixels.to(torch.uint8), MIXED * 3), 3, seed=5), TOKENIZER, **more)
    return Poisoned(found, poisoned) if poisoned >= 0 else found


class Poisoned:
    def __init__(self, inner: PairFeed, bad: int) -> None:
        self.inner, self.bad = inner, bad
        self.state_dict, self.load_state_dict = inner.state_dict, inner.load_state_dict

    def __next__(self):
        batch = next(self.inner)
        return replace(batch, images=batch.images * torch.nan) if batch.step == self.bad else batch


TASKS = {
    "pretrain": (lambda: Pretrain(still(), ObjectiveConfig(queue=10)), {}),
    "no queue": (lambda: Pretrain(still(), ObjectiveConfig(queue=0)), {}),
    "no momentum": (lambda: Pretrain(still(), ObjectiveConfig(queue=0, momentum=None)), {}),
    "random negatives, no ITC": (lambda: Pretrain(still(), ObjectiveConfig(queue=10, negatives="random", itc_weight=0.0)), {}),
    "no LM": (lambda: Pretrain(still(), ObjectiveConfig(queue=10, lm_weight=0.0, seed=7)), {}),
    "late teacher": (lambda: Pretrain(still(), ObjectiveConfig(queue=10, teacher_start=4)), {}),
    "retrieval": (lambda: Pretrain(still(), replace(RETRIEVAL, queue=9)), {"by_image": True}),
    "captioning": (lambda: Captioning(still(), prompt_length=4), {"prompt": "a picture of "}),
}


@pytest.fixture(autouse=True)
def rounded(monkeypatch):
    """Rates and alpha as float32 has them, as graphs read them: then every bit is the same."""
    for name in ("learning_rate", "soft_target_weight"):
        exact = getattr(Schedule, name)
        monkeypatch.setattr(Schedule, name, lambda own, step, exact=exact: float(torch.tensor(exact(own, step))))


def same(task, plain, rows=(), others=()):
    """Weights, teacher, queues and rows of both, bit for bit."""
    for name, value in state(plain).items():
        assert torch.equal(state(task)[name], value), name
    for row, other in zip(rows, others, strict=True):
        assert row | {"samples_per_second": 0} == other | {"samples_per_second": 0}


@pytest.mark.parametrize("name", TASKS)
def test_captured_steps_leave_what_plain_ones_leave(name):
    build, given = TASKS[name]
    plain, captured = build(), build()
    before = state(plain)
    others = train(plain, feed(**given), STEPS)
    with imitated_graphs(training=True) as made:
        rows = train(captured, feed(**given), STEPS)
    same(captured, plain, rows, others)
    assert any(not torch.equal(value, before[name]) for name, value in state(plain).items())
    lengths = {batch.tokens.ids.shape for source in [feed(**given)] for batch in (next(source) for _ in range(12))}
    assert len(lengths) > 1
    if name == "late teacher":  # four steps before it and four behind, when the queue of ten keys is full
        assert 2 <= sum(graph.replays for graph in made) <= 2 * (3 + 3)
    else:
        assert 2 <= len(made) <= 2 * len(lengths), "two graphs for a length that came again"
        assert sum(graph.replays for graph in made) == 2 * (12 - len(lengths))


def test_a_late_teacher_has_two_stages_and_a_time_between():
    task, stages = TASKS["late teacher"][0](), []
    steps = feed()

    class Watched:
        state_dict, load_state_dict = steps.state_dict, steps.load_state_dict

        def __next__(self):
            stages.append(task.stage_now())
            return next(steps)

    train(task, Watched(), STEPS)
    assert stages == ["alone"] * 4 + [None] * 4 + ["taught"] * 4


def test_what_no_loss_reads_is_not_decayed():
    task = TASKS["random negatives, no ITC"][0]()
    before = task.model.image_projection.weight.clone()
    with imitated_graphs(training=True) as made:
        train(task, feed(), STEPS)
    assert made and torch.equal(task.model.image_projection.weight, before)


def test_draws_of_dropout_go_on_in_bf16():
    config = replace(STEPS, precision="bf16")
    plain, captured = (Pretrain(still(dropout=0.1), ObjectiveConfig(queue=10)) for _ in range(2))
    others = train(plain, feed(), config)
    with imitated_graphs(training=True) as made:
        rows = train(captured, feed(), config)
    assert made
    same(captured, plain, rows, others)


def test_a_run_that_goes_on_captures_anew_and_ends_the_same(tmp_path):
    build, _ = TASKS["pretrain"]
    whole, parts = build(), build()
    with imitated_graphs(training=True):
        rows = train(whole, feed(), STEPS, out=tmp_path / "whole")
        train(build(), feed(), STEPS, out=tmp_path / "parts", stop_at=7)
        train(parts, feed(), STEPS, out=tmp_path / "parts")
    others = [json.loads(line) for line in (tmp_path / "parts/metrics.jsonl").read_text().splitlines()]
    same(parts, whole, others, rows)
    saved = torch.load(next((tmp_path / "whole/checkpoints").glob("*.pt")), weights_only=True)
    group = saved["optimizer"]["param_groups"][0]
    assert isinstance(group["lr"], float) and group["capturable"] is False, "as plain steps save it"


def test_what_is_not_finite_is_named_and_changes_nothing():
    task = TASKS["pretrain"][0]()
    with imitated_graphs(training=True) as made, pytest.raises(NotFinite, match="The loss itc, itm, lm is not finite at step 9 "):
        train(task, feed(poisoned=9), STEPS)
    assert made
    before = TASKS["pretrain"][0]()
    train(before, feed(), STEPS, stop_at=9)
    same(task, before)


def test_a_step_may_be_skipped_and_the_next_ones_go_on():
    config = replace(STEPS, not_finite="skip")
    plain, captured = (TASKS["pretrain"][0]() for _ in range(2))
    others = train(plain, feed(poisoned=6), config)
    with imitated_graphs(training=True):
        rows = train(captured, feed(poisoned=6), config)
    same(captured, plain, rows, others)
    assert rows[-1]["skipped"] == 1


def test_a_gradient_that_is_not_finite_changes_nothing():
    task = TASKS["pretrain"][0]()
    task.model.image_projection.weight.register_hook(lambda gradient: gradient * float("inf"))
    before = state(task)
    with imitated_graphs(training=True), pytest.raises(NotFinite, match="The gradient is not finite at step 0 "):
        train(task, feed(), STEPS)
    assert all(torch.equal(value, before[name]) for name, value in state(task).items())


def test_only_what_can_be_captured_is(monkeypatch):
    task = TASKS["pretrain"][0]()
    assert not can_be_captured(task, "float32"), "not on a CPU"
    monkeypatch.setattr("blip.captured_steps.captures", lambda device: True)
    assert can_be_captured(task, "float32")
    drawing = Pretrain(still(dropout=0.1), ObjectiveConfig(queue=10))
    assert not can_be_captured(torch.nn.Linear(1, 1), "float32")
    assert any(isinstance(part, Dropout) and part.rate for part in drawing.modules())
    assert not can_be_captured(drawing, "float32") and can_be_captured(drawing, "bf16")
    monkeypatch.setattr("blip.captured_steps.world_size", lambda: 2)
    assert not can_be_captured(task, "float32")


@pytest.mark.parametrize("more", [{"accumulate": 2}, {"checkpoint_blocks": 1}, {"keyed_dropout": True}, {}])
def test_steps_of_several_parts_are_plain(more, monkeypatch):
    monkeypatch.setattr("blip.captured_steps.captures", lambda device: True)
    task, config = TASKS["pretrain"][0](), replace(STEPS, **more)
    taken = steps_of(task, build_optimizer(task, config), config)
    assert isinstance(taken, CapturedSteps) == (not more)
