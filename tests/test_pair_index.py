"""The index of large tars: read once, by several processes, mapped from then on; given up where it cannot be kept."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from data_files import encoded, picture, write_tar

import lab.pair_index
import lab.reading
from blip.data.pair_files import mapped_pairs, write_pairs
from blip.data.pairs import Pair, image_bytes
from blip.data.pairset import PairSet
from blip.data.readers import read_pairs
from blip.errors import InputError
from lab.cli import main
from lab.reading import Reading

IMAGES = [encoded(picture(seed)) for seed in range(3)]
COLUMNS = ("path", "offset", "length", "origin", "key", "caption")


def write_shards(folder):
    """Three tars: with a key that comes again, with an empty caption, and one that is cut."""
    folder.mkdir()
    members = [
        {"a.jpg": IMAGES[0], "a.txt": b"a cat", "b.jpg": IMAGES[1], "b.txt": b""},
        {"a.jpg": IMAGES[2], "a.txt": b"a dog", "c.txt": b"no picture"},
        {"d.jpg": IMAGES[0], "d.json": b'{"captions": ["one", "two"], "origin": "synthetic"}', "e.jpg": IMAGES[1]},
    ]
    paths = [write_tar(folder / f"{number}.tar", own) for number, own in enumerate(members)]
    cut = folder / "2.tar"
    whole = cut.read_bytes()
    cut.write_bytes(whole[: whole.index(b"e.jpg") + 700])
    return [str(path) for path in paths]


@pytest.fixture
def shards(tmp_path, monkeypatch):
    """The tars, with a home of our own and every tar taken for a large one."""
    monkeypatch.setenv("BLIP_LAB_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(lab.pair_index, "LARGE", 1)
    monkeypatch.setattr(lab.pair_index, "processors", lambda: 1)
    return write_shards(tmp_path / "tars")


@pytest.fixture
def readings(monkeypatch):
    """How often files were read."""
    count = []

    def counted(*words, **named):
        count.append(words)
        return read_pairs(*words, **named)

    monkeypatch.setattr(lab.reading, "read_pairs", counted)
    return count


def told(pairs):
    """All that a set of pairs says."""
    table = pairs.rows.table
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    return columns, pairs.image_of_row.tolist(), pairs.shard_of_row.tolist(), pairs.rejects, pairs.renamed


def index_of(home):
    (folder,) = [path for path in (home / "index").iterdir() if not path.name.startswith(".")]
    return folder


def test_several_processes_find_what_one_finds(tmp_path):
    tars = write_shards(tmp_path / "tars")
    table = tmp_path / "more.jsonl"
    table.write_text("".join(f'{{"image": "{tars[0]}", "caption": "{text}"}}\n' for text in ("this", "that")))
    source = [*tars[:2], str(table), tars[2], str(tars[0])]
    one, two = read_pairs(source), read_pairs(source, processes=2)
    assert told(one) == told(two)
    assert one.renamed == 3 and {reject.kind for reject in one.rejects} == {"text", "image", "file"}
    assert [image_bytes(pair) for pair in two.pairs[:2]] == [IMAGES[0], IMAGES[2]]


WORKERS = """
import multiprocessing, sys, time
from blip.data.tar_parts import tar_parts

