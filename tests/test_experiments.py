"""What the studio's room of claims shows: verdicts of the records, and trainings of a home while they run."""

import json
from pathlib import Path

import gradio as gr
import pytest

from apps import experiment_charts as charts
from apps.experiments import MOST_POINTS, Training, curves, questions, trainings
from apps.tabs import claims
from blip.errors import InputError
from lab.claims import CLAIMS
from lab.claims_report import cells
from lab.locks import locked
from lab.runs import Home, Step
from lab.verdicts import decided

SEEDS = range(5)


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """One record: five seeds in which captioner and filter gain 0.1 together, and each of them nothing."""
    worth = {"none": 0.5, "both": 0.6, "F": 0.5, "C": 0.5}
    more = {"none": 0.0, "both": 1e-3, "F": 1e-9, "C": -1e-9}  # equal differences would decide nothing
    found = {arm: {seed: _measured(r1 + more[arm] * seed) for seed in SEEDS} for arm, r1 in worth.items()}
    arms = {arm: {"about": arm, "seeds": {str(seed): one for seed, one in own.items()}} for arm, own in found.items()}
    result = {"ablation": "table1", "scale": "cpu", "arms": arms, "claims": decided("table1", found)}
    record = {"result": result, "commit": "0" * 12}
    folder = tmp_path / "ablations"
    folder.mkdir()
    (folder / "table1-cpu.json").write_text(json.dumps(record))
    return folder


def _measured(r1: float) -> dict:
    """What an arm found, with two images and their four texts."""
    return {"worth": {"retrieval": {"all": {"r1": r1, "images": 2}}, "items": {"r1": "101010"}}}


def _logging(home: Home, step: Step, rows: int, state: str) -> str:
    """A run that has logged so many rows."""

    def work(folder: Path) -> dict:
        (folder / "pretrain").mkdir()
        lines = [
            json.dumps({"itc": 1.0 + number, "lm": 2.0, "step": number, "learning_rate": 0.1, "alpha": 0.4,
                        "gradient_norm": 1.0, "samples_per_second": 7.0}) + "\n"
            for number in range(1, rows + 1)
        ]  # fmt: skip
        (folder / "pretrain" / "metrics.jsonl").write_text("".join(lines) + '{"itc": 3')
        if state == "interrupted":
            raise KeyboardInterrupt
        return {}

    if state == "interrupted":
        with pytest.raises(KeyboardInterrupt):
            home.run(step, work)
    else:
        home.run(step, work)
    return step.id


def test_every_claim_is_decided_or_named_with_its_command(records):
    found = questions(records)
    said = [one.claim.id for question in found for one in question.decided]
    assert said == ["capfilt", "filter", "captioner", "both-over-filter", "both-over-captioner"]
    assert len(said) + sum(len(question.open) for question in found) == len(CLAIMS)
    table1, table2 = found[0], found[1]
    assert not table1.open and table2.open[0].startswith("Captions drawn by nucleus")
    assert table2.command == "lab ablate table2 --scale cpu --seeds 5"
    html = charts.summary(found) + charts.claims(found)
    compared, others, _ = html.split('<dl class="tally">')[1:]
    assert "<dt>reproduced</dt><dd>3</dd>" in compared and "<dt>equivalent</dt><dd>2</dd>" in compared
    assert "<dt>holds</dt><dd>0</dd>" in others and "reproduced" not in others
    assert "<b>+10.2</b> <span>+10.0 to +10.4</span>" in html
    assert html.count('class="forest"') == 5
    assert html.count('<li class="quiet">') == sum(len(question.open) for question in found)
    assert html.count("<code>lab ablate ") == sum(bool(question.open) for question in found)
    assert f"<code>{table2.command}</code>" in html
    assert html.count('<details class="outcomes">') == 1
    # R@1 is there again, with an interval that leaves out 0; this record has no other outcome.
    assert "<td><b>+10.2</b><span>+10.0 to +10.4</span></td><td>–</td>" in html


def test_an_undecided_claim_says_how_many_seeds_would_decide(records):
    path = records / "table1-cpu.json"
    record = json.loads(path.read_text())
    row = next(one for one in record["result"]["claims"] if one["claim"] == "capfilt")
    # Mean 1 point and deviation 1 point: an interval of 7 seeds would leave out 0.
    row |= {"values": {"0": 0.0, "1": 0.01, "2": 0.02}, "seeds": 3, "verdict": "undecided", "margin": 0.001}
    path.write_text(json.dumps(record))
    html = charts.claims(questions(records))
    assert 'class="note"' not in html  # claims of Table 1 have none
    assert html.count("seeds would decide</span>") == 1 and "<span>7 seeds would decide<" in html


