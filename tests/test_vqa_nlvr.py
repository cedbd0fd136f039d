"""VQA and NLVR: how they start from pre-training, what they refuse, what padding must not change."""

from dataclasses import replace

import pytest
import torch
from stored_models import model_of
from toy_models import toy_config, toy_images, toy_model, toy_tokens

from blip.errors import InputError
from blip.model import narrowed
from blip.tasks.nlvr import nlvr_from
from blip.tasks.vqa import VQA, answer_losses, vqa_from


def near(found, expected):
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_vqa_starts_as_the_pretrained_encoder_and_decoder():
    config = toy_config(width=32, memory_width=32)  # image states as wide as question states
    model = toy_model(spread=0.2, config=config)
    task = vqa_from(model).eval()
    images, questions, answers = toy_images(2), toy_tokens([6, 8], "ENC"), toy_tokens([5, 4], "DEC", seed=1)
    states = task.image_encoder(images)
    asked = task.question(
        questions.ids, questions.keep, "encoder", memory=task.question.remember(states, "encoder")
    )
    near(asked, model.fuse(questions, model.remember(model.encode_image(images), "encoder")))
    expected = model.decode(answers, model.remember(asked, "decoder", questions.keep))
    near(task(images, questions, answers, torch.arange(2)), expected)


@torch.no_grad()
def test_vqa_starts_anew_where_question_states_are_not_as_wide_as_images():
    model = toy_model(spread=0.2)  # images 24 wide, text 32
    task = vqa_from(model)
    cross = task.answer.blocks[0].cross_attention["decoder"]
    assert cross.key_value.weight.shape == (64, 32)
    assert torch.equal(cross.query.weight, model.text.blocks[0].cross_attention["decoder"].query.weight)
    own = model.text.blocks[1].self_attention["decoder"].qkv.weight
    assert torch.equal(task.answer.blocks[1].self_attention["decoder"].qkv.weight, own)


@torch.no_grad()
def test_the_padding_of_a_question_changes_no_answer():
    model = model_of("vqa")
    images, answers = toy_images(1), toy_tokens([5], "DEC")
    short = toy_tokens([6], "ENC")
    padded = replace(
        short,
        ids=torch.cat([short.ids, torch.zeros(1, 4, dtype=torch.int64)], 1),
        keep=torch.cat([short.keep, torch.zeros(1, 4, dtype=torch.bool)], 1),
    )
    first = torch.zeros(1, dtype=torch.int64)
    near(model(images, padded, answers, first), model(images, short, answers, first))


@torch.no_grad()
def test_ranking_scores_are_the_log_likelihoods_word_by_word():
    torch.manual_seed(1)
    model = VQA(toy_config()).eval()
    answers = toy_tokens([5, 4, 6, 3, 5], "DEC", seed=2)
    memory = model.remember(toy_images(2), toy_tokens([6, 8], "ENC"))
    ranking = model.rank(memory, answers, k=99)
    assert ranking.answers.shape == ranking.scores.shape == (2, 5)
    for question in range(2):
        one = memory.rows(torch.tensor([question]))
        for place, answer in enumerate(ranking.answers[question].tolist()):
            score = 0.0
            for i in range(1, int(answers.keep[answer].sum())):
                row = answers.rows(torch.tensor([answer]))
                begun = replace(row, ids=row.ids[:, :i], keep=row.keep[:, :i])
                logits = model.answer_logits(begun, one)[0, -1].log_softmax(0)
                score += float(logits[answers.ids[answer, i]])
            assert score == pytest.approx(float(ranking.scores[question, place]), abs=1e-4)
    best = ranking.answers[torch.arange(2), ranking.scores.argmax(1)]
    assert torch.equal(ranking.best, best)


def test_smoothing_can_order_answers_otherwise():
    """Two answers, one word each and the end: a sure word among improbable ones against an even guess."""
    answers = toy_tokens([3, 3], "DEC")
    logits = torch.zeros(2, 3, 40)
    logits[0] -= 60.0
    for i in (0, 1):
        logits[0, i, answers.ids[0, i + 1]] = 0.0
    plain, smooth = answer_losses(logits, answers, 0.0), answer_losses(logits, answers, 0.1)
    assert plain[0] < plain[1] and smooth[0] > smooth[1]


def test_vqa_refuses_wrong_first_tokens_no_answers_and_models_without_a_decoder():
    model = model_of("vqa")
    with pytest.raises(InputError, match=r"\[ENC\]"):
        model.remember(toy_images(1), toy_tokens([5]))
    memory = model.remember(toy_images(1), toy_tokens([5], "ENC"))
    with pytest.raises(InputError, match=r"\[DEC\]"):
        model.answer_logits(toy_tokens([5]), memory)
    with pytest.raises(InputError, match="no answers"):
        model.rank(memory, toy_tokens([5], "DEC").rows(torch.zeros(0, dtype=torch.int64)))
    with pytest.raises(InputError, match="ITM and LM"):
        vqa_from(narrowed(toy_model(), "decode"))


@torch.no_grad()
def test_nlvr_of_one_image_twice_starts_as_the_pretrained_itm_reading():
    model = toy_model(spread=0.2)  # two layers: both average
    task = nlvr_from(model).eval()
    task.head = torch.nn.Identity()
    images, statements = toy_images(3), toy_tokens([6, 8, 5], "ENC")
    expected = model.fuse(statements, model.remember(model.encode_image(images), "encoder"))
    near(task(images, images, statements), expected[:, 0])


@torch.no_grad()
def test_nlvr_layers_merge_from_the_seventh_on():
    model = model_of("nlvr")
    merging = [block.cross_attention.merge is not None for block in model.blocks]
    assert merging == [False] * 6 + [True]
    model.blocks[6].cross_attention.merge.weight.copy_(torch.cat([torch.eye(32) / 2, torch.eye(32) / 2], 1))
    images, other, statements = toy_images(2), toy_images(2, seed=1), toy_tokens([6, 8], "ENC")
    merged = model(images, other, statements)
    model.blocks[6].cross_attention.merge = None
    near(merged, model(images, other, statements))


def test_nlvr_refuses_what_it_cannot_read():
    model, images = model_of("nlvr"), toy_images(1)
    with pytest.raises(InputError, match=r"\[ENC\]"):
        model(images, images, toy_tokens([5]))
    with pytest.raises(InputError, match="25 tokens"):
        model(images, images, toy_tokens([25], "ENC"))
    with pytest.raises(InputError, match="ITM"):
        nlvr_from(narrowed(toy_model(), "encode"))
