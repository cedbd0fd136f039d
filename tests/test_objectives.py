"""Each objective against a double loop written from its formula (paper 3.2)."""

import math
from dataclasses import replace

import pytest
import torch
from scipy import stats
from toy_models import toy_config, toy_images, toy_model, toy_tokens

from blip import objectives
from blip.draws import uniform
from blip.errors import InputError
from blip.model import BLIP
from blip.tasks.batch import PairBatch, TeacherFeatures, joined
from blip.tasks.pretrain import ObjectiveConfig, Pretrain

PRIOR = 2 / 3 * math.log(3 / 2) + 1 / 3 * math.log(3)


def slow_log_softmax(row):
    top = max(row)
    total = math.log(sum(math.exp(x - top) for x in row)) + top
    return [x - total for x in row]


def slow_targets(ids, key_ids):
    return [[(i == k) / sum(i == other for other in key_ids) for k in key_ids] for i in ids]


def slow_soft(similarity, targets, alpha):
    return [
        [
            alpha * math.exp(p) + (1 - alpha) * t
            for p, t in zip(slow_log_softmax(row), target, strict=True)
        ]
        for row, target in zip(similarity, targets, strict=True)
    ]


def slow_cross_entropy(similarity, targets):
    losses = [
        -sum(t * p for t, p in zip(target, slow_log_softmax(row), strict=True))
        for row, target in zip(similarity, targets, strict=True)
    ]
    return sum(losses) / len(losses)


def random(*shape, seed=0, scale=1.0):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---- ITC ----


@pytest.mark.parametrize(
    "ids, queue",
    [
        ([3, 5, 9], []),
        ([3, 5, 9], [-100, -100, 1, 2]),
        ([3, 5, 3], [5, -100, 3, 3, 8]),
    ],
)
def test_targets_are_spread_over_equal_ids(ids, queue):
    keys = ids + queue
    found = objectives.matching_targets(torch.tensor(ids), torch.tensor(keys))
    expected = torch.tensor(slow_targets(ids, keys))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found.sum(1), torch.ones(len(ids)))
    if len(set(ids)) == len(ids) and not set(ids) & set(queue):
        assert torch.equal(found, torch.eye(len(ids), len(keys)))


@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
def test_soft_targets_mix_the_teachers_distribution(alpha):
    similarity, ids, keys = random(3, 7, scale=4), [1, 2, 1], [1, 2, 1, 2, -100, 5, 1]
    targets = slow_targets(ids, keys)
    found = objectives.soft_targets(similarity, torch.tensor(targets), alpha)
    expected = slow_soft(similarity.tolist(), targets, alpha)
    torch.testing.assert_close(found, torch.tensor(expected))
    torch.testing.assert_close(found.sum(1), torch.ones(3))


def test_itc_of_a_direction_is_the_cross_entropy_with_soft_targets():
    similarity, targets = random(4, 9, seed=1, scale=5), random(4, 9, seed=3).softmax(1)
    expected = slow_cross_entropy(similarity.tolist(), targets.tolist())
    assert objectives.itc(similarity, targets).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 0.4])
def test_the_tasks_itc_reads_batch_and_queue(alpha):
    """ITC from features on: online queries, [batch; queue] keys, the teacher's soft targets."""
    task = Pretrain(toy_model(spread=0.2), ObjectiveConfig(queue=5))
    ids = torch.tensor([4, 6, 4])
    unit = [torch.nn.functional.normalize(random(3, 16, seed=s), dim=1) for s in range(6)]
    task.push(TeacherFeatures(unit[0], unit[1], torch.tensor([6, 7, 4])))
    keys = TeacherFeatures(unit[2], unit[3], ids)
    found = task.contrast(unit[4], unit[5], keys, alpha)

    def similarity(queries, keys):
        return [
            [sum(a * b for a, b in zip(q, k, strict=True)) / 0.07 for k in keys] for q in queries
        ]

    texts = unit[3].tolist() + task.text_queue.rows.tolist()
    images = unit[2].tolist() + task.image_queue.rows.tolist()
    targets = slow_targets(ids.tolist(), ids.tolist() + [6, 7, 4, -100, -100])
    expected = 0.0
    for online, teacher, bank in [(unit[4], unit[2], texts), (unit[5], unit[3], images)]:
        soft = slow_soft(similarity(teacher.tolist(), bank), targets, alpha)
        expected += slow_cross_entropy(similarity(online.tolist(), bank), soft) / 2
    assert found.item() == pytest.approx(expected, rel=1e-4)


