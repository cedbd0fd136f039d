"""Charts and cards of the downstream tasks show what they are given."""

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from lab.figures import FILTERED, KEPT, png
from lab.task_cards import Choice, Said, Strip, answer_cards, caption_cards, dialog_page, film_strips
from lab.task_plots import compared, confusions, label_of

PICTURE = np.zeros((8, 8, 3), np.uint8)


def written(figure: Figure) -> list[str]:
    """Every text of a figure, ticks and insets left out."""
    own = [text.get_text() for text in figure.texts]
    return own + [text.get_text() for axes in figure.axes for text in [*axes.texts, axes.title, axes._left_title]]


def pictures(figure: Figure) -> int:
    return sum(len(inner.images) for axes in figure.axes for inner in [axes, *axes.child_axes])


def test_bars_are_as_long_as_what_was_measured():
    bars = {"ITC": {"r1": 0.25, "r5": 0.5}, "ITM": {"r1": 0.75, "r5": 1.0}}
    figure = compared(bars, {"chance": {"r5": 0.1}}, "Recalls")
    (axes,) = figure.axes
    assert [patch.get_width() for patch in axes.patches] == [25, 50, 75, 100]
    (mark,) = [line for line in axes.collections if line.get_label() == "chance"]
    assert [segment[:, 0].tolist() for segment in mark.get_segments()] == [[10, 10]]
    # Only the second measure has the mark, so it stands at the second place.
    assert np.mean(mark.get_segments()[0][:, 1]) == pytest.approx(1)
    assert "75.0" in written(figure) and "Recalls" in written(figure)


def test_measures_have_the_names_of_the_paper():
    names = ["tr1", "ir10", "video_r5", "ndcg", "mrr", "strictly_true", "r1", "exists"]
    assert list(map(label_of, names)) == ["TR@1", "IR@10", "video R@5", "NDCG", "MRR", "strictly true", "R@1", "exists"]


def test_a_single_model_has_the_strong_colour():
    (axes,) = compared({"tuned": {"accuracy": 0.5}}, {}, "Alone").axes
    assert {str(patch.get_facecolor()) for patch in axes.patches} == {str(to_rgba(KEPT))}


def test_confusions_are_shares_of_the_truth_and_errors_are_orange():
    truths, said = ["a", "a", "a", "a", "b", "b"], ["a", "a", "a", "b", "b", "zebra"]
    figure = confusions({"letters": (truths, said)}, ["b", "a"], "Letters")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b", "a"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["b", "a", "other"]
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert cells == {(0, 0): "50", (2, 0): "50", (0, 1): "25", (1, 1): "75"}
    assert axes.get_title("left") == "letters: 66.7%"
    colours = {(round(p.get_x() + 0.46), round(p.get_y() + 0.46)): p.get_facecolor()[:3] for p in axes.patches}
    assert colours[0, 0] == to_rgba(KEPT)[:3] and colours[0, 1] == colours[2, 0] == to_rgba(FILTERED)[:3]


def test_answers_that_are_true_nowhere_have_no_row():
    (axes,) = confusions({"x": (["a"], ["b"])}, ["a", "b"], "One").axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a"]
    assert [text.get_text() for text in axes.texts] == ["100"]


def test_captions_stand_beside_their_pictures_with_signs():
    said = {"people": Said("a red ball", True), "greedy": Said("a blue ball", False)}
    figure = caption_cards([PICTURE] * 3, [said] * 3, "Captions")
    assert pictures(figure) == 3
    assert written(figure).count("✓ a red ball") == 3 and written(figure).count("✗ a blue ball") == 3
    width, height = figure.get_size_inches()
    assert height > caption_cards([PICTURE], [said], "One").get_size_inches()[1]
    assert width > 9


def test_answers_have_bars_of_their_probability():
    choice = Choice("what is it?", [Said("ball", True, 0.75), Said("star", False, 0.0)], "a note")
    figure = answer_cards([PICTURE], [choice], "Answers")
    (axes,) = figure.axes
    assert {"what is it?", "✓ ball", "✗ star", "0.75", "0.00", "a note"} <= set(written(figure))
    lengths = [float(np.ptp(line.get_xdata())) for line in axes.lines]
    assert lengths[1] == pytest.approx(0.75 * lengths[0]) and lengths[3] == 0


@pytest.mark.parametrize("rounds", [1, 5, 10])
def test_a_dialog_is_whole_and_inside_its_page(rounds):
    choices = [Choice(f"question {i}?", [Said("yes", True, 0.5)] * 3, "note") for i in range(rounds)]
    figure = dialog_page(PICTURE, "we see a star", choices, "Dialog")
    (axes,) = figure.axes
    assert {f"question {i}?" for i in range(rounds)} <= set(written(figure)) and "we see a star" in written(figure)
    width, height = figure.get_size_inches()
    assert all(0 <= text.get_position()[0] <= width and 0 <= text.get_position()[1] <= height for text in axes.texts)
    assert len({text.get_position() for text in axes.texts}) == len(axes.texts)


def test_film_strips_show_every_frame_of_every_clip():
    strips = [Strip(np.stack([PICTURE] * count), f"{count} frames", "a note", None) for count in (8, 3)]
    figure = film_strips(strips, "Clips")
    assert pictures(figure) == 11
    assert {"8 frames", "3 frames", "a note"} <= set(written(figure))
    assert png(figure).startswith(b"\x89PNG")
