"""What the notebooks of the claims show: no record, a part of one, a whole one; figures and sentences by hand."""

import json
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from lab import claim_figures as figures
from lab import claim_figures_filter as filters
from lab import claim_figures_sharing as sharing
from lab import decoding_views
from lab.ablation.ledger_arms import swept
from lab.ablations import ABLATIONS
from lab.arm_metrics import chosen, path_of, told_by
from lab.arms_report import arms_markdown
from lab.claim import Difference
from lab.claim_answers import answer, at_threshold, most_worth, scales, summary, verdicts
from lab.claim_figures_arms import against, along
from lab.claim_figures_parts import BIAS, R1, STRICT, SYNTHETIC_KEPT, Metric
from lab.claim_records import Measured, best, measured, paired, where_from
from lab.claims import CLAIMS
from lab.records import RESULTS
from lab.stats import UNDECIDED
from lab.tour import TOUR, chapter_of
from lab.verdicts import decided
from lab.weights import shipped
from lab.world.noise import CLEAN, KINDS
from lab.world.sets import World


def cell(r1, strict=0.5):
    """What a student found, as far as the figures read it; 40 queries of 20 images and 20 texts."""
    hits = round(20 * r1)
    return {
        "worth": {
            "retrieval": {"all": {"r1": r1, "tr1": r1, "ir1": r1, "images": 20}},
            "captions": {"all": {"strictly_true": strict}},
            "items": {"r1": 2 * ("1" * hits + "0" * (20 - hits))},
        }
    }


def record(name, found, scale="cpu"):
    """A record of an ablation; arms that are not in `found` (arm -> seed -> what was found) have no seed."""
    arms = {arm.name: {"about": arm.about, "seeds": {str(s): one for s, one in found.get(arm.name, {}).items()}} for arm in ABLATIONS[name].arms}
    result = {"ablation": name, "scale": scale, "question": ABLATIONS[name].question, "arms": arms, "claims": decided(name, found)}
    machine = {"accelerator": None, "cores": 2, "processor": "X"}
    return {"command": f"lab ablate {name}", "commit": "abc", "date": "2026-01-01", "machine": machine, "result": result}


def shown(name, found, scale="cpu"):
    return Measured(name, scale, record(name, found, scale))


LITTLE = 1e-9  # by which differences vary from seed to seed: if they are all equal they decide nothing
NONE = {seed: cell(0.4 + 0.01 * seed) for seed in range(5)}
FULL = {
    "none": NONE,
    "both": {seed: cell(0.5 + (0.01 + LITTLE) * seed) for seed in range(5)},
    "F": {seed: cell(0.4 + (0.01 + LITTLE / 2) * seed) for seed in range(5)},
    "C": {seed: cell(0.45 - 0.02 * seed) for seed in range(5)},
}
PART = {"none": {0: cell(0.4), 1: cell(0.5)}, "both": {0: cell(0.7)}}