# ---- hard negatives ----


def test_negatives_are_drawn_with_their_weights():
    similarity = torch.tensor([[9.0, 1.0, 0.0, 2.0, -1.0], [0.0, 5.0, 3.0, 3.0, 3.0]])
    excluded = torch.tensor([[True, False, False, True, False], [False, True, False, False, False]])
    draws = 20_000
    for row in range(2):
        index, valid = objectives.hard_negatives(
            similarity[row].expand(draws, -1),
            excluded[row].expand(draws, -1),
            uniform(11, row, torch.arange(draws)),
            objectives.NEGATIVE_FLOOR,
        )
        assert valid.all()
        counts = torch.bincount(index, minlength=5)
        exact = [math.exp(x) + 1e-4 for x in slow_log_softmax(similarity[row].tolist())]
        weights = [0.0 if out else w for w, out in zip(exact, excluded[row].tolist(), strict=True)]
        assert all(n == 0 for n, w in zip(counts.tolist(), weights, strict=True) if w == 0)
        expected = [draws * w / sum(weights) for w in weights if w]
        seen = [n for n, w in zip(counts.tolist(), weights, strict=True) if w]
        assert stats.chisquare(seen, expected).pvalue > 1e-3


def test_without_a_floor_and_far_apart_no_excluded_row_is_ever_drawn():
    """Similarities so far apart that every allowed weight underflows: an even draw among those."""
    similarity = torch.tensor([[1000.0, 0.0, -3.0, 5.0]]).expand(9_000, -1)
    excluded = torch.tensor([[True, False, True, False]]).expand(9_000, -1)
    draws = uniform(torch.arange(9_000))
    index, valid = objectives.hard_negatives(similarity, excluded, draws, 0.0)
    assert valid.all()
    counts = torch.bincount(index, minlength=4)
    assert counts[0] == counts[2] == 0
    assert stats.chisquare(counts[[1, 3]].numpy()).pvalue > 1e-3


@pytest.mark.parametrize("draw", [0.0, 0.5, 1 - 2**-53])
@pytest.mark.parametrize("scale", [0.1, 30.0])
def test_no_draw_however_extreme_gives_an_equal_pair(draw, scale):
    ids = torch.tensor([1, 2, 1, 3, 2, 2, 4, 1])
    equal = ids[:, None] == ids[None]
    index, valid = objectives.hard_negatives(
        random(8, 8, scale=scale), equal, torch.full((8,), draw, dtype=torch.float64), 1e-4
    )
    assert valid.all() and (ids[index] != ids).all()


def test_a_row_without_any_negative_is_left_out():
    ids = torch.tensor([1, 1, 2])
    equal = (ids[:, None] == ids[None]).clone()
    equal[2] = True
    index, valid = objectives.hard_negatives(random(3, 3), equal, uniform(torch.arange(3)), 1e-4)
    assert valid.tolist() == [True, True, False] and index[:2].tolist() == [2, 2]
    alone, none = objectives.hard_negatives(
        random(1, 1), torch.ones(1, 1, dtype=torch.bool), torch.zeros(1), 1e-4
    )
    assert none.tolist() == [False] and 0 <= alone.item() < 1


