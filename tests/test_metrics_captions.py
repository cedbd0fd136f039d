"""Caption metrics: equal to pycocoevalcap on the same words, by hand, and without Java."""

import contextlib
import io
import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from blip.errors import InputError
from blip.metrics import java_scorers
from blip.metrics.captions import bleu, caption_scores, cider_d, rouge_l, sentence_bleu
from blip.metrics.diversity import distinct_n, diversity, self_bleu
from blip.metrics.words import caption_words, ngrams

# Few words, so that n-grams repeat and match.
sentences = st.lists(st.sampled_from(["a", "dog", "cat", "runs", "red", "the"]), min_size=1, max_size=9)
corpora = st.lists(
    st.tuples(sentences, st.lists(sentences, min_size=1, max_size=4)), min_size=1, max_size=6
).map(lambda rows: tuple(map(list, zip(*rows, strict=True))))


def reference_scores(captions, references):
    """(BLEU-1..4, ROUGE-L and CIDEr-D of each image) of the reference implementation."""
    ours = {i: [" ".join(words)] for i, words in enumerate(captions)}
    theirs = {i: [" ".join(words) for words in own] for i, own in enumerate(references)}
    with contextlib.redirect_stdout(io.StringIO()):
        found, _ = Bleu(4).compute_score(theirs, ours, verbose=0)
    return found, Rouge().compute_score(theirs, ours)[1], Cider().compute_score(theirs, ours)[1]


@settings(max_examples=60, deadline=None)
@given(corpora)
def test_equal_to_the_reference_implementation(corpus):
    blue, rouge, cider = reference_scores(*corpus)
    assert bleu(*corpus) == pytest.approx(blue, abs=1e-6)
    assert rouge_l(*corpus) == pytest.approx(rouge, abs=1e-6)
    assert cider_d(*corpus) == pytest.approx(cider, abs=1e-6)


def test_equal_to_the_reference_implementation_on_captions():
    captions = [
        caption_words(text)
        for text in ("A dog runs on green grass.", "Two men play chess", "A red bus, parked.", "the")
    ]
    texts = [
        ["A brown dog is running on the grass", "The dog runs on green grass!"],
        ["Two old men are playing chess in a park", "Men play chess", "People at a table"],
        ["A red double-decker bus parked at the kerb"],
        ["A cat sleeps on the sofa", "the cat"],
    ]
    references = [[caption_words(text) for text in own] for own in texts]
    blue, rouge, cider = reference_scores(captions, references)
    assert bleu(captions, references) == pytest.approx(blue, abs=1e-9)
    assert rouge_l(captions, references) == pytest.approx(rouge, abs=1e-9)
    assert cider_d(captions, references) == pytest.approx(cider, abs=1e-9)
    assert 0.1 < blue[3] < 0.9 and max(cider) > 1


def test_an_empty_caption_scores_nothing_as_in_the_reference():
    captions, references = [[], ["a", "dog"]], [[["a", "cat"]], [["a", "dog"]]]
    blue, rouge, cider = reference_scores(captions, references)
    assert bleu(captions, references) == pytest.approx(blue, abs=1e-9)
    assert rouge_l(captions, references) == pytest.approx(rouge, abs=1e-9)
    assert cider_d(captions, references) == pytest.approx(cider, abs=1e-9)


def test_bleu_by_hand():
    """Three of four words match, two of three pairs, one of two triples; the reference is a word longer."""
    score = bleu([["a", "red", "dog", "sat"]], [[["a", "red", "dog", "ran", "off"]]])
    brevity = math.exp(1 - 5 / 4)
    expected = [
        brevity * 3 / 4,
        brevity * (3 / 4 * 2 / 3) ** (1 / 2),
        brevity * (3 / 4 * 2 / 3 / 2) ** (1 / 3),
    ]
    assert score[:3] == pytest.approx(expected) and score[3] < 1e-3


def test_rouge_by_hand():
    """The longest common words are 'a dog ran': precision 3/4, recall 3/5."""
    score = rouge_l([["a", "dog", "then", "ran"]], [[["a", "big", "dog", "ran", "off"]]])[0]
    assert score == pytest.approx((1 + 1.44) * 0.75 * 0.6 / (0.6 + 1.44 * 0.75))