@pytest.fixture
def folder(tmp_path):
    own = tmp_path / "records"
    own.mkdir()
    return own


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """Table 13 where there is no record."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLIP_LAB_HOME", str(tmp_path_factory.mktemp("home")))
        yield measured("table13", "best", tmp_path_factory.mktemp("none"))


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def marks(axes, marker):
    return [list(line.get_xdata()) for line in axes.lines if line.get_marker() == marker]


def test_the_best_record_is_shown_gpu_before_cpu(folder):
    for scale, found in (("cpu", PART), ("gpu", {}), ("smoke", FULL)):
        (folder / f"table1-{scale}.json").write_text(json.dumps(record("table1", found, scale)))
    assert measured("table1", "best", folder).scale == "cpu"  # the one for gpu has no cell yet
    (folder / "table1-gpu.json").write_text(json.dumps(record("table1", PART, "gpu")))
    assert measured("table1", "best", folder).command == "lab ablate table1 --scale gpu --add"
    assert best([]) == {} and list(best([record("table1", FULL)])) == ["table1"]


def test_where_there_is_no_record_the_smallest_run_is_done_and_says_nothing(smoke):
    assert smoke.is_smoke and {len(own) for own in smoke.arms.values()} == {1}
    assert "A smoke run, which says nothing" in where_from(smoke) and "`lab ablate table13 --scale cpu`" in where_from(smoke)
    said = answer([smoke])
    assert said.count("Not measured yet.") == sum(claim.ablation == "table13" for claim in CLAIMS)
    assert "Nothing can be said from a smoke run; to measure: `lab ablate table13 --scale cpu`." in said
    assert not any(char.isdigit() for char in said.replace("table13", ""))
    for figure in (figures.claims([smoke], "x"), figures.arms(smoke, "x", (R1, STRICT))):
        assert "smoke run: says nothing" in [text.get_text() for text in figure.texts]
        figure.draw_without_rendering()


@pytest.fixture
def recorded(folder, smoke, monkeypatch):
    """The record of table 13 for the cpu, and the smoke run in place of one that would be done anew."""
    found = {arm.name: {seed: cell(0.5) for seed in range(5)} for arm in ABLATIONS["table13"].arms}
    (folder / "table13-cpu.json").write_text(json.dumps(record("table13", found)))
    monkeypatch.setattr("lab.claim_records._smoke", lambda name: replace(smoke, name=name, record=record(name, {}, "smoke")))
    return folder


def test_a_smoke_run_that_was_asked_for_does_not_deny_the_record(recorded):
    asked = measured("table13", "smoke", recorded)
    assert where_from(asked) == (
        "**A smoke run, which says nothing:** models of a few steps, one seed. It decides nothing, and a record is there "
        "(scale `cpu`): set SCALE to `best` to see it."
    )
    said = answer([asked])
    assert said.count("Not decided by a smoke run.*") == sum(claim.ablation == "table13" for claim in CLAIMS)
    assert said.endswith("A smoke run decides nothing. Records are there of `table13`: set SCALE to `best` to see what they say.")
    assert "measure" not in said and "lab ablate" not in said + where_from(asked)
    for one in (at_threshold, most_worth):
        assert one(asked).endswith("A smoke run decides nothing; a record is there: set SCALE to `best` to see it.*")


def test_a_smoke_run_without_a_record_says_what_measures_it(recorded):
    asked = measured("table12", "smoke", recorded)
    assert where_from(asked).endswith("`lab ablate table12 --scale cpu` measures it; set SCALE to `best` to see the figures of its record then.")
    assert "Not measured yet." in answer([asked]) and "to measure: `lab ablate table12 --scale cpu`." in answer([asked])
    both = answer([asked, measured("table13", "smoke", recorded)])
    assert "to measure: `lab ablate table12 --scale cpu`.\n\nA smoke run decides nothing. Records are there of `table13`:" in both


def test_a_scale_without_a_record_is_told_and_the_record_of_another_too(recorded):
    assert measured("table13", "cpu", recorded).scale == measured("table13", "best", recorded).scale == "cpu"
    asked = measured("table13", "gpu", recorded)
    assert where_from(asked).endswith(
        "There is no record of scale `gpu`: `lab ablate table13 --scale gpu` makes it. One of scale `cpu` is there: set SCALE to `best` to see it."
    )
    none = measured("table12", "gpu", recorded)
    assert where_from(none).endswith("`lab ablate table12 --scale gpu` measures it; the figures here are then those of its record.")


def test_beside_others_a_smoke_run_is_not_measured(smoke):
    figure = figures.claims([shown("table1", FULL), smoke], "x")
    assert texts(figure).count("not measured yet") == sum(claim.ablation == "table13" for claim in CLAIMS)
    assert not any("smoke" in said for said in [*texts(figure), *(text.get_text() for text in figure.texts)])


def test_a_part_of_a_record_says_what_is_missing():
    part = shown("table1", PART)
    assert where_from(part).startswith("0 to 2 seeds an arm, so far, scale `cpu`: `lab ablate table1` at commit")
    said = answer([part])
    assert "**Undecided: Captioner and filter together help.** +30.0 points (no interval yet; 1 seed, of 5 that a verdict needs" in said
    assert said.count("Not measured yet: `lab ablate table1 --scale cpu --add`.") == 4
    assert texts(figures.claims([part], "x")).count("not measured yet") == 4
    assert texts(figures.arms(part, "x")).count("not measured yet") == 2


def test_a_claim_that_is_refused_is_not_answered():
    unequal = shown("table1", FULL)
    samples = {"none": 48_000, "both": 96_000, "F": 96_000, "C": 96_000}
    unequal.record["result"]["budgets"] = {name: {str(s): {"samples": n} for s in range(5)} for name, n in samples.items()}
    _, first, *_, last = answer([unequal]).split("\n\n")
    assert first.startswith("*Captioner and filter together help. The claim capfilt is refused: at seed 0 the arm 'both' saw 96,000")
    assert last.startswith("**Reproduced: Both help more than the captioner alone.**")


def test_a_whole_record_is_answered_in_sentences_with_its_numbers():
    whole = shown("table1", FULL)
    assert where_from(whole).startswith("5 seeds, scale `cpu`:")
    opens, first, second, *others = answer([whole]).split("\n\n")
    assert opens.startswith("**In short:** of the 5 claims measured here, 3 are reproduced or found to hold (Captioner and filter together help; Both")
    # Both has next to 10 points more for every seed, so the interval looks like a point; the paper's numbers are those of its Table 1.
    assert first.startswith("**Reproduced: Captioner and filter together help.** +10.0 points (95% interval +10.0 to +10.0; 5 seeds, scale `cpu`)")
    assert first.endswith("In the paper +2.2 / +2.4 / +2.9 (COCO TR@1, COCO IR@1, NoCaps CIDEr).")
    assert second.startswith("**Equivalent: The filter alone helps.** +0.0 points")
    assert len(others) == 3 and answer([whole], ["filter"]).endswith(f"\n\n{second}")


def test_a_claim_whose_seeds_all_differ_by_the_same_is_undecided_and_says_why():
    same = {"none": {s: cell(0.5) for s in range(5)}, "both": {s: cell(0.625) for s in range(5)}}
    _, first, *_ = answer([shown("table1", same)]).split("\n\n")
    assert first.startswith(
        "**Undecided: Captioner and filter together help.** +12.5 points (no interval: the same at all seeds; 5 seeds, scale `cpu`); "
        "seeds that all differ by the same do not tell how much seeds differ. In the paper"
    )
    (row,) = decided("table1", {arm: same[arm] for arm in same})
    assert row["interval"] == [None, None] and json.dumps(row, allow_nan=False)
    assert "| +12.5 | no interval: the same at all seeds |" in verdicts([record("table1", same)])
    assert figures.claims([shown("table1", same)], "x").draw_without_rendering() is None


def test_the_table_of_verdicts_has_every_claim_and_its_notebook():
    lines = verdicts([record("table1", FULL), record("table2", {}, "gpu")]).splitlines()[2:]
    assert len(lines) == len(CLAIMS)
    assert lines[0] == (
        "| Captioner and filter together help. (cpu) | +2.2 / +2.4 / +2.9 | +10.0 | +10.0 to +10.0 | 1.0 | 5 | **reproduced** "
        "| [5](05_does_capfilt_help.ipynb) |"
    )
    said = summary([record("table1", FULL)], named=True)
    assert "Each interval is 95% on its own. Correcting for 5 tests, 3 of 3 survive a 5% false discovery rate" in said and ", 3 a 5% family-wise error rate (Holm)." in said
    assert "**5 have a number in the paper: 3 reproduced, 0 opposite, 1 equivalent, 1 undecided.** Each" in said
    assert said.endswith("After Holm too: Captioner and filter together help; Both help more than the filter alone; Both help more than the captioner alone.")
    table2 = [line for line in lines if "(06_decoding.ipynb)" in line]
    assert len(table2) == 7 and all("| not measured yet | `lab ablate table2 --scale cpu` |" in line for line in table2)
    assert summary([record("table1", PART)]).startswith(
        f"Of {len(CLAIMS)} claims 1 are measured. The others name the command that measures them. **1 has a number in the paper: 0 reproduced, "
    )
    assert "`cpu` | nano" in scales() and scales().count("\n") == 4


def test_every_ablation_has_its_notebook():
    assert {name for one in TOUR for name in one.ablations} == set(ABLATIONS)
    assert chapter_of("bias").number == 8 and [one.number for one in TOUR] == list(range(len(TOUR)))


def test_arms_are_drawn_seed_by_seed_with_their_means():
    (axes,) = figures.arms(shown("table1", FULL), "x", among=("none", "both")).axes
    seeds, bars = axes.lines[:5], axes.lines[5:]
    assert len(axes.collections) == 5 and list(seeds[2].get_xdata()) == pytest.approx([42, 52]) and list(seeds[2].get_ydata()) == [0, 1]
    means = [line.get_xdata()[0] for line in bars]
    assert means == pytest.approx([42, 52]) and texts(axes.figure) == ["42.0", "52.0"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["none", "both"]


def test_claims_of_different_metrics_stand_on_axes_of_their_own():
    table2 = {arm: {s: cell(0.5) | {"capfilt": {"kept_of_synthetic": kept}, "diversity": {"all": {"distinct_2": 0.2, "different": 0.3 + LITTLE * s * (arm == "beam")}}} for s in range(5)} for arm, kept in (("nucleus", 0.7), ("beam", 0.9))}
    upper, middle, lower = figures.claims([shown("table2", table2)], "x").axes
    assert texts(upper.figure).count("not measured yet") == 4  # truth as the filter, and three at the paper's temperature
    assert marks(middle, "o") + marks(middle, "D") == [[pytest.approx(20)]]  # 70% kept where beam's are kept to 90%
    assert "synthetic captions kept" in middle.get_xlabel() and marks(lower, "D") == [[pytest.approx(0, abs=1e-5)]]
    assert marks(upper, "v") == [[pytest.approx(1.1)], [pytest.approx(1.1)]]  # the paper's +1.0 and +1.2


def test_one_metric_against_another_and_along_numbers():
    noise = {f"{name}, noise {rate}%": {s: cell(0.2 + rate / 200 + s / 100) for s in (0, 1)} for name in ("none",) for rate in (0, 40)}
    groups = {name: {rate: f"{name}, noise {rate}%" for rate in (0, 20, 40)} for name in ("none", "both")}
    (axes,) = along(shown("noise", noise), "x", "noise (%)", groups, (R1,)).axes
    assert list(axes.lines[0].get_xdata()) == [0, 40] and list(axes.lines[0].get_ydata()) == pytest.approx([20.5, 40.5])
    assert sorted(axes.lines[1].get_ydata()) == pytest.approx([20, 21, 40, 41]) and len(axes.lines) == 2
    assert axes.figure.get_supxlabel() == "means over seeds 0 to 1"
    (axes,) = against(shown("noise", noise), "x", ((STRICT, R1),)).axes
    assert marks(axes, "o")[1] == [50] and axes.lines[1].get_ydata()[0] == pytest.approx(20.5)
    (axes,) = against(shown("noise", noise), "x", ((Metric("-", "teacher.cider"), R1),)).axes
    assert texts(axes.figure) == ["not measured yet"]


def test_a_seed_that_chose_is_in_no_mean_of_one_metric_against_another_and_one_seed_alone_is_named():
    way = {name: {s: cell(0.9 if s == 0 else 0.5) for s in (0, 1, 2)} for name in ("none", "both")}
    (axes,) = against(shown("combinations", way), "x", ((STRICT, R1),)).axes
    assert axes.lines[1].get_ydata()[0] == pytest.approx(100 * (0.9 + 0.5 + 0.5) / 3)
    (axes,) = against(shown("table3", {"all": way["none"]}), "x", ((STRICT, R1),)).axes
    assert axes.lines[1].get_ydata()[0] == pytest.approx(50)  # the rate of table3 was chosen by seed 0
    first = {"none, noise 40%": {0: cell(0.5)}, "none, noise 0%": {0: cell(0.5)}}
    figure = along(shown("noise", first), "x", "noise (%)", {"none": {40: "none, noise 40%", 0: "none, noise 0%"}}, (R1,))
    assert figure.get_supxlabel() == "means over seed 0 alone"


def test_numbers_over_more_than_a_decade_have_a_logarithmic_axis_and_every_line_is_named():
    """CLIP writes no captions, so that the last panel has no line of it."""
    rates = {arm: {0: cell(0.5)} for arm in ("BLIP, 0.0005", "BLIP, 0.003", "CLIP, 0.000125", "CLIP, 0.0015")}
    groups = {"BLIP": {0.5: "BLIP, 0.0005", 3: "BLIP, 0.003"}, "CLIP": {0.125: "CLIP, 0.000125", 1.5: "CLIP, 0.0015"}}
    for arm in groups["CLIP"].values():
        del rates[arm][0]["worth"]["captions"]
    first, last = along(shown("rates", rates), "x", "rate", groups, (R1, STRICT)).axes
    assert first.get_xscale() == "log"
    assert [label.get_text() for label in first.get_xticklabels()] == ["0.125", "0.5", "1.5", "3"]
    assert [text.get_text() for text in last.get_legend().get_texts()] == ["BLIP", "CLIP"]
    (axes,) = along(shown("rates", rates), "x", "rate", {"BLIP": groups["BLIP"]}, (R1,)).axes
    assert axes.get_xscale() == "linear"


def a_sweep(shift=0.0):
    """Half of the clean texts score 0.9, half 0.3; of each noise kind one scores 0.6 and the others 0.1."""
    scores = np.array([0.9, 0.9, 0.3, 0.3, *([0.6, 0.1, 0.1, 0.1] * len(KINDS))]) - shift
    kinds = np.array([CLEAN] * 4 + [kind for kind in KINDS for _ in range(4)])
    return {"sweep": swept(scores, np.full(len(scores), "web"), np.where(kinds == CLEAN, "true", "false"), kinds)}


def test_a_threshold_moves_the_mark_and_says_what_it_keeps():
    one = shown("threshold", {"sweep": {0: a_sweep()}})
    # At 0.5: two of four clean texts, and one of four of each of six kinds, of 28 texts.
    said = texts(filters.at_threshold(one, "x", 0.5))
    assert said == [f"threshold 0.5: {100 * 8 / 28:.1f}% kept, 25.0% of it true", "a threshold of 0.5 keeps nothing"]
    assert "a threshold of 0.95 keeps nothing" in texts(filters.at_threshold(one, "x", 0.95))
    assert "keeps 28.6% of the web captions, of which 25.0% are true" in at_threshold(one)
    assert "Not measured yet" in at_threshold(shown("threshold", {}))


def test_roc_by_noise_kind_and_calibration_by_captions():
    one = shown("threshold", {"sweep": {0: a_sweep(), 1: a_sweep()}})
    left, right = filters.curves(one, "x").axes
    lines = {line.get_label(): line for line in left.lines}
    # A clean text beats a noisy one in 2 of 4 times 4 and 2 of 4 times 3 of 4 pairs: 0.5 + 0.375.
    assert set(lines) >= {f"{kind.replace('_', ' ')}, AUC 0.875" for kind in KINDS}
    roc = lines["near miss, AUC 0.875"]
    assert {(25.0, 50.0), (100.0, 100.0), (0.0, 50.0)} <= set(zip(roc.get_xdata(), roc.get_ydata(), strict=True))
    (points,) = (list(zip(line.get_xdata(), line.get_ydata(), strict=True)) for line in right.lines if line.get_label() == "web captions")
    assert points[-1] == (pytest.approx(90), 100) and len(points) == 4


def test_the_crossed_design_shows_means_over_seeds():
    found = {0: {"bias": {"bias": 0.2, "pass": [[0.4, 0.2], [0.1, 0.3]], "noise_ratio": 0.1}}, 1: {"bias": {"bias": 0.0, "pass": [[0.2, 0.2], [0.3, 0.3]], "noise_ratio": 0.1}}, 2: {"bias": {"bias": None, "pass": None, "noise_ratio": 1.0}}}
    one = shown("bias", {"shared": found})
    design, shared, _, _, same, separate = sharing.crossed(one, "x", sharing.DEGREES).axes
    assert [text.get_text() for text in shared.texts] == ["30.0%", "20.0%", "20.0%", "30.0%"]
    assert shared.get_xlabel() == "bias +10.0 points" and same.get_xlabel() == separate.get_xlabel() == "not measured yet"
    assert [text.get_text() for text in same.texts] == ["-"] * 4 and len(design.texts) == 4
    assert texts(figures.arms(one, "x", (BIAS,)))[0] == "10.0"


def test_what_is_shared_is_drawn_with_the_papers_parameters():
    (axes,) = sharing.shared_parts("x").axes
    said = [text.get_text() for text in axes.texts]
    assert said.count("shared") == 4 + 3 + 3 and said.count("enc") == said.count("dec") == 0 + 1 + 1 + 4
    assert [one for one in said if one.endswith("M")] == ["224M", "252M", "252M", "361M"]
    assert {"224,075,070", "252,441,918", "361,333,566"} <= set(said)
    assert sum("filter" in one for one in texts(sharing.degrees("x"))) == 4


def test_an_ablation_without_a_claim_is_described_and_not_judged():
    found = {"greedy": {0: cell(0.3), 1: cell(0.5)}, "t 0.5": {0: cell(0.6)}}
    said = most_worth(shown("sampling", found))
    assert "*t 0.5* has the highest mean R@1 (60.0%) and *greedy* the lowest (30.0%) of 2 arms, 1 seed;" in said
    assert "Not measured yet" in most_worth(shown("sampling", {})) and UNDECIDED not in said


def test_means_are_of_the_seeds_that_all_arms_share():
    """Another ablation has run one arm with more seeds, which happen to be better."""
    values = {"a": {"0": 0.5, "1": 0.9}, "b": {"0": 0.6}}
    assert paired(values) == {"a": {"0": 0.5}, "b": {"0": 0.6}}
    assert paired({"a": {"1": 0.9}, "b": {"0": 0.6}}) == {"a": {"1": 0.9}, "b": {"0": 0.6}}
    assert paired({}) == {}


def test_seeds_that_the_mean_leaves_out_are_hollow_and_a_line_says_so():
    found = {"none": {0: cell(0.4), 1: cell(0.5)}, "both": {0: cell(0.7)}}
    figure = figures.arms(shown("table1", found), "x", among=("none", "both"))
    first, second = figure.axes[0].collections  # the dots of a seed each
    filled = [[tuple(face) == tuple(one.get_edgecolors()[0]) for face in one.get_facecolors()] for one in (first, second)]
    assert filled == [[True, True], [False]]
    assert figure.get_supxlabel().startswith("hollow: a seed that not every arm has")
    assert figures.arms(shown("table1", FULL), "x", among=("none", "both")).get_supxlabel() == ""


def test_seeds_that_chose_the_arms_are_hollow_and_in_no_mean():
    found = {"BLIP": {0: cell(0.9), 1: cell(0.5), 2: cell(0.6)}, "CLIP": {0: cell(0.8), 1: cell(0.3), 2: cell(0.4)}}
    figure = figures.arms(shown("peers", found), "x", among=("BLIP", "CLIP"))
    filled = [[tuple(face) == tuple(dots.get_edgecolors()[0]) for face in dots.get_facecolors()] for dots in figure.axes[0].collections]
    assert texts(figure) == ["55.0", "35.0"] and [any(one) for one in filled] == [False, True, True]
    assert figure.get_supxlabel() == "hollow: the seed that chose the learning rate; not in the mean"
    harder = {arm: {0: cell(0.9), 1: cell(0.5)} for arm in ("none", "both")} | {"beam": {0: cell(0.9)}}
    figure = figures.arms(shown("harder", harder), "x", among=("none", "both", "beam"))
    assert texts(figure) == ["50.0", "50.0"]  # beam has only the seed that chose
    assert figure.get_supxlabel() == "hollow: the seed that chose the world; not in the mean"
    both = figures.arms(shown("peers", {"BLIP": {0: cell(0.9), 1: cell(0.5), 2: cell(0.6)}, "CLIP": {1: cell(0.3)}}), "x")
    assert both.get_supxlabel() == "hollow: the seed that chose the learning rate or a seed that not every arm has; not in the mean"


@pytest.mark.parametrize("path", sorted((RESULTS / "ablations").glob("*-cpu.json")), ids=lambda path: path.stem)
def test_two_arms_of_a_picture_differ_by_what_their_claim_says(path):
    """In the committed records: bars are means over the seeds, and of the metric, that the claim is decided by.

    A claim that leaves out seeds which others of its ablation count (breadth) is no difference of bars.
    """
    of = measured(path.stem.removesuffix("-cpu"), "cpu")
    left_out = {int(seed) for seed in chosen(of.claims)}
    for one in of.decided:
        value = one.claim.value
        if isinstance(value, Difference) and len(value.terms) == 2 and value.metrics[0] == R1.path and set(one.claim.chosen_on) <= left_out:
            (axes,) = figures.arms(of, "x", among=value.arms).axes
            treated, control = (line.get_xdata()[0] for line in axes.lines if line.get_linewidth() == 2.4)
            assert treated - control == pytest.approx(100 * one.row["effect"]), one.claim.id


def test_an_arm_is_drawn_by_the_metric_of_its_claim_and_says_so():
    one = cell(0.7)
    without_itm = cell(0.1)
    without_itm["worth"]["retrieval"]["all"]["itc_r1"] = 0.4
    figure = figures.arms(shown("objectives", {"ITC + ITM + LM": {1: one}, "no ITM": {1: without_itm}}), "x", (R1, STRICT), among=("ITC + ITM + LM", "no ITM"))
    assert texts(figure) == ["70.0", "40.0", "50.0", "50.0"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["ITC + ITM + LM", "no ITM\n(R@1 by ITC alone)"]
    assert told_by([claim for claim in CLAIMS if claim.ablation == "nlvr"], "nlvr.flat") == {}  # each arm by both metrics


def test_no_arm_shows_what_another_policy_keeps():
    kept = {"capfilt": {"kept_of_synthetic": 0.7, "origins": {"synthetic": {"true_before": 0.8}}}}
    strictness = {arm: {1: cell(0.5) | kept} for arm in ("0.5", "synthetic 0.8")}
    figure = figures.arms(shown("strictness", strictness), "x", (SYNTHETIC_KEPT,))
    assert texts(figure) == ["70.0", "-", "not measured yet"]
    filters_ = {arm: {1: cell(0.5) | kept} for arm in ("ITM", "ITC", "CLIP", "truth")}
    assert shown("filters", filters_).of(SYNTHETIC_KEPT.path) == {"ITM": {"1": 0.7}, "ITC": {"1": 0.7}, "CLIP": {"1": 0.7}, "truth": {"1": 0.8}}
    table2 = {arm: {1: cell(0.5) | kept} for arm in ("nucleus", "nucleus, truth", "beam, truth")}
    assert shown("table2", table2).of(SYNTHETIC_KEPT.path) == {"nucleus": {"1": 0.7}, "nucleus, truth": {"1": 0.8}, "beam, truth": {"1": 0.8}}
    for claim in CLAIMS:
        for arm, metric, _ in claim.value.terms if isinstance(claim.value, Difference) else ():
            assert path_of(ABLATIONS[claim.ablation], arm, metric) == metric, claim.id


def test_the_table_of_arms_leaves_out_what_their_pictures_do():
    kept = {"capfilt": {"kept_of_synthetic": 0.7, "origins": {"synthetic": {"true_before": 0.8}}}}
    strictness = record("strictness", {arm: {1: cell(0.5) | kept} for arm in ("0.5", "synthetic 0.8")})
    peers = record("peers", {"BLIP": {0: cell(0.9), 1: cell(0.5), 2: cell(0.7)}, "CLIP": {0: cell(0.8)}})
    for one in (strictness, peers):
        one["result"]["source"] = "beyond the paper"
    head, of_05, of_08, blip, clip = (table_row(arms_markdown([strictness, peers]), name) for name in ("arm", "0.5", "synthetic 0.8", "BLIP", "CLIP"))
    at = head.index("synthetic kept")
    assert (of_05[at], of_08[at]) == ("70.0", "-")
    assert (blip[1], blip[4]) == ("2", "60.0 ± 14.1") and (clip[1], clip[4]) == ("1", "80.0")  # CLIP has no other seed


def table_row(text, name):
    return next(line for line in text.splitlines() if line.startswith(f"| {name} |")).strip("| ").split(" | ")


def test_draws_without_choice_are_all_alike_and_warm_ones_are_not():
    world, captioner = World.of("nano"), shipped("captioner")
    scenes, px = world.evaluation(6), world.level.px
    cold, warm = (decoding_views.varied(captioner, scenes, px, decoding_views.nucleus(*one)) for one in ((1.0, 0.01), (1.5, 1.0)))
    assert cold.self_bleu > 0.7 and warm.self_bleu < 0.5
    assert cold.distinct_2 < warm.distinct_2 and cold.true > warm.true
    figure = decoding_views.trade({"one": {"cold": cold, "warm": warm}}, "x")
    assert [text.get_text() for text in figure.axes[1].texts] == ["cold", "warm"]
    assert list(figure.axes[0].lines[0].get_ydata()) == pytest.approx([100 * cold.true, 100 * warm.true])