def test_drawing_negatives_has_no_gradient():
    similarity = random(4, 4).requires_grad_()
    index, _ = objectives.hard_negatives(
        similarity, torch.eye(4, dtype=torch.bool), uniform(torch.arange(4)), 1e-4
    )
    assert not index.requires_grad


# ---- ITM ----


def test_itm_counts_one_positive_and_two_negatives():
    logits = random(12, 2, scale=3)
    found = objectives.itm(logits, torch.ones(12, dtype=torch.bool))
    expected = sum(
        -slow_log_softmax(row)[1 if i < 4 else 0] for i, row in enumerate(logits.tolist())
    )
    assert found.item() == pytest.approx(expected / 12, rel=1e-5)


def test_itm_leaves_out_what_could_not_be_drawn():
    logits, valid = random(9, 2), torch.ones(9, dtype=torch.bool)
    valid[[4, 8]] = False
    rows = logits.tolist()
    kept = [-slow_log_softmax(rows[i])[1 if i < 3 else 0] for i in range(9) if valid[i]]
    assert objectives.itm(logits, valid).item() == pytest.approx(sum(kept) / 7, rel=1e-5)


def test_knowing_only_the_class_prior_costs_0_6365():
    logits = torch.tensor([[math.log(2.0), 0.0]]).expand(30, -1)
    found = objectives.itm(logits, torch.ones(30, dtype=torch.bool)).item()
    assert found == pytest.approx(PRIOR, rel=1e-5) == pytest.approx(0.6365, abs=5e-5)


def test_the_task_draws_one_negative_a_side_from_the_other_pairs(monkeypatch):
    """The fused pass: positives, each text with its hard image, each image with its hard text."""
    task = Pretrain(toy_model(spread=0.2).eval(), ObjectiveConfig(queue=0))
    batch = toy_batch([5, 5, 7, 8])
    seen = {}

    def match_logits(tokens, memory):
        seen.update(tokens=tokens, memory=memory)
        return torch.zeros(len(tokens), 2)

    monkeypatch.setattr(task.model, "match_logits", match_logits)
    similarity = (random(4, 4, seed=5, scale=3), random(4, 4, seed=6, scale=3))
    with torch.no_grad():
        states = random(4, 5, 24, seed=7)
        memory = task.model.remember(states, "encoder")
        loss = task.match(batch, memory, similarity, states)
    assert loss.item() == pytest.approx(math.log(2))
    assert seen["tokens"].lead == "ENC" and len(seen["tokens"]) == len(seen["memory"]) == 12
    image = [row_of(memory.keys[0], row) for row in seen["memory"].rows(torch.arange(12)).keys[0]]
    text = [row_of(batch.tokens.led_by("ENC").ids, row) for row in seen["tokens"].ids]
    assert image[:4] == text[:4] == image[8:] == text[4:8] == [0, 1, 2, 3]
    ids = batch.ids.tolist()
    assert all(ids[a] != ids[b] for a, b in zip(image[4:], text[4:], strict=True))
    equal = batch.ids[:, None] == batch.ids[None]
    for stream, (drawn, weights) in enumerate(
        [(image[4:8], similarity[1]), (text[8:], similarity[0])]
    ):
        draws = uniform(0, batch.step, stream, torch.arange(4) + batch.first_row)
        expected, _ = objectives.hard_negatives(weights, equal, draws, 1e-4)
        assert drawn == expected.tolist()


def row_of(rows, row):
    return next(i for i in range(len(rows)) if torch.equal(rows[i], row))


# ---- LM ----


