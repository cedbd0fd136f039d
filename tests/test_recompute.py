"""What is computed again in the backward pass changes no loss, no gradient and no draw, and saves memory."""

import pytest
import torch
from toy_models import toy_config, toy_images, toy_model, toy_tokens

from blip import layers
from blip.dropout import keyed
from blip.memory import Memory
from blip.tasks.batch import PairBatch
from blip.tasks.pretrain import ObjectiveConfig, Pretrain

KEPT, AGAIN = 10**9, 0


def task_with_dropout() -> Pretrain:
    return Pretrain(toy_model(spread=0.2, config=toy_config(dropout=0.3)).train(), ObjectiveConfig(queue=0))


def batch_of_four() -> PairBatch:
    return PairBatch(toy_images(4), toy_tokens([5, 6, 7, 8]), torch.tensor([5, 5, 7, 8]), 0)


def step(monkeypatch, worth: int, keys: tuple[int, ...] | None = None) -> tuple[dict, list[torch.Tensor], int]:
    """Losses, gradients and bytes kept for the backward pass, where values of `worth` elements are recomputed."""
    monkeypatch.setattr(layers, "_WORTH", worth)
    task, batch = task_with_dropout(), batch_of_four()
    kept, owned = {}, {parameter.untyped_storage()._cdata for parameter in task.parameters()}

    def pack(tensor):
        if tensor.untyped_storage()._cdata not in owned:
            kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage()
        return tensor

    torch.manual_seed(3)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        if keys is None:
            losses = task(batch, 0.4)
        else:
            with keyed(*keys):
                losses = task(batch, 0.4)
    losses.total.backward()
    gradients = [p.grad for p in task.parameters() if p.grad is not None]
    return {name: loss.item() for name, loss in losses.parts.items()}, gradients, sum(s.nbytes() for s in kept.values())


@pytest.mark.parametrize("keys", [None, (1, 2, 0, 4)], ids=["in sequence", "keyed"])
def test_losses_and_gradients_are_the_same_bit_for_bit(monkeypatch, keys):
    losses, gradients, most = step(monkeypatch, KEPT, keys)
    again, same, fewer = step(monkeypatch, AGAIN, keys)
    assert again == losses and len(gradients) > 20
    assert all(torch.equal(one, other) for one, other in zip(gradients, same, strict=True))
    assert fewer < 0.85 * most  # `lab bench pretrain` measures it at base size


def test_nothing_is_noted_where_no_gradient_is_wanted(monkeypatch):
    monkeypatch.setattr(layers, "_WORTH", AGAIN)
    monkeypatch.setattr(layers, "checkpoint", None)
    with torch.no_grad():
        assert task_with_dropout().eval()(batch_of_four(), 0.4).total.isfinite()


def test_rows_seen_at_an_index_are_the_rows_copied():
    model = toy_model(spread=0.2).eval()
    memory = model.remember(torch.randn(3, 5, 24), "encoder")
    memory = Memory(memory.keys, memory.values, torch.tensor([[True] * 5, [True, True, False, False, True], [True] * 5]))
    at, twice = torch.tensor([2, 0, 1, 1]), torch.tensor([3, 0])
    tokens = toy_tokens([5, 6, 7, 8]).led_by("ENC")
    seen = memory.seen_at(at)
    assert len(seen) == 4
    torch.testing.assert_close(model.match_logits(tokens, seen), model.match_logits(tokens, memory.rows(at)))
    for found in (seen.seen_at(twice), seen.rows(twice), seen.packed().rows(twice)):
        expected = model.match_logits(tokens.rows(twice), memory.rows(at[twice]))
        torch.testing.assert_close(model.match_logits(tokens.rows(twice), found), expected)
