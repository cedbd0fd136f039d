"""`lab bench rerank`: both ways find the scores that a slow loop finds, and the arithmetic is what torch counts."""

import json

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from blip.errors import InputError
from blip.tokenizer import Tokens
from lab.bench import rerank as bench
from lab.bench.rerank_flops import retrieval_ours, retrieval_published, vqa_ours, vqa_published
from lab.bench.rerank_retrieval import SPECIAL, random_texts, retrieval
from lab.bench.rerank_vqa import SMOOTHING, questions

SMALL = {"size": "nano", "image_size": 32, "images": 4, "texts": 10, "k": 2, "texts_at_once": 4}
ASKED = {"questions": 2, "answers": 40, "k_answers": 12, "rounds": 2, "device": "cpu"}


@pytest.fixture(scope="module")
def work():
    return retrieval(**SMALL, device="cpu", seed=0)


@pytest.fixture(scope="module")
def asked():
    return questions("nano", count=3, answers=40, k=12, device="cpu", seed=0)


def alone(tokens, row):
    """One text without padding."""
    length = int(tokens.keep[row].sum())
    return Tokens(tokens.ids[row : row + 1, :length], tokens.keep[row : row + 1, :length], tokens.lead, tokens.special)


@torch.inference_mode()
def test_both_ways_score_as_one_pair_after_the_other_does(work):
    tokens = work.tokens.led_by("ENC")
    expected = []
    for lists, pair in ((work.of_images, lambda q, c: (q, c)), (work.of_texts, lambda q, c: (c, q))):
        for query, (rows, cosines) in enumerate(zip(lists.rows, lists.scores, strict=True)):
            for candidate, cosine in zip(rows.tolist(), cosines.tolist(), strict=True):
                image, text = pair(query, candidate)
                memory = work.model.remember(work.states[image : image + 1], "encoder")
                expected.append(cosine + work.model.match_logits(alone(tokens, text), memory)[0, 1].item())
    assert len(expected) == 4 * 2 + 10 * 2
    assert max(expected) - min(expected) > 0.1  # a constant would agree with anything
    for way in (work.ours, work.peer):
        assert way() == pytest.approx(expected, abs=1e-5)


@torch.inference_mode()
def test_both_ways_rank_answers_as_a_loop_over_answers_does(asked):
    memory = asked.model.answer.remember(asked.states, "decoder", asked.keep)
    for way in (asked.ours, asked.peer):
        ranking = way()
        assert ranking.answers.shape == (3, 12)
        for question in range(3):
            own = memory.rows(torch.tensor([question]))
            for answer, score in zip(ranking.answers[question].tolist(), ranking.scores[question].tolist(), strict=True):
                text = alone(asked.answers, answer)
                logprobs = asked.model.answer_logits(text, own)[0].log_softmax(dim=1)
                loss = 0.0
                for place, token in enumerate(text.ids[0, 1:].tolist()):
                    loss -= (1 - SMOOTHING) * logprobs[place, token].item() + SMOOTHING * logprobs[place].mean().item()
                assert score == pytest.approx(-loss, abs=1e-4)


@torch.inference_mode()
def test_the_likeliest_first_tokens_are_let_through(asked):
    memory = asked.model.answer.remember(asked.states, "decoder", asked.keep)
    first = asked.model.answer_logits(Tokens(asked.answers.ids[:3, :1], asked.answers.keep[:3, :1], "DEC", SPECIAL), memory)
    likely = first[:, 0][:, asked.answers.ids[:, 1]]
    for question, chosen in enumerate(asked.peer().answers):
        order = sorted(range(40), key=lambda answer, row=likely[question]: -row[answer].item())
        assert set(chosen.tolist()) == set(order[:12])