def test_cider_by_hand():
    """Two images that share no word: a caption equal to its reference gets all of 10 for the n that it has."""
    score = cider_d([["a", "b"], ["c", "d", "e", "f"]], [[["a", "b"]], [["c", "d", "e", "f"]]])
    assert score == pytest.approx([5.0, 10.0])  # two words have no n-grams of three and four
    assert cider_d([["a"]], [[["a"]]]) == pytest.approx([0.0])  # in every one of one images: not rare


@settings(max_examples=30, deadline=None)
@given(corpora, st.randoms(use_true_random=False))
def test_the_order_of_images_changes_nothing(corpus, random):
    captions, references = corpus
    order = random.sample(range(len(captions)), len(captions))
    shuffled = [captions[i] for i in order], [references[i] for i in order]
    assert bleu(*shuffled) == pytest.approx(bleu(*corpus))
    assert cider_d(*shuffled) == pytest.approx(cider_d(*corpus)[order])


def test_words_of_a_caption():
    assert caption_words("A dog's ball, isn't it? 1,000 T-shirts!") == [
        "a", "dog", "'s", "ball", "is", "n't", "it", "1,000", "t-shirts",
    ]  # fmt: skip
    assert caption_words("“Cannot” stop... at 7:30 (in the U.S.)") == [
        "can",
        "not",
        "stop",
        "at",
        "7:30",
        "-lrb-",
        "in",
        "the",
        "u.s.",
        "-rrb-",
    ]
    assert caption_words("black & white, the boys' don’t") == [
        "black",
        "&",
        "white",
        "the",
        "boys",
        "do",
        "n't",
    ]
    assert caption_words(" .,!? ") == []


# What the PTBTokenizer of pycocoevalcap 1.2 made of these captions (Stanford CoreNLP 3.4.1, Java).
COCO_WORDS = {
    "A man (in a hat) rides.": "a man -lrb- in a hat -rrb- rides",
    "a boy and [his] dog": "a boy and -lsb- his -rsb- dog",
    "a {curly} thing": "a -lcb- curly -rcb- thing",
    "(a)(b)": "-lrb- a -rrb- -lrb- b -rrb-",
    "a b&w photo": "a b & w photo",
    "black &white": "black & white",
    "m&m's in a bowl": "m & m 's in a bowl",
    "salt&pepper and p&o": "salt & pepper and p & o",
    "a sign that says \"stop\" on it": "a sign that says stop on it",
    "two people w/ a frisbee": "two people w / a frisbee",
    "a 1/2 eaten pizza": "a 1/2 eaten pizza",
    "a t.v. on a stand": "a t.v. on a stand",
    "wearing... glasses": "wearing glasses",
}


@pytest.mark.parametrize("caption", COCO_WORDS)
def test_words_are_those_of_cocos_tokenizer(caption):
    assert " ".join(caption_words(caption)) == COCO_WORDS[caption]


def test_ngrams_are_counted_to_the_longest():
    assert ngrams(["a", "b", "a"], 2) == {("a",): 2, ("b",): 1, ("a", "b"): 1, ("b", "a"): 1}


def test_captions_and_references_must_fit():
    with pytest.raises(InputError, match="2 captions and references of 1"):
        bleu([["a"], ["b"]], [[["a"]]])
    with pytest.raises(InputError, match="row 1 has no reference"):
        cider_d([["a"], ["b"]], [[["a"]], []])
    with pytest.raises(InputError, match="0 captions"):
        rouge_l([], [])