if __name__ == "__main__":
    with tar_parts(sys.argv[1:], None, 2) as parts:
        print(sum(part.result().images for part in parts.values()), flush=True)
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        time.sleep(120)
"""


def runs(pid):
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="whether a process runs is read from /proc, which only Linux has")
def test_workers_leave_ctrl_c_to_their_parent_and_end_with_it(tmp_path):
    script = tmp_path / "reads.py"
    script.write_text(WORKERS)
    tars = write_shards(tmp_path / "tars")[:2]
    with subprocess.Popen([sys.executable, str(script), *tars], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]) as parent:
        assert parent.stdout.readline() == "3\n"
        workers = [int(pid) for pid in parent.stdout.readline().split()]
        for worker in workers:
            os.kill(worker, signal.SIGINT)
        time.sleep(0.5)
        assert len(workers) == 2 and all(map(runs, workers))
        parent.kill()
    until = time.monotonic() + 30
    while any(map(runs, workers)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(runs, workers))


def test_it_is_read_once_and_mapped_from_then_on(shards, readings, tmp_path):
    first = Reading().pairs(str(tmp_path / "tars"))
    again = Reading().pairs(str(tmp_path / "tars"))
    assert len(readings) == 1
    assert told(first) == told(again) == told(read_pairs(shards))
    assert [image_bytes(pair) for pair in again] == [image_bytes(pair) for pair in read_pairs(shards)]
    assert again.shards.tolist() == [0, 1, 2, 2] and len(again.images) == 4
    assert len(set(again.rows.table.column("origin").to_pylist())) == 2


def test_another_way_of_reading_and_files_that_changed_are_read_anew(shards, readings, tmp_path):
    Reading().pairs(shards[0])
    assert {pair.origin for pair in Reading().read(shards[0], "human")} == {"human"}
    write_tar(tmp_path / "tars" / "0.tar", {"z.jpg": IMAGES[0], "z.txt": b"new"})
    assert [pair.caption for pair in Reading().pairs(shards[0])] == ["new"]
    assert len(readings) == 3
    os.utime(shards[0], ns=(1, 1))
    Reading().pairs(shards[0])
    assert len(readings) == 4


def test_small_data_and_tables_have_none(shards, readings, tmp_path, monkeypatch):
    table = tmp_path / "a.jsonl"
    table.write_text(f'{{"image": "{shards[0]}", "caption": "a cat"}}\n')
    for data in (str(table), str(table)):
        Reading().pairs(data)
    monkeypatch.setattr(lab.pair_index, "LARGE", 10**9)
    for _ in range(2):
        Reading().pairs(shards[0])
    assert len(readings) == 4 and not (tmp_path / "home").exists()


@pytest.mark.parametrize("name", ["rows.arrow", "rejects.arrow"])
def test_a_damaged_index_is_made_anew(shards, readings, tmp_path, name):
    first = told(Reading().pairs(shards[0]))
    file = index_of(tmp_path / "home") / name
    half = file.read_bytes()[:40]
    file.unlink()  # not written in place: it may be mapped
    file.write_bytes(half)
    assert told(Reading().pairs(shards[0])) == first
    (index_of(tmp_path / "home") / name).unlink()
    assert told(Reading().pairs(shards[0])) == first
    Reading().pairs(shards[0])
    assert len(readings) == 3


def test_processes_that_ask_at_once_wait_for_the_one_that_reads(shards, monkeypatch, tmp_path):
    count, begun = [], threading.Event()

    def slow(*words, **named):
        count.append(1)
        begun.wait(0.3)
        return read_pairs(*words, **named)

    monkeypatch.setattr(lab.reading, "read_pairs", slow)
    found = []
    asking = [threading.Thread(target=lambda: found.append(Reading().pairs(shards[0]))) for _ in range(3)]
    for one in asking:
        one.start()
    for one in asking:
        one.join()
    assert len(count) == 1 and len(found) == 3
    assert told(found[0]) == told(found[1]) == told(found[2])


def test_a_full_disk_costs_the_index_and_not_the_run(shards, monkeypatch, tmp_path, capsys):
    def full(pairs, folder):
        (folder / "rows.arrow").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(lab.pair_index, "write_pairs", full)
    assert len(Reading().pairs(shards[0])) == 1
    assert "No index of the data is kept" in capsys.readouterr().err
    assert not list((tmp_path / "home" / "index").iterdir())


def test_a_home_that_cannot_be_locked_costs_the_index_and_not_the_run(shards, monkeypatch, tmp_path, capsys):
    (tmp_path / "home").write_text("a file")
    assert len(Reading().pairs(shards[0])) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_what_the_reader_refuses_is_refused(shards, tmp_path):
    (tmp_path / "tars" / "0.tar").write_bytes(b"no tar at all" * 100)
    with pytest.raises(InputError, match=r"0\.tar cannot be used"):
        Reading().pairs(shards[0])


def test_pairs_in_memory_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="read from files"):
        write_pairs(PairSet.of([Pair("a", "a cat", np.zeros((2, 2, 3), np.uint8))]), tmp_path)


def test_nothing_and_much_come_back_as_they_were(tmp_path):
    empty = write_tar(tmp_path / "empty.tar", {})
    pairs = read_pairs(empty)
    write_pairs(pairs, tmp_path)
    assert told(mapped_pairs(tmp_path)) == told(pairs) and len(pairs.images) == 0


def test_a_pre_training_starts_from_the_index_and_rotates_its_shards(shards, readings, tmp_path, capsys):
    folder = tmp_path / "more"
    folder.mkdir()
    for tar in ("abcd", "efgh", "ijkl"):
        both = {f"{name}.{kind}": data for name in tar for kind, data in (("jpg", IMAGES[0]), ("txt", name.encode()))}
        write_tar(folder / f"{tar}.tar", both)
    words = ["pretrain", "--data", str(folder), "--size", "nano", "--vocab-size", "60", "--device", "cpu"]
    words += ["--held-out", "2", "--batch", "2", "--queue", "0", "--steps", "2"]
    weights = {}
    for name, more in {"one": ["--shards-per-epoch", "1"], "two": ["--shards-per-epoch", "1"], "all": []}.items():
        assert main([*words, *more, "--out", str(tmp_path / name)]) == 0, capsys.readouterr().err
        weights[name] = (tmp_path / name / "model.safetensors").read_bytes()
    assert len(readings) == 1 and weights["one"] == weights["two"] != weights["all"]
