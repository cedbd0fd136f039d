"""Ranks and recalls against slow truths, by hand, under ties, shortlists and permutations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blip.errors import InputError
from blip.metrics.retrieval import image_to_text_ranks, recalls, text_to_image_ranks, texts_of


@st.composite
def galleries(draw):
    """Scores (I, T) with many ties and some pairs outside the shortlist, and the image of each text."""
    images = draw(st.integers(1, 5))
    extra = draw(st.lists(st.integers(0, images - 1), max_size=6))
    image_of = np.array(draw(st.permutations([*range(images), *extra])))
    values = st.sampled_from([-np.inf, 0.0, 0.25, 0.5, 1.0])
    size = images * len(image_of)
    scores = np.array(draw(st.lists(values, min_size=size, max_size=size))).reshape(images, -1)
    return scores, image_of


def slow_ranks(scores, image_of):
    images, texts = scores.shape
    to_text = [
        min(
            1 + sum(image_of[other] != i and scores[i, other] >= scores[i, own] for other in range(texts))
            for own in range(texts)
            if image_of[own] == i
        )
        for i in range(images)
    ]
    to_image = [
        1 + sum(i != image_of[t] and scores[i, t] >= scores[image_of[t], t] for i in range(images))
        for t in range(texts)
    ]
    return to_text, to_image


@settings(max_examples=80, deadline=None)
@given(galleries())
def test_ranks_are_those_of_a_double_loop(gallery):
    to_text, to_image = slow_ranks(*gallery)
    assert image_to_text_ranks(*gallery).tolist() == to_text
    assert text_to_image_ranks(*gallery).tolist() == to_image


@settings(max_examples=40, deadline=None)
@given(galleries(), st.randoms(use_true_random=False))
def test_the_order_of_images_and_texts_changes_no_rank(gallery, random):
    scores, image_of = gallery
    images, texts = (random.sample(range(n), n) for n in scores.shape)
    shuffled = scores[np.ix_(images, texts)], np.argsort(images)[image_of[texts]]
    assert np.array_equal(image_to_text_ranks(*shuffled), image_to_text_ranks(*gallery)[images])
    assert np.array_equal(text_to_image_ranks(*shuffled), text_to_image_ranks(*gallery)[texts])


@settings(max_examples=40, deadline=None)
@given(galleries())
def test_a_better_score_of_a_true_match_makes_no_rank_worse(gallery):
    scores, image_of = gallery
    better = scores.copy()
    better[image_of[0], 0] = 2.0
    assert (image_to_text_ranks(better, image_of) <= image_to_text_ranks(*gallery)).all()
    assert text_to_image_ranks(better, image_of)[0] == 1


def test_a_gallery_by_hand():
    """Image 0 has texts 0 and 1, image 1 has text 2."""
    scores = np.array([[0.1, 0.7, 0.5], [0.2, 0.9, 0.4]])
    image_of = np.array([0, 0, 1])
    assert image_to_text_ranks(scores, image_of).tolist() == [1, 2]  # image 1: only 0.9 is ahead of 0.4
    assert text_to_image_ranks(scores, image_of).tolist() == [2, 2, 2]
    assert [own.tolist() for own in texts_of(image_of, 2)] == [[0, 1], [2]]


def test_a_model_that_says_the_same_of_everything_gets_no_credit():
    scores, image_of = np.zeros((20, 20), np.float32), np.arange(20)
    for ranks in (image_to_text_ranks(scores, image_of), text_to_image_ranks(scores, image_of)):
        assert (ranks == 20).all() and recalls(ranks).r10 == 0.0


def test_a_match_outside_the_shortlist_ranks_last():
    scores = np.full((3, 3), -np.inf)
    scores[0, 0], scores[1, 0], scores[2, 2] = 1.0, 2.0, 0.5
    assert image_to_text_ranks(scores, np.arange(3)).tolist() == [1, 3, 1]
    assert text_to_image_ranks(scores, np.arange(3)).tolist() == [2, 3, 1]


def test_recalls_by_hand():
    found = recalls(np.array([1, 1, 3, 6, 11, 30]))
    assert (found.r1, found.r5, found.r10) == (2 / 6, 3 / 6, 4 / 6)
    assert (found.median_rank, found.mean_rank) == (4.5, 52 / 6)


@pytest.mark.parametrize(
    ("scores", "image_of", "said"),
    [
        (np.zeros((2, 3)), [0, 1], r"\(2, 3\).*\(2,\)"),
        (np.zeros((2, 2)), [0, 0], "image in row 1 has no text"),
        (np.zeros((2, 2)), [0, 2], "Text 1 belongs to image 2"),
        (np.array([[0.0, np.nan], [0.0, 0.0]]), [0, 1], "image 0 and text 1 is not a number"),
        (np.zeros((0, 0)), [], "no query"),
    ],
)
def test_what_cannot_be_ranked(scores, image_of, said):
    with pytest.raises(InputError, match=said):
        image_to_text_ranks(scores, np.array(image_of, dtype=np.int64))


def test_no_query_has_no_recall():
    with pytest.raises(InputError, match="at least one"):
        recalls(np.array([], dtype=np.int64))
