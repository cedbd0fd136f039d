"""A record that is gone on with in another home: nothing that was measured is lost, and nothing else is mixed in."""

import json
from dataclasses import replace

import pytest

from lab.ablation.command import FOLDER, Wanted, ablate
from lab.ablation.earlier import Earlier
from lab.ablation.own_table import table_of
from lab.ablation.plan import Cell, results
from lab.ablation.queue import by_value
from lab.ablation.scales import scaled
from lab.ablations import ablation
from lab.cli import main
from lab.runs import Home

SMOKE = scaled("smoke")
TABLE = ablation("table1")
NONE, BOTH = TABLE.arm("none"), TABLE.arm("both")


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A home with two arms of one seed, and the record of it."""
    folder = tmp_path_factory.mktemp("first")
    home, out = Home(folder / "home"), folder / "table1.json"
    ablate(Wanted(name="table1", scale="smoke", seeds=1, only=("none", "both"), out=out), home)
    return home, out.read_bytes()


@pytest.fixture
def out(first, tmp_path):
    """That record, where a second home is at work."""
    path = tmp_path / "table1.json"
    path.write_bytes(first[1])
    return path


def cells(record):
    return {(name, seed) for name, own in record["result"]["arms"].items() for seed in own["seeds"]}


def told(record, name, seed):
    result = record["result"]
    return result["arms"][name]["seeds"][seed], result["budgets"][name][seed], result["runs"][name][seed]


def test_more_seeds_from_another_home_join_the_record(first, out, tmp_path, capsys):
    home, before = Home(tmp_path / "home"), json.loads(first[1])
    ablate(Wanted(name="table1", scale="smoke", seeds=2, only=("none",), add=True, out=out), home)
    record = json.loads(out.read_text())
    assert "1 cells, 0 of them done" in capsys.readouterr().err  # seed 0 is in the record
    assert cells(record) == {("none", "0"), ("none", "1"), ("both", "0")} and record["result"]["seeds"] == [0, 1]
    assert results(Cell(NONE, 0), SMOKE, home) is None
    for name in ("none", "both"):
        assert told(record, name, "0") == told(before, name, "0")
    (by,) = record["result"]["before"]
    assert by["cells"] == {"both": [0], "none": [0]} and by["command"] == before["command"]
    claims = {row["claim"]: row for row in record["result"]["claims"]}
    assert claims == {row["claim"]: row for row in before["result"]["claims"]}  # of the one seed that both arms have


def test_a_seed_that_decides_nothing_can_be_left_out(out, tmp_path):
    home = Home(tmp_path / "home")
    ablate(Wanted(name="table1", scale="smoke", seeds=2, from_seed=1, only=("none",), out=out), home)
    assert cells(json.loads(out.read_text())) == {("none", "0"), ("none", "1"), ("both", "0")}
    assert results(Cell(NONE, 1), SMOKE, home) and results(Cell(NONE, 0), SMOKE, home) is None


def test_what_the_record_has_stays_where_this_home_has_it_too(out, tmp_path):
    """Arms that were trained together are compared: cells of this home, of another machine perhaps, do not come in between."""
    home, rest = Home(tmp_path / "home"), {"name": "table1", "scale": "smoke", "seeds": 1, "only": ("none", "F")}
    ablate(Wanted(**rest, out=tmp_path / "here.json"), home)
    record = json.loads(out.read_text())
    record["result"]["arms"]["none"]["seeds"]["0"]["worth"]["retrieval"]["all"]["r1"] = 0.99
    out.write_text(json.dumps(record))
    ablate(Wanted(**rest, add=True, out=out), home)
    again = json.loads(out.read_text())
    assert again["result"]["arms"]["none"]["seeds"]["0"]["worth"]["retrieval"]["all"]["r1"] == 0.99
    (by,) = again["result"]["before"]
    assert by["cells"] == {"both": [0], "none": [0]} and cells(again) == {("none", "0"), ("both", "0"), ("F", "0")}
    ablate(Wanted(**rest, out=out), home)
    assert json.loads(out.read_text())["result"]["arms"]["none"]["seeds"]["0"]["worth"]["retrieval"]["all"]["r1"] != 0.99


def test_who_measured_what_is_known_after_several_homes(first, out, tmp_path):
    for number, seeds in enumerate((2, 3)):
        ablate(Wanted(name="table1", scale="smoke", seeds=seeds, only=("none",), add=True, out=out), Home(tmp_path / str(number)))
    record = json.loads(out.read_text())
    assert [by["cells"] for by in record["result"]["before"]] == [{"both": [0], "none": [0]}, {"none": [1]}]
    assert cells(record) == {("none", "0"), ("none", "1"), ("none", "2"), ("both", "0")}


def test_without_add_what_is_asked_for_is_done_again(out, tmp_path, capsys):
    home = Home(tmp_path / "home")
    ablate(Wanted(name="table1", scale="smoke", seeds=1, only=("none",), out=out), home)
    record = json.loads(out.read_text())
    assert results(Cell(NONE, 0), SMOKE, home) == record["result"]["arms"]["none"]["seeds"]["0"]
    assert [by["cells"] for by in record["result"]["before"]] == [{"both": [0]}]
    assert "1 cells of the record were measured again, 1 with the very same values." in capsys.readouterr().err


def test_with_add_a_record_that_has_it_all_stays_as_it_is_and_it_is_said(out, tmp_path, capsys):
    before, wanted = out.read_bytes(), Wanted(name="table1", scale="smoke", seeds=1, only=("none",), add=True, out=out)
    assert ablate(wanted, Home(tmp_path / "home")) == 0
    assert out.read_bytes() == before and not (tmp_path / "home" / "runs").exists()
    assert "The record has all that is asked for: nothing is done, and it stays as it is." in capsys.readouterr().err
    record = json.loads(before)
    record["result"]["question"] = "asked otherwise"
    out.write_text(json.dumps(record))
    ablate(wanted, Home(tmp_path / "home"))  # words of now are written
    assert json.loads(out.read_text())["result"]["question"] == TABLE.question


def test_other_values_for_the_same_runs_are_told(out, tmp_path, capsys):
    record = json.loads(out.read_text())
    record["result"]["arms"]["none"]["seeds"]["0"]["worth"]["retrieval"]["all"]["r1"] = 0.99
    out.write_text(json.dumps(record))
    ablate(Wanted(name="table1", scale="smoke", seeds=1, only=("none",), out=out), Home(tmp_path / "home"))
    assert "1 cells of the record were measured again, 0 with the very same values; others came of none (seed 0)." in capsys.readouterr().err


def test_cells_of_other_runs_are_not_mixed_in_and_not_lost(out, tmp_path, monkeypatch, capsys):
    changed = replace(BOTH, student=("pretrain.peak=0.0001",))
    table = replace(TABLE, arms=tuple(changed if arm is BOTH else arm for arm in TABLE.arms))
    monkeypatch.setattr("lab.ablation.command.table_of", lambda name: replace(table_of(name), ablation=table))
    before = out.read_bytes()
    ablate(Wanted(name="table1", scale="smoke", seeds=1, only=("none",), add=True, out=out), Home(tmp_path / "home"))
    assert cells(json.loads(out.read_text())) == {("none", "0")}
    (copy,) = tmp_path.glob("table1.json.before-*")
    assert copy.read_bytes() == before
    assert f"1 cells of {out} are of other arms or recipes than those of now; {copy} keeps them." in capsys.readouterr().err


def test_a_record_without_its_runs_is_set_aside(out, tmp_path, capsys):
    record = json.loads(out.read_text())
    del record["result"]["runs"]
    out.write_text(json.dumps(record))
    ablate(Wanted(name="table1", scale="smoke", seeds=1, only=("none",), out=out), Home(tmp_path / "home"))
    assert cells(json.loads(out.read_text())) == {("none", "0")}
    assert "2 cells of" in capsys.readouterr().err and list(tmp_path.glob("table1.json.before-*"))


_CELL = '{"result": {"arms": {"none": {"seeds": {"0": {}}}}'


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", '{"result": {"arms": {"none": {}}}}', '{"result": {"arms": {"none": {"seeds": {"x": 1}}}}}',
        _CELL + ', "runs": []}}', _CELL + ', "runs": {"none": 3}}}', _CELL + ', "budgets": {"none": 3}}}', _CELL + ', "before": [{}]}}',
    ],
)
def test_what_is_no_record_is_refused_before_anything_is_done(text, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BLIP_LAB_HOME", str(tmp_path / "home"))
    path = tmp_path / "other.json"
    path.write_text(text)
    assert main(["ablate", "table1", "--scale", "smoke", "--seeds", "1", "--out", str(path)]) == 2
    assert capsys.readouterr().err == f"lab: {path} is no record of an ablation, or is damaged; move it away, or give another --out.\n"
    assert path.read_text() == text and not (tmp_path / "home" / "runs").exists()


def test_the_queue_leaves_out_what_the_records_have(out, tmp_path):
    home, earlier = Home(tmp_path / "home"), Earlier.at(out)
    names = [one.name for one in by_value(SMOKE, home, {"table1": earlier})]
    assert {"table1: none (seed 0)", "table1: both (seed 0)"}.isdisjoint(names) and "table1: none (seed 1)" in names
    assert "table1: none (seed 0)" in [one.name for one in by_value(SMOKE, home)]


def test_the_committed_records_fit_the_arms_of_now(tmp_path):
    """Whoever clones the project can add seeds to every record."""
    home = Home(tmp_path)
    for path in sorted(FOLDER.glob("*-cpu.json")):
        earlier = Earlier.at(path)
        table = ablation(earlier.record["result"]["ablation"])
        own = earlier.cells(table)
        assert len(own) == len(earlier.names) > 0, path.name
        assert all(earlier.found(cell, scaled("cpu"), home) for cell in own), path.name
