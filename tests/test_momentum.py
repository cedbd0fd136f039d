"""The momentum encoder and the feature queue against closed form and a plain list."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from toy_models import toy_config, toy_model, toy_tokens

from blip.model import BLIP, narrowed
from blip.momentum import FeatureQueue, Teacher


class Thing(nn.Module):
    """Any module will do: the teacher knows no BLIP."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))
        self.scale = nn.Parameter(torch.tensor(1.0))


# ---- the teacher ----


@pytest.mark.parametrize("momentum", [0.995, 0.5, 0.0, 1.0])
def test_after_n_steps_it_is_the_weighted_sum_of_all_students(momentum):
    """teacher_n = m^n teacher_0 + (1 - m) sum_k m^(n - k) student_k."""
    student = Thing()
    teacher = Teacher(student)
    start = {name: p.clone().double() for name, p in student.named_parameters()}
    students = []
    for step in range(12):
        with torch.no_grad():
            for parameter in student.parameters():
                parameter.copy_(torch.randn(parameter.shape) + step)
        students.append({name: p.clone().double() for name, p in student.named_parameters()})
        teacher.update(student, momentum)
    for name, found in teacher.module.named_parameters():
        expected = momentum**12 * start[name]
        for k, past in enumerate(students, start=1):
            expected = expected + (1 - momentum) * momentum ** (12 - k) * past[name]
        torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)


def test_it_is_a_copy_that_stays_in_eval_mode_and_learns_nothing():
    student = Thing().train()
    teacher = Teacher(student)
    assert not any(m.training for m in teacher.module.modules())
    holder = nn.Sequential(student, teacher).train()
    assert student.training and not any(m.training for m in teacher.module.modules())
    assert holder.eval() and not student.training
    assert not any(p.requires_grad for p in teacher.parameters())
    assert student.scale.requires_grad
    with torch.no_grad():
        student.scale.add_(1.0)
    assert teacher.module.scale.item() == 1.0
    x = torch.ones(1, 3)
    assert torch.equal(teacher.module.inner(x), teacher.module.inner(x))


def test_it_leaves_the_student_as_it_is():
    student = Thing()
    teacher = Teacher(student)
    with torch.no_grad():
        student.scale.add_(1.0)
    before = {name: p.clone() for name, p in student.named_parameters()}
    teacher.update(student, 0.9)
    assert all(torch.equal(p, before[name]) for name, p in student.named_parameters())
    assert all(p.grad is None and p.requires_grad for p in student.parameters())


def test_the_student_may_own_more_than_the_copy():
    """BLIP's teacher is the half that ITC reads; its weights follow by name."""
    model = toy_model(spread=0.2)
    teacher = Teacher(narrowed(model, "encode"))
    names = {name for name, _ in teacher.module.named_parameters()}
    assert names < {name for name, _ in model.named_parameters()}
    assert not any("cross_attention" in name or "lm_head" in name for name in names)
    with torch.no_grad():
        features = model.text_features(model.encode_text(toy_tokens([5, 6])))
        copied = teacher.module.text_features(teacher.module.encode_text(toy_tokens([5, 6])))
    assert torch.equal(features, copied)
    other = BLIP(toy_config()).eval()
    teacher.update(other, 0.0)
    with torch.no_grad():
        followed = teacher.module.text_features(teacher.module.encode_text(toy_tokens([5, 6])))
        assert torch.equal(followed, other.text_features(other.encode_text(toy_tokens([5, 6]))))


# ---- the queue ----


def test_it_begins_with_unit_rows_and_no_ids():
    queue = FeatureQueue(50, 8)
    torch.testing.assert_close(queue.rows.norm(dim=1), torch.ones(50))
    assert (queue.ids == -100).all() and queue.position == 0
    assert set(queue.state_dict()) == {"rows", "ids", "position"}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 9), st.lists(st.integers(0, 25), max_size=8))
def test_it_is_a_ring_at_any_batch_size(size, batches):
    queue, ring, place, born = FeatureQueue(size, 2), None, 0, 0
    ring = [(row, -100) for row in queue.rows.tolist()]
    for count in batches:
        features = torch.arange(born, born + count).float()[:, None].repeat(1, 2)
        ids = torch.arange(born, born + count)
        queue.push(features, ids)
        for row, i in zip(features.tolist(), ids.tolist(), strict=True):
            if size:
                ring[place] = (row, i)
                place = (place + 1) % size
        born += count
    assert queue.rows.tolist() == [row for row, _ in ring]
    assert queue.ids.tolist() == [i for _, i in ring]
    assert queue.position == place


def test_the_newest_stay_when_more_come_than_fit():
    queue = FeatureQueue(3, 1)
    queue.push(torch.arange(7.0)[:, None], torch.arange(7))
    assert sorted(queue.ids.tolist()) == [4, 5, 6]
    assert queue.rows.flatten().tolist() == queue.ids.float().tolist()


def test_what_is_queued_has_no_gradient_and_the_queues_own_type():
    queue = FeatureQueue(4, 2)
    queue.push(torch.ones(2, 2, dtype=torch.bfloat16, requires_grad=True), torch.tensor([1, 2]))
    assert queue.rows.dtype == torch.float32 and not queue.rows.requires_grad
    assert queue.rows[:2].tolist() == [[1, 1], [1, 1]]


def test_a_saved_queue_goes_on_where_it_was():
    one, other = FeatureQueue(4, 2), FeatureQueue(4, 2)
    one.push(torch.randn(3, 2), torch.tensor([1, 2, 3]))
    other.load_state_dict(one.state_dict())
    more = torch.randn(2, 2)
    for queue in (one, other):
        queue.push(more, torch.tensor([4, 5]))
    assert one.ids.tolist() == other.ids.tolist() == [5, 2, 3, 4]
    assert torch.equal(one.rows, other.rows)