def test_labels_leave_out_padding_and_prompt():
    tokens = toy_tokens([6, 4], "DEC")
    for prompt in (0, 1, 3):
        labels = objectives.lm_labels(tokens.ids, tokens.keep, prompt)
        for row in range(2):
            for place in range(6):
                counts = place >= prompt and place < [6, 4][row]
                expected = tokens.ids[row, place] if counts else objectives.IGNORED
                assert labels[row, place] == expected
    assert (tokens.ids != objectives.IGNORED).all(), "the ids themselves stay as they are"


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("prompt", [0, 3])
def test_lm_predicts_each_next_token(smoothing, prompt):
    """Mean over counted tokens of -(1 - s) log p(next) - s / V sum of log p over the vocabulary."""
    tokens = toy_tokens([6, 4, 5], "DEC")
    logits = random(3, 6, 40, scale=2)
    labels = objectives.lm_labels(tokens.ids, tokens.keep, prompt)
    found = objectives.lm(logits, labels, smoothing)
    losses = []
    for row, length in enumerate([6, 4, 5]):
        for place in range(max(1, prompt), length):
            logp = slow_log_softmax(logits[row, place - 1].tolist())
            target = logp[tokens.ids[row, place]]
            losses.append(-(1 - smoothing) * target - smoothing * sum(logp) / len(logp))
    assert found.item() == pytest.approx(sum(losses) / len(losses), rel=1e-5)


# ---- the three together ----


def toy_batch(ids, step=0):
    lengths = [5 + i % 4 for i in range(len(ids))]
    return PairBatch(toy_images(len(ids)), toy_tokens(lengths), torch.tensor(ids), step)


def test_a_loss_of_weight_zero_is_not_computed():
    task = Pretrain(toy_model().eval(), ObjectiveConfig(queue=4))
    losses = task(toy_batch([1, 2, 3]), 0.4)
    assert list(losses.parts) == ["itc", "itm", "lm"]
    assert losses.total.item() == pytest.approx(sum(x.item() for x in losses.parts.values()))
    for name in ("itc", "itm", "lm"):
        config = ObjectiveConfig(queue=4, **{f"{name}_weight": 0.0})
        assert name not in Pretrain(toy_model().eval(), config)(toy_batch([1, 2, 3]), 0.4).parts
    double = Pretrain(toy_model().eval(), ObjectiveConfig(queue=4, lm_weight=2.0))
    double.load_state_dict(task.state_dict())
    weighted = double(toy_batch([1, 2, 3]), 0.4)
    assert weighted.total.item() == pytest.approx(
        losses.total.item() + losses.parts["lm"].item(), rel=1e-5
    )


def test_a_forward_changes_nothing_and_after_step_everything():
    task = Pretrain(toy_model().train(), ObjectiveConfig(queue=6))
    before = {name: tensor.clone() for name, tensor in task.state_dict().items()}
    losses = task(toy_batch([1, 2, 3]), 0.4)
    assert all(torch.equal(tensor, before[name]) for name, tensor in task.state_dict().items())
    with torch.no_grad():
        for parameter in task.model.parameters():
            parameter.add_(1.0)
    task.after_step([losses.features, replace(losses.features, ids=torch.tensor([4, 5, 6]))])
    assert task.image_queue.ids.tolist() == task.text_queue.ids.tolist() == [1, 2, 3, 4, 5, 6]
    torch.testing.assert_close(task.text_queue.rows[:3], losses.features.text)
    torch.testing.assert_close(task.image_queue.rows[3:], losses.features.image)
    name = "text.blocks.0.mlp.encoder.mlp.up.weight"
    torch.testing.assert_close(
        task.state_dict()[f"teacher.module.{name}"], before[f"model.{name}"] + 0.005
    )
    assert task.model.temperature.item() == 0.5
    assert len(joined([losses.features] * 3).ids) == 9


def test_before_its_start_the_teacher_is_the_student_and_the_queues_are_not_read():
    plain = Pretrain(toy_model(spread=0.2).eval(), ObjectiveConfig(queue=0, momentum=None, negatives="online"))
    task = Pretrain(toy_model(spread=0.2).eval(), ObjectiveConfig(queue=5, teacher_start=2, negatives="online"))
    for step in range(2):
        mine, alone = (used(toy_batch([1, 2, 3], step), 0.4) for used in (task, plain))
        assert all(torch.equal(mine.parts[name], alone.parts[name]) for name in mine.parts)
        with torch.no_grad():
            for used in (task, plain):
                used.model.image_projection.weight.add_(0.1)
        task.after_step([mine.features])
        plain.after_step([alone.features])
        assert torch.equal(task.teacher.module.image_projection.weight, task.model.image_projection.weight)
        assert task.text_queue.ids.tolist() == [-100] * 5


