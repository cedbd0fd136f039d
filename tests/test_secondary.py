"""Secondary outcomes: the same arms and seeds in other measures, by hand; the table of the report, and the picture."""

import math

import pytest
from matplotlib.figure import Figure

from lab.ablation.scales import SCALES
from lab.claim_figures_secondary import outcomes
from lab.claim_records import Measured
from lab.secondary import HOW, OUTCOMES, secondary, secondary_markdown

STRICT = {"none": (0.50, 0.60, 0.55), "both": (0.60, 0.72, 0.63)}  # differences of 10, 12 and 8 points


def of_a_student(r1, strict):
    captions = {name: {"strictly_true": strict, "cider": 5 * strict} for name in ("all", "out")}
    return {"worth": {"retrieval": {name: {"r1": r1} for name in ("all", "sketch")}, "captions": captions}}


def a_record(scale="cpu", seeds=3):
    arms = {
        name: {"about": name, "seeds": {str(seed): of_a_student(r1 + seed / 100, own[seed]) for seed in range(seeds)}}
        for (name, own), r1 in zip(STRICT.items(), (0.6, 0.9), strict=True)
    }
    row = {"claim": "capfilt", "effect": 0.3, "values": {str(seed): 0.3 for seed in range(seeds)}}
    return {"commit": "abc", "result": {"ablation": "table1", "scale": scale, "arms": arms, "claims": [row]}}


def test_an_outcome_is_the_claims_difference_in_another_measure():
    ((claim, effects),) = secondary(Measured("table1", "cpu", a_record()))
    assert claim.id == "capfilt" and len(effects) == len(OUTCOMES)
    by_name = {outcome.name: effect for outcome, effect in zip(OUTCOMES, effects, strict=True)}
    strict = by_name["strictly true captions"].interval
    half = 4.302652729911275 * 0.02 / math.sqrt(3)  # Student's t with two degrees of freedom; deviation 2 points
    assert (strict.mean, strict.low, strict.high) == pytest.approx((0.10, 0.10 - half, 0.10 + half))
    assert by_name["CIDEr-D"].interval.mean == pytest.approx(0.5)
    assert by_name["R@1 (decides)"].interval.mean == pytest.approx(0.3)
    assert by_name["AUC of near misses"] is None  # this record has none


def test_the_table_marks_what_leaves_out_0():
    text = secondary_markdown([a_record(), a_record("smoke")])
    assert text.startswith(HOW)
    (row,) = [line for line in text.splitlines() if line.startswith("| Captioner")]
    assert "| **+10.0** (+5.0 to +15.0) | **+10.0** (+5.0 to +15.0) | **+50.0** (+25.2 to +74.8) | - |" in row
    record = a_record()
    for seed, strict in enumerate((0.50, 0.58, 0.60)):
        record["result"]["arms"]["both"]["seeds"][str(seed)] = of_a_student(0.9, strict)
    assert "| +1.0 (-8.0 to +10.0) |" in secondary_markdown([record])
    assert "| +10.0 (one seed) |" in secondary_markdown([a_record(seeds=1)])


def test_a_refused_claim_has_no_outcomes():
    record = a_record()
    seen = lambda samples: {str(seed): {"samples": samples, "texts": 8, "epochs": 1.0} for seed in range(3)}
    record["result"]["budgets"] = {"none": seen(48_000), "both": seen(96_000)}
    assert secondary(Measured("table1", "cpu", record)) == []


@pytest.mark.parametrize("scale", SCALES)
def test_the_picture_has_a_panel_an_outcome_and_a_line_a_claim(scale):
    figure = outcomes([Measured("table1", scale, a_record(scale))], "What else")
    assert [axes.get_xlabel().replace("\n", " ") for axes in figure.axes] == [f"{one.name}, {one.unit.strip() or 'points'}" for one in OUTCOMES]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["Captioner and filter together\nhelp."]
    told = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert told == [["+30.0"], ["-"], ["+30.0"], ["+10.0"], ["+10.0"], ["+50.0"], ["-"]]


def test_a_picture_of_nothing_says_so():
    record = a_record() | {"result": {"ablation": "table1", "scale": "cpu", "arms": {}, "claims": []}}
    figure = outcomes([Measured("table1", "cpu", record)], "What else")
    assert isinstance(figure, Figure) and [text.get_text() for text in figure.axes[0].texts] == ["not measured yet"]
