"""The picture of all claims: a line each under its table, and a PNG that says from which effects it was drawn."""

import io
from dataclasses import replace

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from lab.claims import CLAIMS
from lab.claims_overview import drawn, is_drawn_from, overview
from lab.decided import Decided
from lab.stats import EQUIVALENT, OPPOSITE, REPRODUCED, UNDECIDED

SAID = (REPRODUCED, OPPOSITE, EQUIVALENT, UNDECIDED)


def decided(wanted=lambda claim: True, effect=0.02):
    """Claims with an effect of 2 points, verdicts in turn; the last one of each four has one seed only, each seventh too few for a verdict."""
    rows = [
        {"claim": claim.id, "effect": effect, "interval": [None, None] if at % 4 == 3 else [0.01, 0.03], "margin": claim.margin, "seeds": 5, "fewest_seeds": 5 + (at % 7 == 0), "verdict": SAID[at % 4] if at % 7 else UNDECIDED}
        for at, claim in enumerate(CLAIMS)
    ]  # fmt: skip
    return [Decided(claim, row, "cpu") for claim, row in zip(CLAIMS, rows, strict=True) if wanted(claim)]


def words(found):
    (axes,) = overview(found).axes
    return [text.get_text() for text in axes.texts]


def test_every_claim_stands_once_under_its_source():
    found = words(decided())
    sources = list(dict.fromkeys(claim.source for claim in CLAIMS))
    assert [text for text in found if text in sources] == sources
    points = [claim for claim in CLAIMS if claim.id != "benchmark-predicts-use"]  # a correlation has no points
    assert sum(found.count(claim.says) for claim in {one.says: one for one in points}.values()) == len(points)
    assert not [text for text in found if "CIDEr predicts" in text]
    assert sum(text.startswith(("+2.0  reproduced", "+2.0  holds", "+2.0  opposite")) for text in found) > len(points) / 3


@pytest.mark.parametrize("effect", [0.02, 0.004, -0.4])
def test_no_words_are_cut_off(effect):
    figure = overview(decided(effect=effect))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    texts = [text for axes in figure.axes for text in axes.texts]
    boxes = {text.get_text(): text.get_window_extent(canvas.get_renderer()) for text in texts}
    assert len(boxes) > len(CLAIMS)
    assert [words for words, box in boxes.items() if box.x0 < 0 or box.x1 > figure.bbox.x1] == []


def test_a_line_has_its_interval_and_the_papers_effect():
    (axes,) = overview(decided(lambda claim: claim.id == "capfilt")).axes
    drawn_lines = [tuple(line.get_xdata()) for line in axes.lines if len(line.get_xdata()) == 2]
    assert (1.0, 3.0) in drawn_lines
    points = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 1]
    assert points == [(2.2 + 2.4) / 2, 2.0]


def test_the_png_says_from_what_it_was_drawn(tmp_path):
    found, path = decided(lambda claim: claim.ablation == "table1"), tmp_path / "claims.png"
    assert not is_drawn_from(path, found)
    path.write_bytes(drawn(found))
    assert Image.open(io.BytesIO(path.read_bytes())).size[0] > 1000
    assert is_drawn_from(path, found)
    other = [replace(found[0], row=found[0].row | {"effect": 0.021}), *found[1:]]
    assert not is_drawn_from(path, other) and not is_drawn_from(path, found[1:])