def test_without_a_teacher_soft_targets_change_nothing():
    """They would be the student's own answers, and only scale ITC's gradient by 1 - alpha."""
    for rules in ({"queue": 0, "momentum": None}, {"queue": 5, "teacher_start": 3}):
        plain, soft = (Pretrain(toy_model(spread=0.2).eval(), ObjectiveConfig(**rules)) for _ in range(2))
        for task, alpha in ((plain, 0.0), (soft, 0.4)):
            task(toy_batch([1, 2, 3]), alpha).parts["itc"].backward()
        for one, other in zip(plain.model.parameters(), soft.model.parameters(), strict=True):
            assert one.grad is None or torch.equal(one.grad, other.grad)


def test_a_late_teacher_reads_only_the_keys_that_were_pushed():
    """ITC against the slow sum over batch and real keys; the random ones that are left count nothing."""
    task = Pretrain(toy_model(spread=0.2).eval(), ObjectiveConfig(queue=5, teacher_start=1))
    task.after_step([task(toy_batch([1, 2, 3]), 0.0).features])
    task.after_step([task(toy_batch([4, 5, 6], 1), 0.0).features])
    assert task.text_queue.ids.tolist() == [4, 5, 6, -100, -100]
    batch = toy_batch([7, 8], 2)
    losses = task(batch, 0.0)
    image = task.model.image_features(task.model.encode_image(batch.images))
    text = task.model.text_features(task.model.encode_text(batch.tokens))
    total = 0.0
    for queries, keys, queue in (
        (image, losses.features.text, task.text_queue), (text, losses.features.image, task.image_queue)
    ):
        logits = queries @ torch.cat([keys, queue.rows[:3]]).T / task.model.temperature
        total += sum(float(row.logsumexp(0) - row[i]) for i, row in enumerate(logits)) / 2
    assert losses.parts["itc"].item() == pytest.approx(total / 2, rel=1e-5)


def test_a_batch_of_one_pair_trains_without_negatives():
    task = Pretrain(toy_model().train(), ObjectiveConfig(queue=4))
    losses = task(toy_batch([1]), 0.4)
    assert all(torch.isfinite(loss) for loss in losses.parts.values())
    losses.total.backward()


def test_one_batch_overfitted_knows_its_pairs():
    """ITM well below the 0.6365 of the class prior, with negatives drawn anew at each step."""
    torch.manual_seed(0)
    task = Pretrain(BLIP(toy_config(dropout=0.0)), ObjectiveConfig(queue=0, momentum=0.9)).train()
    optimizer = torch.optim.AdamW(task.model.parameters(), lr=3e-3)
    for step in range(150):
        losses = task(toy_batch(list(range(8)), step), 0.0)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        task.after_step([losses.features])
    task.eval()
    with torch.no_grad():
        fresh = [task(toy_batch(list(range(8)), step), 0.0).parts for step in range(1000, 1010)]
    itm = sum(parts["itm"].item() for parts in fresh) / len(fresh)
    assert itm < 0.3 < PRIOR
    assert fresh[0]["itc"] < math.log(8) / 2


@pytest.mark.parametrize(
    "values, word",
    [
        ({"queue": -1}, "queue of -1"),
        ({"negatives": "soft"}, "momentum, online, random"),
        ({"momentum": 1.5}, "momentum of 1.5"),
        ({"momentum": None}, "queue needs momentum"),
    ],
    ids=str,
)
def test_impossible_objectives_are_refused(values, word):
    with pytest.raises(InputError, match=word):
        ObjectiveConfig(**values)
