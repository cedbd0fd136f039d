"""Compiled image blocks: one graph each, the same losses and gradients to rounding, the same names of weights."""

import pytest
import torch
from torch import nn
from toy_models import toy_config, toy_images, toy_model, toy_tokens

from blip.compiled import compile_image_blocks
from blip.errors import InputError
from blip.memory import Memory
from blip.schedules import Schedule
from blip.tasks.batch import PairBatch
from blip.tasks.pretrain import ObjectiveConfig, Pretrain
from blip.train import TrainConfig, prepare_blocks


def task(compiled):
    task = Pretrain(toy_model(3, config=toy_config(dropout=0.0)), ObjectiveConfig(queue=8)).train()
    if compiled:
        assert compile_image_blocks(task, backend="aot_eager") == 2, "the student's and the teacher's"
    return task


def test_compiled_blocks_give_the_losses_and_gradients_of_plain_ones():
    torch._dynamo.reset()
    batch = PairBatch(toy_images(4), toy_tokens([5, 6, 7, 8]), torch.arange(4))
    plain, compiled = task(False), task(True)
    found = []
    for one in (plain, compiled):
        losses = one(batch, 0.4)
        losses.total.backward()
        found.append(losses.parts)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0, "something was compiled"
    assert not torch._dynamo.utils.counters["graph_break"]
    for name, loss in found[0].items():
        torch.testing.assert_close(found[1][name], loss)
    for (name, one), (other, two) in zip(plain.named_parameters(), compiled.named_parameters(), strict=True):
        assert name == other
        torch.testing.assert_close(two.grad, one.grad)


def test_training_compiles_where_it_is_asked_to(monkeypatch):
    asked = []
    monkeypatch.setattr("blip.train.compile_image_blocks", asked.append)
    module = nn.Identity()
    for wanted in (False, True):
        prepare_blocks(module, TrainConfig(schedule=Schedule(steps=1, peak=1e-4), compile_blocks=wanted))
    assert asked == [module]


@pytest.mark.parametrize("masked", [False, True])
def test_rows_of_chosen_images_read_what_copied_rows_read(masked):
    torch.manual_seed(0)
    model = toy_model(spread=0.2).eval()
    states = torch.randn(3, 5, 24, requires_grad=True)
    keep = torch.tensor([[True] * 5, [True, True, False, False, True], [True] * 5]) if masked else None
    chosen, rows = torch.tensor([2, 0, 0]), torch.arange(3)
    tokens = toy_tokens([5, 6, 7, 8, 5, 6, 7, 8, 9]).led_by("ENC")
    found = []
    for seen in ("with_chosen", "seen_at"):
        memory = model.remember(states, "encoder")
        memory = Memory(memory.keys, memory.values, keep)
        given = chosen if seen == "with_chosen" else torch.cat([rows, chosen, rows])
        logits = model.match_logits(tokens, getattr(memory, seen)(given))
        (gradient,) = torch.autograd.grad(logits.square().sum(), states)
        found.append((logits, gradient))
    torch.testing.assert_close(found[0], found[1])


def test_without_a_compiler_it_is_refused_before_the_first_step(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(InputError, match="needs a C compiler, and none is found; install gcc"):
        compile_image_blocks(task(False))
