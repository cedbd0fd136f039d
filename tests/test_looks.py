"""What it costs to look at a claim and add seeds, and what else does not count twice."""

import json
from dataclasses import replace

import pytest

from lab import claims_report
from lab.ablation.command import Wanted, ablate
from lab.ablation.earlier import Earlier
from lab.ablation.ground import WORLD
from lab.ablation.scales import scaled
from lab.ablations import ablation
from lab.claim_records import best
from lab.claims import CLAIMS
from lab.looks import cost_of, found_by_chance, looked, with_looks
from lab.runs import Home
from lab.secondary import secondary

SMOKE = scaled("smoke")


def claim(name):
    return next(one for one in CLAIMS if one.id == name)


def test_one_look_finds_one_in_twenty_by_chance_and_more_looks_find_more():
    assert found_by_chance((3,)) == pytest.approx(0.05, abs=0.003)
    assert found_by_chance((12,)) == pytest.approx(0.05, abs=0.003)
    assert found_by_chance((3, 5)) == pytest.approx(0.0861, abs=0.003)  # by a million draws of another seed
    assert found_by_chance((3, 4, 5, 6)) > found_by_chance((3, 6)) > found_by_chance((3,))
    assert cost_of([5]) == cost_of([]) == ""


def test_fewer_seeds_than_a_verdict_needs_are_no_look():
    rows = [{"claim": "a", "seeds": 5, "fewest_seeds": 3}, {"claim": "b", "seeds": 5, "fewest_seeds": 5}, {"claim": "c", "seeds": 2, "fewest_seeds": 3}]
    found = with_looks(rows, {"a": [3], "b": [3], "d": [7]})
    assert [row["looks"] for row in found] == [[3, 5], [5], []]
    assert [row["looks"] for row in with_looks(rows, {"a": [3, 5]})] == [[3, 5], [5], []]  # looked at again, nothing added


def test_seeds_that_are_added_in_one_home_leave_a_trace(tmp_path, capsys):
    """The cells lie in one home, so that the record's `before` knows nothing of the first run."""
    home, out = Home(tmp_path / "home"), tmp_path / "rounds.json"
    wanted = Wanted(name="rounds", scale="smoke", seeds=3, only=("1 rounds", "2 rounds"), out=out)
    ablate(wanted, home)
    ablate(wanted, home)
    (row,) = json.loads(out.read_text())["result"]["claims"]
    assert row["looks"] == [3]
    ablate(replace(wanted, seeds=5, add=True), home)
    record = json.loads(out.read_text())
    (row,) = record["result"]["claims"]
    assert row["looks"] == [3, 5] and record["result"]["before"][0]["cells"] == {"1 rounds": [0, 1, 2], "2 rounds": [0, 1, 2]}
    record["result"]["scale"] = "cpu"  # as if it said something
    (decided,) = claims_report.decided_of([record])
    assert "Tested after 3 and again after 5 seeds, which raises the false-positive rate from 5% to about 9%." in decided.note


def test_a_claim_whose_cells_are_of_other_runs_begins_anew(tmp_path, capsys):
    home, out = Home(tmp_path / "home"), tmp_path / "rounds.json"
    ablate(Wanted(name="rounds", scale="smoke", seeds=1, only=("1 rounds", "2 rounds"), out=out), home)
    record = json.loads(out.read_text())
    record["result"]["claims"][0]["looks"] = [3]
    out.write_text(json.dumps(record))
    rest = (ablation("rounds"), CLAIMS, SMOKE, home, WORLD)
    assert looked(Earlier.at(out), *rest) == {"second-round": [3]}
    record["result"]["runs"]["2 rounds"]["0"]["worth"] = "worth-000000000000"
    out.write_text(json.dumps(record))
    assert looked(Earlier.at(out), *rest) == {}


def test_what_else_the_arms_differ_in_is_of_the_seeds_that_count():
    """In the committed records: the column that decides says what the claim says."""
    shown = [one for table in best(claims_report.read_records()).values() for one in secondary(table)]
    rows = {one.claim.id: one.row for one in claims_report.decided_of(claims_report.read_records())}
    assert any(one.chosen_on for one, _ in shown)
    for one, (first, *_) in shown:
        row = rows[one.id]
        assert first.n == row["seeds"] and first.interval.mean == pytest.approx(row["effect"])
        if first.n > 1:
            assert [first.interval.low, first.interval.high] == pytest.approx(row["interval"])


def test_the_committed_records_know_of_their_looks():
    assert {"second-round", "not-longer-training"} <= {one.claim.id for one in claims_report.decided_of(claims_report.read_records()) if "again after 5 seeds" in one.note}
    assert claim("second-round").seeds == claim("not-longer-training").seeds == 3
