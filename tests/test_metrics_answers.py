"""Accuracy of answers, NLVR2 and dialog scores: by hand, against slow truths, and what ids must be."""

import math
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blip.errors import InputError
from blip.metrics.dialog import candidate_ranks, dialog_scores, ndcg, true_ranks
from blip.metrics.nlvr import nlvr_scores
from blip.metrics.results import group_means
from blip.metrics.vqa import exact_accuracy, soft_accuracy, vqa_accuracy
from blip.metrics.vqa_answers import normalize_answer


@pytest.mark.parametrize(
    ("said", "compared"),
    [
        ("The two dogs.", "2 dogs"),
        ("An apple, a pear", "apple pear"),
        ("none", "0"),
        ("Dont know", "don't know"),
        ("he couldntve", "he couldntve"),  # both apostrophes left out: not in the official table
        ("couldnt've", "couldn't've"),
        ("its 3.5", "its 3.5"),
        ("1,000", "1000"),
        ("yes,no", "yes no"),
        ("black/white", "black white"),
        ("black / white", "black white"),
        ("t-shirt", "t shirt"),
        ("what's\tup\n", "what's up"),
        ("U.S.A.", "usa"),
        ("the", ""),
    ],
)
def test_answers_are_made_alike(said, compared):
    assert normalize_answer(said) == compared


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["the", "dog", "two", "2", "isnt", "a.", "red"]), max_size=5))
def test_what_was_made_alike_stays(words):
    once = normalize_answer(" ".join(words))
    assert normalize_answer(once) == once


def slow_soft_accuracy(prediction, answers):
    scores = []
    for left_out in range(len(answers)):
        others = [answer for i, answer in enumerate(answers) if i != left_out]
        scores.append(min(1.0, others.count(prediction) / 3))
    return sum(scores) / len(scores)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from("xyz"), st.lists(st.sampled_from("xyz"), min_size=1, max_size=10))
def test_soft_accuracy_leaves_each_annotator_out(prediction, answers):
    assert soft_accuracy(prediction, answers) == pytest.approx(slow_soft_accuracy(prediction, answers))


@pytest.mark.parametrize(("agreeing", "score"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)])
def test_soft_accuracy_by_hand(agreeing, score):
    """One of ten agrees: nine times 1/3, once 0. Three agree: seven times 1, three times 2/3."""
    answers = ["two"] * agreeing + ["a red bus"] * (10 - agreeing)
    assert soft_accuracy("two", answers) == pytest.approx(score)


def test_answers_are_made_alike_only_where_annotators_differ():
    assert soft_accuracy("2", ["two"] * 9 + ["2"]) == 1.0
    assert soft_accuracy("2", ["two"] * 10) == 0.0
    assert soft_accuracy(" two\n", ["two"] * 10) == 1.0


def test_vqa_accuracy_by_question_and_type():
    answers = {7: ["yes"] * 10, 8: ["no"] * 8 + ["yes"] * 2, 9: ["red"] * 10}
    found = vqa_accuracy([(9, "blue"), (8, "Yes"), (7, "yes")], answers)
    assert found.per_question == pytest.approx({7: 1.0, 8: 0.6, 9: 0.0})
    assert found.overall == pytest.approx(1.6 / 3)
    kinds = group_means(found.per_question, {7: "yes/no", 8: "yes/no", 9: "other"})
    assert kinds == pytest.approx({"yes/no": 0.8, "other": 0.0})
    with pytest.raises(InputError, match="9 belongs to no group"):
        group_means(found.per_question, {7: "yes/no", 8: "yes/no"})


def test_exact_accuracy_by_hand():
    assert exact_accuracy([("a", "Dog "), ("b", "dogs")], {"a": "dog", "b": "dog"}) == 0.5


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ([(1, "a"), (2, "b"), (1, "c")], "question 1 occurs twice"),
        ([(1, "a")], "lack the question 2; give all 2"),
        ([(1, "a"), (2, "b"), (3, "c")], "question 3, which the truth does not have"),
    ],
)
def test_ids_are_there_once(results, said):
    with pytest.raises(InputError, match=said):
        exact_accuracy(results, {1: "a", 2: "b"})
    with pytest.raises(InputError, match=said):
        vqa_accuracy(results, {1: ["a"], 2: ["b"]})


def test_no_truth_and_no_annotator():
    with pytest.raises(InputError, match="no question to score"):
        exact_accuracy([], {})
    with pytest.raises(InputError, match="question 1 has no annotator"):
        vqa_accuracy([(1, "a")], {1: []})


