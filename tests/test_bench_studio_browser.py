"""`lab bench studio` in its browser, small: every wait is measured, whatever it takes on this machine."""

import json

from lab.bench import studio as bench
from lab.bench.studio import AT_ONCE, BLANK, MOST, Options


def test_a_small_bench_measures_every_wait(tmp_path, capsys):
    out = tmp_path / "studio.json"
    options = Options(out=out, rows=6000, pictures=4, rounds=1, turns=2, moves=2, pages=40, folder=tmp_path)
    assert bench.main(options) in (0, 1)
    record = json.loads(out.read_text())
    waits = record["result"]["milliseconds"]
    assert set(waits) == {*MOST, BLANK, "search for a text"}
    assert all(own["measured"] >= 1 and 0 < own["min"] <= own["median"] <= own["max"] for own in waits.values())
    assert waits[AT_ONCE]["measured"] == 1
    assert list(map(int, record["result"]["memory"]["mib"][0])) == [0, 10, 20, 30, 40]
    assert record["result"]["rows"] == 6000
    said = capsys.readouterr().out
    assert "round 1: " in said and "first view, times a blank page" in said
    assert [path.name for path in tmp_path.iterdir()] == ["studio.json"]