def test_all_scores_of_plain_texts_without_java(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    scores = caption_scores(["A dog runs.", "A cat"], [["a dog runs"], ["the cat sleeps", "a cat"]])
    assert scores.bleu[0] == pytest.approx(1.0) and scores.rouge_l == pytest.approx(1.0)
    assert scores.cider == pytest.approx(float(np.mean(scores.ciders))) and scores.cider > 1
    assert scores.meteor == scores.spice == "skipped: there is no `java` command; install a Java runtime"


@pytest.fixture
def scorers(tmp_path, monkeypatch):
    """A pycocoevalcap with METEOR's files and none of SPICE's parser, and a `java`; returns its folder."""
    package = tmp_path / "pycocoevalcap"
    (package / "meteor" / "data").mkdir(parents=True)
    for name in (
        "__init__.py",
        "meteor/__init__.py",
        "meteor/meteor-1.5.jar",
        "meteor/data/paraphrase-en.gz",
    ):
        (package / name).touch()
    for name in [name for name in sys.modules if name.split(".")[0] == "pycocoevalcap"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/java")
    yield package
    for name in [name for name in sys.modules if name.split(".")[0] == "pycocoevalcap"]:
        del sys.modules[name]


def test_meteor_is_asked_with_texts_by_image(scorers):
    (scorers / "meteor" / "meteor.py").write_text(
        "class Meteor:\n"
        "    def compute_score(self, theirs, ours):\n"
        "        assert theirs == {0: ['a dog', 'dogs'], 1: ['b']} and ours == {0: ['a dog'], 1: ['b c']}\n"
        "        return 0.25, [0.2, 0.3]\n"
    )
    found = java_scorers.meteor([["a", "dog"], ["b", "c"]], [[["a", "dog"], ["dogs"]], [["b"]]])
    assert found == 0.25


def test_a_java_scorer_that_fails_or_lacks_files_says_so(scorers):
    (scorers / "meteor" / "meteor.py").write_text(
        "class Meteor:\n    def compute_score(self, theirs, ours):\n        raise BrokenPipeError('no memory')\n"
    )
    assert java_scorers.meteor([["a"]], [[["a"]]]).startswith("skipped: METEOR did not run (no memory)")
    found = java_scorers.spice([["a"]], [[["a"]]])
    assert found.startswith("skipped: ") and "stanford-corenlp-3.6.0.jar" in found


def test_without_the_package_the_reason_names_the_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert java_scorers.spice([["a"]], [[["a"]]]) == (
        "skipped: the package pycocoevalcap is not installed; install the extra `metrics`"
    )


def test_diversity_by_hand():
    found = diversity([["a", "dog"], ["a", "cat"], ["a", "dog"]])
    assert (found.distinct_1, found.distinct_2, found.vocabulary) == (3 / 6, 2 / 3, 3)
    assert found.different == 2 / 3
    assert found.entropy == pytest.approx(1 / 2 * 1 + 1 / 3 * math.log2(3) + 1 / 6 * math.log2(6))
    assert distinct_n([["a"]], 2) == 0.0
    with pytest.raises(InputError, match="no caption"):
        diversity([])


@settings(max_examples=30, deadline=None)
@given(st.lists(sentences, min_size=1, max_size=5))
def test_saying_everything_twice_halves_distinct_and_keeps_entropy(captions):
    once, twice = diversity(captions), diversity(captions + captions)
    assert twice.distinct_1 == pytest.approx(once.distinct_1 / 2)
    assert twice.entropy == pytest.approx(once.entropy) and twice.vocabulary == once.vocabulary


def test_self_bleu_is_one_for_the_same_and_low_for_different_captions():
    same = ["a", "dog", "runs", "off"]
    assert self_bleu([[same, same, same]]) == pytest.approx(1.0)
    assert self_bleu([[same, ["two", "men", "play", "chess"]]]) < 1e-3
    other = ["a", "dog", "runs", "on"]
    assert self_bleu([[same, other]]) == pytest.approx(sentence_bleu(same, [other]))
    for short in (["a", "red", "ball"], ["red", "ball"], ["ball"], []):
        assert self_bleu([[short, short, short]]) == pytest.approx(1.0), short
    assert self_bleu([[["a", "red", "ball"], ["a", "red", "box"]]]) == pytest.approx((2 / 3 * 1 / 2 * 1e-15) ** (1 / 3), rel=1e-2)
    assert sentence_bleu(["a", "ball"], [["a", "ball", "here"]]) == pytest.approx(math.exp(-1 / 2))  # brevity alone
    with pytest.raises(InputError, match="row 1 has fewer than two"):
        self_bleu([[same, other], [same]])
    with pytest.raises(InputError, match="no image"):
        self_bleu([])
