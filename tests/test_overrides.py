"""Decisions of people: each one stays, whoever decides at the same moment, and the last word counts."""

import random
import subprocess
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from fake_models import FakeCaptioner, FakeFilter
from random_ledgers import random_ledger

from blip.capfilt import Job, Ledger, Policy, decide, decide_duckdb, kept, override, run, verify
from blip.capfilt.ledger import shard_name
from blip.capfilt.override import Decision, decisions, record, rewritten
from blip.capfilt.schema import OVERRIDES
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
    for side in (False, True, False):
        override(Ledger.open(ledger.folder), {row: side}, reviewer="last")
        assert decisions(ledger)[row].kept is side and ledger.table("overrides")["row_id"][-1].as_py() == row


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


def word(ledger, shard, row, kept):
    rows = [{"row_id": row, "kept": kept, "was": True, "reviewer": "ann", "at": datetime.now(UTC)}]
    ledger.write("overrides", shard, pa.Table.from_pylist(rows, schema=OVERRIDES))


@pytest.mark.parametrize(("earlier", "later"), [
    ("99999", "100000"), ("10001", "100000"), ("99999.0001", "100000.0000"), ("00002", "00002.0001"), ("00002.0001", "00003"),
])  # fmt: skip
def test_the_later_word_counts_whatever_its_shard_is_called(tmp_path, earlier, later):
    ledger = random_ledger(tmp_path / "ledger", 0)
    row = ledger.table("candidates")["row_id"][0].as_py()
    for side in (True, False):
        word(ledger, earlier, row, not side)
        word(ledger, later, row, side)
        assert decisions(ledger)[row].kept is side
        for decided in (decide(ledger), decide_duckdb(ledger)):
            assert dict(zip(decided["row_id"].to_pylist(), decided["kept"].to_pylist(), strict=True))[row] is side
    override(ledger, {row: True}, reviewer="last")
    assert list(ledger.entries("overrides"))[-1].shard == shard_name(int(later.partition(".")[0]) + 1)
    assert decisions(ledger)[row].kept is True


def renumbered(ledger, folder, first):
    """The same ledger with its shards numbered from `first`; only shards of scores and candidates."""
    other = Ledger.create(folder, {"filters": {}})
    for entry in (entry for table in ("candidates", "scores/*") for entry in ledger.entries(table)):
        other.write(entry.table, shard_name(first + int(entry.shard)), ledger.read(entry.table, entry.shard))
    return other


def test_shards_stand_in_the_order_of_their_numbers(tmp_path):
    """From 100,000 on a name has a digit more, which sorts it before those of fewer."""
    plain = renumbered(random_ledger(tmp_path / "plain", 3, shards=4), tmp_path / "first", 0)
    many = renumbered(plain, tmp_path / "many", 99_998)
    assert [entry.shard for entry in many.entries("candidates")] == ["99998", "99999", "100000", "100001"]
    rng = random.Random(0)
    policies = [Policy(web=-2.0, synthetic=-2.0, per_caption=n, per_image=rng.choice((None, 2))) for n in (1, 2, 3)]
    for policy in policies:
        assert many.table("candidates") == plain.table("candidates")
        for way in (decide, decide_duckdb):
            assert repr(way(many, policy).to_pylist()) == repr(way(plain, policy).to_pylist())


def test_what_was_found_while_reading_stands_behind_the_shards(tmp_path):
    ledger = made(tmp_path / "ledger")
    assert [entry.shard for entry in ledger.entries("rejects")] == ["00000", "reading"]


def test_better_words_are_exported_while_a_person_keeps_them(tmp_path):
    """Given back to the filter, which has never read them, a caption stands in the ledger's words again."""
    ledger = made(tmp_path / "ledger")
    row = decide(ledger)["row_id"][0].as_py()
    loose, images = Policy(web=-1.0, synthetic=-1.0), {f"k{n}": Pair(f"k{n}", "", b"") for n in range(4 * WRITERS)}
    for side, text, wanted in ((True, "better", "better"), (None, "better", None), (False, "better", None), (True, None, None)):
        record(ledger, {row: Decision(side, "ann", datetime.now(UTC), text)}, loose)
        said = [(pair.caption, own["edited_from"]) for pair, own in kept(ledger, loose, images) if own["row_id"] == row]
        assert said == ([] if side is False else [(wanted, "caption 0") if wanted else ("caption 0", None)])
        assert rewritten(ledger) == ({} if wanted is None else {row: wanted})
