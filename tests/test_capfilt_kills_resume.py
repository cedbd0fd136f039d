"""CapFilt killed at random and started again ends with the bytes of an unbroken run."""

import json
import os
import subprocess
import sys

import pytest

from blip.capfilt import Ledger
from blip.data.files import drop_unfinished
from blip.errors import InputError
from lab.bench import capfilt_kill
from lab.bench.capfilt_kill import AIMS, Options
from lab.bench.ledger_state import BETWEEN, CAPTIONING, ENTERING, WRITING, Place, place, state
from lab.cli import main
from lab.weights import WEIGHTS

TABLES = ("rejects", "candidates", "scores.itm")
WEIGHT_WORDS = [f"--{name}={WEIGHTS / name}.safetensors" for name in ("captioner", "filter")]


def test_six_kills_in_every_phase_change_no_byte(tmp_path):
    options = Options(out=tmp_path / "kill.json", kills=6, each=1, pairs=200, images_per_shard=16, pause=0.05)
    assert capfilt_kill.main(options) == 0
    result = json.loads(options.out.read_text())["result"]
    assert result["differing"] == result["left_over"] == []
    assert (result["lost"], result["doubled"], result["rows"]) == (0, 0, 400)
    assert result["verify"]
    # ledger.json, the rejects of reading, and three tables of 13 shards with their entries.
    assert result["files_compared"] == 1 + 2 + 2 * 3 * 13
    assert len(result["kills"]) == 6
    assert all(result["phases"][phase] >= 1 for phase in AIMS)
    assert all(kill["tiles_done_in_this_start"] >= 1 for kill in result["kills"])
    assert all(kill["shard"] is not None for kill in result["kills"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kills": 70}, "fewer than there are shards .63."),
        ({"kills": 20}, "at least 3 times --each .30."),
        ({"images_per_shard": 0}, "--images-per-shard 0 cannot be"),
        ({"pause": 0.0}, "--pause 0 cannot be"),
    ],
)
def test_kills_that_cannot_be_met_are_refused(changes, said):
    with pytest.raises(InputError, match=said):
        capfilt_kill.main(Options(**changes))


def files(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")


def entries(shard, tables=TABLES):
    return [f"manifest/{table}-{shard:05d}.json" for table in tables]


@pytest.mark.parametrize(
    ("new", "wanted"),
    [
        ([], Place(CAPTIONING, "00001")),
        (["rejects/.00001.parquet.7.unfinished"], Place(WRITING, "00001", "rejects")),
        (["scores/itm/.00001.parquet.7.unfinished", "candidates/00001.parquet", *entries(1, TABLES[:2])],
         Place(WRITING, "00001", "scores/itm")),
        (["rejects/00001.parquet"], Place(ENTERING, "00001", "rejects")),
        (["rejects/00001.parquet", "manifest/.rejects-00001.json.7.unfinished"], Place(ENTERING, "00001", "rejects")),
        (["rejects/00001.parquet", "manifest/rejects-00001.json"], Place(BETWEEN, "00001")),
        (["rejects/.00001.parquet.8.unfinished"], Place(CAPTIONING, "00001")),  # another process's
        (["candidates/00002.parquet", *entries(1)], Place(ENTERING, "00002", "candidates")),
        ([*entries(1)], Place(CAPTIONING, "00002")),
        ([*entries(1), *entries(2)], Place(CAPTIONING, None)),
    ],
)  # fmt: skip
def test_the_phase_is_read_from_what_a_process_left(tmp_path, new, wanted):
    files(tmp_path, *entries(0), "candidates/00001.parquet")  # an earlier kill left a shard without entry
    before = state(tmp_path)
    files(tmp_path, *new)
    assert place(before, state(tmp_path), 7, shards=3) == wanted


def test_a_shard_written_again_counts_as_new(tmp_path):
    files(tmp_path, "candidates/00000.parquet")
    before = state(tmp_path)
    files(tmp_path, "candidates/fresh")
    (tmp_path / "candidates/fresh").replace(tmp_path / "candidates/00000.parquet")
    assert place(before, state(tmp_path), 7, shards=1) == Place(ENTERING, "00000", "candidates")


def test_only_what_dead_processes_left_is_dropped(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    dead, mine = (f"candidates/.00000.parquet.{pid}.unfinished" for pid in (child.pid, os.getpid()))
    files(tmp_path, dead, mine, "candidates/.notes.unfinished", "candidates/00000.parquet")
    drop_unfinished(tmp_path)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {mine, "candidates/.notes.unfinished", "candidates/00000.parquet"}


def test_other_workers_give_the_same_bytes_with_real_weights(tmp_path):
    world = ["world", "--pairs=40", f"--tars={tmp_path / 'tars'}", f"--out={tmp_path / 'sheet.png'}", "--count=1"]
    assert main(world) == 0
    found = []
    for workers in (1, 5):
        out = tmp_path / f"workers-{workers}"
        words = [f"--data={tmp_path / 'tars'}", f"--out={out}", f"--workers={workers}", "--images-per-shard=16"]
        assert main(["capfilt", *words, *WEIGHT_WORDS, "--device=cpu"]) == 0
        paths = [out / "ledger.json", *out.rglob("*.parquet"), *out.glob("manifest/*.json")]
        found.append({path.relative_to(out).as_posix(): path.read_bytes() for path in paths})
    assert found[0] == found[1]
    assert Ledger.open(out).counts()["images"] == 40
