"""Intervals of what `lab evaluate` measures: of which items they are, what is drawn together, what has none."""

import json

import numpy as np
import pytest

from blip.metrics.retrieval import recalls
from blip.tasks.retrieval import RetrievalScores
from lab.captioned import Material, gallery
from lab.cli import main
from lab.downstream import captioning, nlvr, retrieval, visdial, vqa
from lab.downstream.dialog_rows import world_dialogs
from lab.downstream.nlvr_rows import world_statements
from lab.downstream.spread import Items, intervals
from lab.downstream.vqa_rows import world_questions
from lab.world.sets import World

WORLD = World.of("nano")


def holds(found, measured):
    """Whether each interval lies around what was measured, and is one where the measure varies."""
    for name, (low, high) in found.items():
        assert low <= measured[name] <= high, name
        assert low < high, name


@pytest.fixture(scope="module")
def rng():
    return np.random.default_rng(0)


def test_answers_are_drawn_by_picture_and_each_form_has_its_own(rng):
    data = world_questions(WORLD, 60, "held-out")
    said = [own[0] if one else "no such thing" for own, one in zip(data.answers, rng.random(len(data.ids)) < 0.7, strict=True)]
    found, measured = vqa.spread(data, said), vqa.measures(data, said)
    assert len(set(data.about)) == 60 < len(data.ids)
    assert "accuracy" in found and set(found) <= set(measured) and len(found) > 3
    holds(found, measured)


def test_questions_about_one_picture_are_no_independent_witnesses(rng):
    pictures = (rng.random(100) < 0.5).astype(float)
    ten_each = intervals(Items({"accuracy": np.repeat(pictures, 10)}, np.repeat(np.arange(100), 10).tolist()))
    once = intervals(Items({"accuracy": pictures}, range(100)))
    alone = intervals(Items({"accuracy": np.repeat(pictures, 10)}, range(1000)))
    width = lambda one: one["accuracy"][1] - one["accuracy"][0]
    assert ten_each["accuracy"] == pytest.approx(once["accuracy"]) and width(ten_each) > 2.5 * width(alone)


def test_statements_are_drawn_with_all_their_pairs(rng):
    data = world_statements(WORLD, 50, "held-out")
    verdicts = [truth if right else not truth for truth, right in zip(data.truths, rng.random(len(data.ids)) < 0.8, strict=True)]
    found, measured = nlvr.spread(data, verdicts), nlvr.measures(data, verdicts)
    assert {"accuracy", "consistency"} <= set(found) <= set(measured)
    holds(found, measured)
    assert found["consistency"][1] < measured["accuracy"]  # every pair of a statement must be right


def test_dialogs_are_drawn_by_image(rng):
    data = world_dialogs("nano", 32, "held-out")
    scores = {name: rng.random(len(data.asked[row].candidates)) for row, name in enumerate(data.names)}
    found, measured = visdial.spread(data, scores), visdial.measures(data, scores)
    assert set(found) == set(measured) == {"ndcg", "mrr", "r1", "r5", "r10", "mean_rank"}
    holds(found, measured)


def test_recalls_of_texts_are_drawn_by_their_image(rng):
    image_of = np.repeat(np.arange(40), 5)
    ranks = rng.integers(1, 15, 40), rng.integers(1, 15, 200)
    scores = RetrievalScores(recalls(ranks[0]), recalls(ranks[1]), *ranks)
    found = intervals(*retrieval.hits(scores, image_of, text="tr", image="ir"))
    measured = retrieval.recalls_by_name(scores)
    assert set(found) == set(measured) == {"tr1", "tr5", "tr10", "ir1", "ir5", "ir10"}
    holds(found, measured)


def test_captions_have_intervals_where_a_measure_is_a_mean_over_images():
    found = gallery(Material(world="nano"), 32)
    few = type(found)(found.images[:40], scenes=found.scenes[:40])
    said = [image.captions[0] if row % 3 else few.images[row - 1].captions[0] for row, image in enumerate(few.images)]
    measured = captioning.measured(said, few)
    assert set(measured["intervals"]) == {"cider", "rouge_l", "true", "strictly_true"}  # BLEU is none
    holds(measured["intervals"], measured)
    shown = captioning.table(measured)
    low, high = (f"{100 * bound:.1f}" for bound in measured["intervals"]["cider"])
    assert f"{low} to {high}" in shown
    assert captioning.measured(said[:9], type(found)(few.images[:9], scenes=few.scenes[:9]))["intervals"] == {}


def test_commands_print_and_keep_them(tmp_path, capsys):
    words = ["--weights", "blip/weights/pretrained.safetensors", "--world", "nano", "--device", "cpu", "--out", str(tmp_path)]
    assert main(["evaluate", "video-retrieval", *words, "--world-clips", "32", "--k", "4"]) == 0
    summary, printed = json.loads((tmp_path / "summary.json").read_text()), capsys.readouterr().out
    assert set(summary["intervals"]) == set(summary["measured"]) - {"video_median_rank", "text_median_rank"}
    holds(summary["intervals"], summary["measured"])
    low, high = summary["intervals"]["video_r1"]
    assert "95% interval" in printed and f"{low:.3f} to {high:.3f}" in printed


def test_what_never_fails_may_fail_with_other_pictures():
    """By the rule of three an event that 100 pictures do not show has a chance below about 3% (5%, two-sided: 3.6%)."""
    pictures = list(range(100)) * 2
    found = intervals(Items({"right": [1.0] * 200, "wrong": [0.0] * 200}, pictures))
    assert found["right"] == [pytest.approx(0.9638, abs=1e-4), 1.0] and found["wrong"] == [0.0, pytest.approx(0.0362, abs=1e-4)]
    assert intervals(Items({"mean_rank": [1.0] * 200}, pictures, shares=False)) == {}


def test_too_few_pictures_have_none(tmp_path, capsys):
    assert intervals(Items({"accuracy": [0.0, 1.0] * 100}, [0, 1] * 100)) == {}
    words = ["--weights", "blip/weights/pretrained.safetensors", "--world", "nano", "--device", "cpu", "--out", str(tmp_path)]
    assert main(["evaluate", "video-retrieval", *words, "--world-clips", "6", "--k", "2"]) == 0
    assert json.loads((tmp_path / "summary.json").read_text())["intervals"] == {}
    assert "95% interval" not in capsys.readouterr().out
