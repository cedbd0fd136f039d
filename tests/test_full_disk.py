"""A full disk ends a run with one sentence and harms nothing; with space again the same command goes on."""

import errno
import io
import os
import subprocess
import sys

import pytest
from data_files import encoded
from fake_models import FakeCaptioner, FakeFilter
from PIL import Image

import blip.data.files
from blip.capfilt import Job, Ledger, run, verify
from blip.data.pairset import PairSet
from blip.data.writers import write_list, write_parquet, write_tars
from blip.errors import InputError
from lab.cli import main
from lab.records import write_record
from lab.weights import WEIGHTS
from lab.world.sets import World, as_pairs

PAIRS = list(as_pairs(World.of("nano").web(40), 32))


class Disk:
    """A disk with so many bytes left: it takes what fits, then says that it is full, as a real one does."""

    def __init__(self, space):
        self.space = space
        self.written = 0

    def open(self, path, mode):
        assert mode == "wb"
        disk = self

        class File(io.FileIO):
            def write(self, data):
                data = memoryview(data).cast("B")
                fits = data[: max(0, disk.space - disk.written)]
                disk.written += super().write(fits)
                if len(fits) < len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return len(data)

        return File(path, "w")


@pytest.fixture
def disk(monkeypatch):
    """Every file that appears whole or not at all is written on this disk; endless until it is given a size."""
    disk = Disk(10**12)
    monkeypatch.setattr(blip.data.files, "open", disk.open, raising=False)
    return disk


def capfilt(folder):
    job = Job(captioner=FakeCaptioner(candidates=2), filters={"itm": FakeFilter()}, images_per_shard=8)
    return run(job, PairSet.of(PAIRS), folder)


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_wherever_the_disk_fills_up_nothing_is_corrupt_and_the_run_goes_on(disk, tmp_path):
    whole = content(capfilt(tmp_path / "whole").folder)
    needed = disk.written
    full = 0
    for number, space in enumerate(range(0, needed, needed // 12)):
        folder = tmp_path / f"run-{number}"
        disk.space, disk.written = space, 0
        with pytest.raises(InputError, match=r"^the disk of .* is full: free some space and start again\.$"):
            capfilt(folder)
        full += 1
        left = content(folder)
        assert left.items() <= whole.items()  # what is there is whole, and nothing half-written lies about
        if "ledger.json" in left:
            entered = next(f for f in verify(Ledger.open(folder)) if f.invariant.startswith("every shard is as"))
            assert entered.holds
        disk.space = 10**12
        assert content(capfilt(folder).folder) == whole
    assert full >= 12


def test_one_sentence_from_the_command_and_the_same_bytes_afterwards(disk, tmp_path, capsys):
    (tmp_path / "tars").mkdir()
    write_tars(((pair, {}) for pair in PAIRS), tmp_path / "tars")

    def command(out):
        weights = [f"--{name}={WEIGHTS / name}.safetensors" for name in ("captioner", "filter")]
        words = [f"--data={tmp_path / 'tars'}", f"--out={tmp_path / out}", "--images-per-shard=8", "--device=cpu"]
        return main(["capfilt", *words, *weights])

    disk.written = 0
    assert command("whole") == 0
    whole, needed = content(tmp_path / "whole"), disk.written
    capsys.readouterr()
    # Within the ledger, and within the summary, which comes last.
    for out, space in (("filled", needed // 2), ("nearly", needed - 200)):
        disk.space, disk.written = space, 0
        assert command(out) == 2
        said = capsys.readouterr().err
        (sentence,) = [line for line in said.splitlines() if line.startswith("lab: ")]
        assert "is full: free some space and start again." in sentence
        assert "Traceback" not in said
        assert not list((tmp_path / out).rglob(".*"))
        assert not (tmp_path / out / "summary.json").exists()
        disk.space = 10**12
        assert command(out) == 0
        found = content(tmp_path / out)
        assert found.pop("summary.json")  # it holds the time
        assert found == {name: data for name, data in whole.items() if name != "summary.json"}


@pytest.mark.parametrize("write", [
    lambda folder: write_tars(((pair, {}) for pair in PAIRS), folder),
    lambda folder: write_parquet(((pair, {}) for pair in PAIRS), folder / "pairs.parquet"),
    lambda folder: write_list(((pair, {}) for pair in PAIRS), folder / "pairs.json"),
    lambda folder: write_record(folder / "record.json", {"many": ["words"] * 1000}),
])  # fmt: skip
def test_writers_leave_no_half_file(disk, tmp_path, write):
    write(tmp_path / "whole")
    needed, whole = disk.written, content(tmp_path / "whole")
    disk.space, disk.written = needed - 100, 0
    with pytest.raises(InputError, match="is full: free some space"):
        write(tmp_path / "filled")
    assert content(tmp_path / "filled").items() < whole.items()


def test_a_full_disk_where_no_writer_of_ours_is_at_work_is_a_sentence_too(monkeypatch, tmp_path, capsys):
    def full(*words, **named):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("lab.commands.world.sheet", full)
    assert main(["world", "--count=1", f"--out={tmp_path / 'sheet.png'}"]) == 2
    assert capsys.readouterr().err == "lab: The disk is full; free some space and start again.\n"


def test_a_sheet_that_does_not_fit_leaves_the_one_that_was_there(disk, tmp_path, capsys):
    sheet = tmp_path / "sheet.png"
    words = ["world", "--count=2", f"--out={sheet}"]
    assert main(words) == 0
    before, disk.space, disk.written = content(tmp_path), 200, 0
    assert main([*words, "--seed=1"]) == 2
    assert capsys.readouterr().err == f"lab: the disk of {tmp_path} is full: free some space and start again.\n"
    assert content(tmp_path) == before
    # What no stand-in sees: a real file of a limited size.
    code = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); from lab.cli import entry; entry()"
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("lab: ") and content(tmp_path) == before


def small_disk(folder):
    """A real disk of 200 KB, where this process may make one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)]
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def test_the_stand_in_behaves_as_a_real_full_disk(disk, tmp_path):
    """Both refuse with the same error after taking what fits; the real one is asked where it can be made."""
    data = encoded(Image.effect_noise((700, 700), 90), "PNG")
    disk.space = 200 * 1024
    places = [(tmp_path, disk.open)] + ([(tmp_path / "small", open)] if small_disk(tmp_path / "small") else [])
    try:
        for folder, opened in places:
            with pytest.raises(OSError, match="No space left") as caught, opened(folder / "file", "wb") as file:
                file.write(data)
            assert caught.value.errno == errno.ENOSPC
            assert (folder / "file").stat().st_size == 200 * 1024
    finally:
        if len(places) > 1:
            subprocess.run(["umount", str(tmp_path / "small")], check=True)