def test_a_claim_whose_seeds_all_differ_by_the_same_names_no_number_of_seeds(records):
    path = records / "table1-cpu.json"
    record = json.loads(path.read_text())
    row = next(one for one in record["result"]["claims"] if one["claim"] == "capfilt")
    row |= {"values": {str(seed): 0.01 for seed in SEEDS}, "interval": [None, None], "verdict": "undecided"}
    path.write_text(json.dumps(record))
    html = charts.claims(questions(records))
    assert "<span>the same at all seeds, no interval</span>" in html and "would decide" not in html


def test_a_claim_says_that_its_mean_is_smaller_than_what_counts(records):
    path = records / "table1-cpu.json"
    record = json.loads(path.read_text())
    row = next(one for one in record["result"]["claims"] if one["claim"] == "capfilt")
    row |= {"effect": 0.009, "interval": [0.003, 0.015]}
    path.write_text(json.dumps(record))
    html = charts.claims(questions(records))
    assert html.count("<b>reproduced (above 0, and smaller than what counts)</b>") == 1
    assert 'aria-label="effect +0.9 points, reproduced (above 0, and smaller than what counts)"' in html


def test_a_record_that_is_none_is_named(records):
    (records / "broken.json").write_text("{}")
    with pytest.raises(InputError, match="broken.json is no record of lab ablate"):
        questions(records)


def test_trainings_are_listed_running_first_and_their_curves_are_means(tmp_path):
    home = Home(tmp_path)
    done = _logging(home, Step(kind="pretrain", config={"n": 1}), 3, "done")
    home.run(Step(kind="capfilt", config={}), lambda folder: {})
    cut = _logging(home, Step(kind="pretrain", config={"n": 2}), 2 * MOST_POINTS + 1, "interrupted")
    found = trainings(home)
    assert [(one.id, one.state, one.step) for one in found] == [(cut, "interrupted", 481), (done, "done", 3)]
    with locked(home.folder / "locks" / cut, wait=True):
        assert trainings(home)[0].state == "running"
    itc, lm = curves(home, cut)
    assert (itc.name, lm.name) == ("itc", "lm")
    assert itc.points[0] == (3, 3.0)  # the mean of steps 1 to 3, whose ITC is 2, 3 and 4
    assert itc.points[-1] == (481, 482.0)
    assert len(itc.points) <= MOST_POINTS
    assert "ITC over steps, now 482.000" in charts.losses([itc, lm])
    assert done in charts.runs(found) and "No training yet" in charts.runs([])


def test_only_a_training_of_the_home_is_read(tmp_path):
    home = Home(tmp_path)
    for name in ("pretrain-000000000000", "../elsewhere", ""):
        with pytest.raises(InputError, match="has no training"):
            curves(home, name)


def test_the_room_says_that_the_records_are_read_until_they_are(tmp_path):
    with gr.Blocks() as demo:
        claims.build(Home(tmp_path), [demo.load])
    (shown,) = [part for part in demo.blocks.values() if getattr(part, "elem_id", None) == "claims"]
    assert "Reading the records…" in shown.value


def test_trainings_are_counted_in_good_english():
    done = Training("a", "done", 1, 1.0, 1.0)
    assert "0 running, 1 other<" in claims._head([done])
    assert "1 running, 2 others<" in claims._head([done, done, Training("b", "running", 1, 1.0, None)])


def test_a_correlation_is_told_as_one_here_and_in_the_report():
    said = next(claim for claim in CLAIMS if not claim.in_points).says
    asked = [one for one in questions() if any(own.claim.says == said for own in one.decided)]
    (own,) = [own for own in asked[0].decided if own.claim.says == said]
    shown = f"r {own.row['effect']:+.2f}"
    assert f"<b>{shown}</b>" in charts.claims(asked) and ", a correlation, " in charts.claims(asked)
    assert shown in cells(own) and f"{own.row['margin']:.2f}" in cells(own)
    others = [one for one in questions() if one not in asked]
    assert "<b>r " not in charts.claims(others) and " points, " in charts.claims(others)