def test_nlvr_by_hand():
    labels = {"dev-1-0-0": True, "dev-1-1-0": False, "dev-1-0-1": True, "dev-2-0-0": False}
    statement_of = {"dev-1-0-0": "1-0", "dev-1-1-0": "1-0", "dev-1-0-1": "1-1", "dev-2-0-0": "2-0"}
    verdicts = {"dev-2-0-0": False, "dev-1-0-0": True, "dev-1-1-0": True, "dev-1-0-1": True}
    found = nlvr_scores(verdicts.items(), labels, statement_of)
    assert (found.accuracy, found.consistency) == (3 / 4, 2 / 3)
    with pytest.raises(InputError, match="lack the example 'dev-2-0-0'"):
        nlvr_scores(list(verdicts.items())[1:], labels, statement_of)
    with pytest.raises(InputError, match="'dev-1-0-0' has no statement"):
        nlvr_scores(verdicts.items(), labels, {})


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 3)), min_size=1, max_size=8))
def test_nlvr_by_a_double_loop(examples):
    """Consistency by statement, counted anew for each."""
    predictions = [(i, said) for i, (said, _, _) in enumerate(examples)]
    labels = {i: label for i, (_, label, _) in enumerate(examples)}
    statement_of = {i: statement for i, (_, _, statement) in enumerate(examples)}
    found = nlvr_scores(predictions[::-1], labels, statement_of)
    consistent = [
        all(said == label for said, label, other in examples if other == statement)
        for statement in {statement for _, _, statement in examples}
    ]
    assert found.consistency == pytest.approx(sum(consistent) / len(consistent))
    assert found.accuracy == pytest.approx(sum(said == label for said, label, _ in examples) / len(examples))


def test_dialog_scores_by_hand():
    scores = np.array([[0.1, 0.9, 0.5], [0.3, 0.2, 0.1], [0.5, 0.5, 0.5]])
    ranks = true_ranks(scores, np.array([2, 0, 1]))
    assert ranks.tolist() == [2, 1, 3]  # three equal scores: the true one counts as last
    found = dialog_scores(ranks)
    assert found.mrr == pytest.approx((1 / 2 + 1 + 1 / 3) / 3)
    assert (found.r1, found.r5, found.r10, found.mean_rank) == (1 / 3, 1.0, 1.0, 2.0)


def test_a_submission_ranks_every_candidate_once():
    ranks = candidate_ranks(np.array([[0.1, 0.9, 0.5, 0.5]]))
    assert ranks.tolist() == [[4, 1, 2, 3]]
    assert true_ranks(-ranks, np.array([3])).tolist() == [3]


def test_ndcg_by_hand():
    """Two relevant candidates, so two places count; the first place goes to an irrelevant one."""
    scores, relevance = np.array([[0.9, 0.8, 0.1, 0.0]]), np.array([[0.0, 0.5, 1.0, 0.0]])
    gained, best = 0.5 / math.log2(3), 1.0 + 0.5 / math.log2(3)
    assert ndcg(scores, relevance) == pytest.approx([gained / best])
    assert ndcg(relevance, relevance) == pytest.approx([1.0])


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=4, max_size=4),
    st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=4, max_size=4).filter(any),
)
def test_ndcg_of_ties_is_the_mean_over_their_orders(scores, relevance):
    """Slow truth: all orders of the candidates that the scores allow."""
    k = sum(value > 0 for value in relevance)
    best = sum(value / math.log2(i + 2) for i, value in enumerate(sorted(relevance, reverse=True)[:k]))
    gains = []
    for order in permutations(range(4)):
        if all(scores[a] >= scores[b] for a, b in pairwise(order)):
            gains.append(sum(relevance[c] / math.log2(i + 2) for i, c in enumerate(order[:k])))
    found = ndcg(np.array([scores]), np.array([relevance]))
    assert found == pytest.approx([sum(gains) / len(gains) / best])


def test_what_cannot_be_ranked():
    scores = np.zeros((2, 3))
    with pytest.raises(InputError, match=r"Row 1 .* no relevant"):
        ndcg(scores, np.array([[1.0, 0, 0], [0, 0, 0]]))
    with pytest.raises(InputError, match=r"\(2, 2\) does not fit scores \(2, 3\)"):
        ndcg(scores, np.zeros((2, 2)))
    with pytest.raises(InputError, match="index into the pool"):
        true_ranks(scores, np.array([0, 3]))
    with pytest.raises(InputError, match="candidate 2 in row 0 is not a number"):
        candidate_ranks(np.array([[0.0, 1.0, np.nan]]))
    with pytest.raises(InputError, match="no question"):
        dialog_scores(np.array([], dtype=np.int64))
