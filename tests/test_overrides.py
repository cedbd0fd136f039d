"""Decisions of people: each one stays, whoever decides at the same moment, and the last word counts."""

import subprocess
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fake_models import FakeCaptioner, FakeFilter

from blip.capfilt import Job, Ledger, decide, decide_duckdb, override, run, verify
from blip.capfilt.ledger import shard_name
from blip.capfilt.override import decisions
from blip.capfilt.store import LocalStore, store_at
from blip.data.files import replacing, reserve
from blip.data.pairs import Pair
from blip.data.pairset import PairSet
from blip.errors import InputError

WRITERS = 6


@pytest.fixture(params=["folder", "store"])
def place(request, tmp_path):
    """A new place: a folder, or one in memory that refuses no second PUT of a name, as many stores."""
    return tmp_path / "ledger" if request.param == "folder" else f"memory://{uuid.uuid4().hex}/ledger"


def made(place):
    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 255, (8, 8, 3), dtype=np.uint8) for _ in range(4 * WRITERS)]
    pairs = PairSet.of(Pair(f"k{n}", f"caption {n}", image) for n, image in enumerate(pixels))
    return run(Job(captioner=FakeCaptioner(), filters={"itm": FakeFilter()}), pairs, place)


def meeting(monkeypatch, store):
    """Every writer finds the same shard free: none goes on until all have listed what is there."""
    barrier, names = threading.Barrier(WRITERS), store.names

    def listed(self, folder):
        found = names(self, folder)
        if folder == "overrides":
            barrier.wait(60)
        return found

    monkeypatch.setattr(store, "names", listed)


def decided_at_once(ledger):
    """Each writer decides a caption of its own, all at the same moment, twice."""
    rows = decide(ledger)["row_id"].to_pylist()
    chosen = [rows[at::WRITERS][:2] for at in range(WRITERS)]

    def one(number):
        for row in chosen[number]:
            override(Ledger.open(ledger.folder), {row: True}, reviewer=str(number))

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(one, range(WRITERS)))
    return {row: str(number) for number, own in enumerate(chosen) for row in own}


def test_writers_who_find_the_same_shard_free_lose_no_decision(monkeypatch, place):
    ledger = made(place)
    meeting(monkeypatch, type(ledger.store))
    wanted = decided_at_once(ledger)
    assert {row: word.reviewer for row, word in decisions(ledger).items()} == wanted
    assert len({entry.shard for entry in ledger.entries("overrides")}) == len(wanted)
    assert [finding for finding in verify(ledger) if not finding.holds] == []
    assert decide(ledger) == decide_duckdb(ledger)
    # Later ones stand behind all of them.
    row = next(iter(wanted))
    monkeypatch.undo()
    for kept in (False, True, False):
        override(Ledger.open(ledger.folder), {row: kept}, reviewer="last")
        assert decisions(ledger)[row].kept is kept and ledger.table("overrides")["row_id"][-1].as_py() == row


def test_processes_that_decide_at_once_lose_no_decision(tmp_path):
    ledger = made(tmp_path / "ledger")
    rows = decide(ledger)["row_id"].to_pylist()
    code = """
import sys
from blip.capfilt import Ledger, override
sys.stdin.readline()
for row in sys.argv[2:]:
    override(Ledger.open(sys.argv[1]), {row: True}, reviewer="ann")
"""
    words = [[sys.executable, "-c", code, str(ledger.folder), *rows[at:12:3]] for at in range(3)]
    begun = [subprocess.Popen(own, stdin=subprocess.PIPE, text=True) for own in words]
    for process in begun:
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.wait(120) for process in begun] == [0, 0, 0]
    assert sorted(decisions(ledger)) == sorted(rows[:12])
    assert [entry.shard for entry in ledger.entries("overrides")] == [shard_name(n) for n in range(12)]


def test_a_number_that_a_killed_writer_took_stays_unused(tmp_path):
    ledger = made(tmp_path / "ledger")
    rows = decide(ledger)["row_id"].to_pylist()
    assert ledger.store.claim("overrides/00000", ".parquet") == "overrides/00000"
    assert ledger.table("overrides").num_rows == 0
    override(ledger, {rows[0]: True}, reviewer="ann")
    assert [entry.shard for entry in ledger.entries("overrides")] == ["00001"]
    assert [finding for finding in verify(ledger) if not finding.holds] == []


def test_a_claim_is_nobody_elses(place):
    store = store_at(place)
    first, second = (store.claim("overrides/00007", ".parquet") for _ in range(2))
    if isinstance(store, LocalStore):
        assert (first, second) == ("overrides/00007", None)
    else:
        assert first < second and {name.split(".")[0] for name in (first, second)} == {"overrides/00007"}


def test_where_nothing_can_be_written_nothing_is_claimed(tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(InputError, match=r"a.bin cannot be written .Not a directory: .*give another place"):
        reserve(tmp_path / "file" / "a.bin")
    assert reserve(tmp_path / "a.bin") and not reserve(tmp_path / "a.bin")
    assert (tmp_path / "file").read_text() == "kept"


def test_threads_may_write_the_same_file(tmp_path):
    """Both have begun before either ends: the last to end is what stands there, whole, and nothing else is left."""
    with replacing(tmp_path / "a.bin") as one:
        one.write(b"one")
        with replacing(tmp_path / "a.bin") as other:
            other.write(b"the other")
        assert (tmp_path / "a.bin").read_bytes() == b"the other"
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.bin", b"one")]
