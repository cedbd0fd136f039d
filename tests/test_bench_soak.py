"""`lab bench soak`: a small run is watched, recorded and drawn; growth is seen; bad options are refused."""

import json
import subprocess
import sys

import pytest

from blip.errors import InputError
from lab.bench import soak
from lab.bench.soak import Options, fifth, figure, resident_mib
from lab.cli import main

GROWING = [(float(at), at * 10, 100.0 + at) for at in range(101)]


def test_a_small_run_is_watched_to_its_end(tmp_path, capsys):
    out, plot = tmp_path / "soak.json", tmp_path / "soak.png"
    words = ["--images=240", "--images-per-shard=8", "--every=0.01", f"--out={out}", f"--plot={plot}"]
    status = main(["bench", "soak", *words])
    result = json.loads(out.read_text())["result"]
    assert result["captions"] == 480 and result["ledger_faults"] == []
    assert status == (0 if result["growth"] <= soak.MOST_GROWTH else 1)
    assert result["reached"] == (status == 0)
    done = [images for _, images, _ in result["series"]]
    assert done == sorted(done) and 0 < max(done) <= 240
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert "the ledger is whole" in capsys.readouterr().out


def test_growth_is_the_last_fifth_over_the_second():
    assert fifth(GROWING, 1000, 1) == 100 + 29.5
    assert fifth(GROWING, 1000, 4) == 100 + 90
    with pytest.raises(InputError, match="too short to be watched"):
        fifth(GROWING[:3], 1000, 4)


def test_memory_is_that_of_the_process():
    held = subprocess.Popen([sys.executable, "-c", "x = b'1' * 2**27; print(1, flush=True); input()"],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    held.stdout.readline()
    assert 128 < resident_mib(held.pid) < 256
    held.communicate(b"\n")
    assert resident_mib(held.pid) is None


def test_the_picture_begins_at_zero_and_holds_every_reading():
    axes = figure(GROWING).axes[0]
    assert axes.get_ylim()[0] == 0
    assert list(axes.lines[0].get_ydata()) == [mib for _, _, mib in GROWING]


@pytest.mark.parametrize("wrong", [{"images": 0}, {"every": 0.0}, {"every": 61.0}])
def test_options_that_cannot_be_are_refused(wrong):
    with pytest.raises(InputError, match="cannot be; give"):
        soak.main(Options(**wrong))
