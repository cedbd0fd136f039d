"""How far the same run comes out when it is trained again elsewhere."""

from lab import repeats
from lab.records import machine


def record(scale, r1, run="worth-1"):
    found = {"worth": {"retrieval": {"all": {"r1": r1}}}}
    return {"result": {"scale": scale, "arms": {"a": {"seeds": {"0": found}}}, "runs": {"a": {"0": {"worth": run}}}}}


def test_runs_of_one_name_are_compared(monkeypatch):
    records = [record("cpu", 0.5), record("cpu", 0.75), record("cpu", 0.6), record("smoke", 0.1), record("cpu", 0.9, "worth-2")]
    assert repeats.repeated(records) == {"worth-1": 0.25}
    without_names = record("cpu", 0.5)
    del without_names["result"]["runs"]  # of before runs were named in records
    assert repeats.repeated([without_names, record("cpu", 0.6)]) == {}
    monkeypatch.setattr(repeats, "read_records", lambda: [*records, record("cpu", 0.9, "worth-2")])
    assert repeats.repeats().startswith("Of 2 runs that several records have, 1 have one value")
    assert "lie 25.0 points apart in the median, and 25.0 at most" in repeats.repeats()


def test_a_record_says_which_instructions_the_arithmetic_used():
    assert machine()["instructions"]