def counted(call):
    """Floating-point operations as torch counts them, attention as plain products."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        call()
    return counter.get_total_flops()


def test_operations_of_retrieval_are_those_that_torch_counts(work):
    limit = work.limit()
    pairs, head = 4 * 2 + 10 * 2, 2 * work.model.config.text.width * 2
    published = retrieval_published(work.model.config, pairs, 35)
    assert counted(work.peer) == published + pairs * head
    assert limit["shapes"]["pairs"] == pairs
    distinct = {(i, t) for i in range(4) for t in work.of_images.rows[i].tolist()}
    distinct |= {(i, t) for t in range(10) for i in work.of_texts.rows[t].tolist()}
    assert limit["shapes"]["pairs_distinct"] == len(distinct) < pairs
    lengths = work.tokens.keep.sum(dim=1)
    ours = retrieval_ours(work.model.config, 4, [int(lengths[text]) for _, text in distinct])
    assert ours <= counted(work.ours) < 1.5 * ours  # padding within groups comes on top
    assert limit["ratio"] == pytest.approx(published / ours, abs=1e-3)
    assert 1 < limit["ratio_without_shared_pairs"] < limit["ratio"]


def test_operations_of_vqa_are_those_that_torch_counts(asked):
    text, question = asked.model.config.text, asked.keep.shape[1]
    published = vqa_published(text, 3, question, 12, int(asked.answers.keep.sum(dim=1).max()))
    assert counted(asked.peer) == published
    own = asked.answers.keep.sum(dim=1)[asked.ours().answers].flatten().tolist()
    ours = vqa_ours(text, 3, question, own)
    assert ours == pytest.approx(counted(asked.ours), rel=0.1)
    assert asked.limit()["ratio"] == pytest.approx(published / ours, abs=1e-3)


def test_texts_have_the_lengths_they_should(work):
    texts = random_texts(5, (3, 7), "CLS")
    assert texts.keep.sum(dim=1).tolist() == [3, 7, 3, 7, 3]
    for row, length in enumerate((3, 7, 3, 7, 3)):
        assert texts.ids[row, 0] == SPECIAL.cls and texts.ids[row, length - 1] == SPECIAL.sep
        assert (texts.ids[row, 1 : length - 1] >= 999).all() and (texts.ids[row, length:] == SPECIAL.pad).all()
    assert work.tokens.keep.sum(dim=1).tolist() == [8, 10, 13, 16, 22] * 2


def test_agreement_tells_other_scores_and_other_answers(work, asked):
    scores = work.peer()
    assert work.agreement(scores, scores, 1e-4)["agree"]
    moved = scores.copy()
    moved[3] += 0.01
    assert not work.agreement(scores, moved, 1e-4)["agree"]
    ours, peer = asked.ours(), asked.peer()
    found = asked.agreement(ours, peer, 1e-4)
    assert found["agree"] and found["chosen_by_both"] == found["scores"] == 36 and found["best_answer_the_same"] == 3
    others = type(peer)((peer.answers + 1) % 40, peer.scores)
    assert not asked.agreement(ours, others, 1e-4)["agree"]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_the_record_compares_medians_and_names_its_targets(tmp_path, precision, capsys):
    out = tmp_path / "record.json"
    status = bench.main(bench.Options(**SMALL, **ASKED, precision=precision, out=out))
    result = json.loads(out.read_text())["result"]
    assert (result["device"], result["precision"]) == ("cpu", precision)
    for name, target in (("retrieval", 5.0), ("vqa", 3.0)):
        part = result[name]
        assert part["target"] == target and len(part["ours"]["rounds"]) == len(part["peer"]["rounds"]) == 2
        ratio = part["peer"]["seconds"]["median"] / part["ours"]["seconds"]["median"]
        assert part["ratio"] == pytest.approx(ratio, rel=0.01)
        processors = (part[side]["processor_seconds"]["median"] for side in ("peer", "ours"))
        assert part["ratio_of_processor_seconds"] == pytest.approx(next(processors) / next(processors), rel=0.01)
        assert part["spread"]["min"] <= part["spread"]["median"] <= part["spread"]["max"]
        assert part["agreement"]["agree"] is True
        assert part["agreement"]["values"]["min"] < part["agreement"]["values"]["max"]
        assert part["reached"] is (ratio >= target)
    assert status == (0 if result["reached"] else 1)
    assert "limit of the arithmetic" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"k": 0}, "--k 0 cannot be; give 1 or more"),
        ({"k_answers": -1}, "--k-answers -1 cannot be"),
        ({"size": "huge"}, "no model size 'huge'"),
        ({"precision": "int8"}, "no precision 'int8'"),
        ({"device": "tpu"}, "no device 'tpu'; choose cpu or cuda"),
    ],
)
def test_bad_options_are_refused_in_one_sentence(given, said):
    with pytest.raises(InputError, match=said):
        bench.main(bench.Options(**SMALL | ASKED | given))
