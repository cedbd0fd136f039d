"""Pre-training killed at random, or asked to end, and started again comes to what an unbroken run comes to."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch
from signalled_steps import signalled_steps

from blip.errors import InputError
from lab.bench import train_kill
from lab.bench.train_kill import STEPPING, WRITING, Options, differing
from lab.cli import main
from lab.commands import world


def test_two_kills_change_no_bit(tmp_path):
    options = Options(out=tmp_path / "kill.json", kills=2, steps=12, pairs=60, batch=8)
    assert train_kill.main(options) == 0
    result = json.loads(options.out.read_text())["result"]
    assert result["reached"] and result["differing"] == []
    assert len(result["kills"]) == sum(result["phases"].values()) == 2
    assert set(result["phases"]) <= {STEPPING, WRITING}
    first, second = (kill["saved"] for kill in result["kills"])
    assert 0 < first < second < 12, "each start went on from where the one before was killed"


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"steps": 80}, "--steps 80 cannot be; give more than 4 a kill .80."), ({"kills": 0}, "--kills 0 cannot be")],
)
def test_kills_that_cannot_be_met_are_refused(changes, said):
    with pytest.raises(InputError, match=said):
        train_kill.main(Options(**changes))


def test_a_difference_of_one_bit_is_found(tmp_path):
    for name, value in (("one", 1.0), ("other", 1.0 + 2**-23)):
        out = tmp_path / name
        (out / "checkpoints").mkdir(parents=True)
        (out / "model.safetensors").write_bytes(b"same")
        (out / "metrics.jsonl").write_text(json.dumps({"lm": value, "samples_per_second": value * 5}) + "\n")
        state = {"step": 3, "optimizer": {"state": {0: {"exp_avg": torch.tensor([0.0, value])}}, "groups": [{"lr": 1.0}]}}
        torch.save(state, out / "checkpoints" / "00000003-0123456789abcdef.pt")
    assert differing(tmp_path / "one", tmp_path / "one") == []
    found = differing(tmp_path / "one", tmp_path / "other")
    assert found == ["checkpoint optimizer.state.0.exp_avg", "metrics.jsonl"]


def test_torchrun_is_stopped_by_a_signal_and_one_process_goes_on(tmp_path, capsys):
    """`torchrun lab pretrain` on two processes, SIGTERM to it and to both, the same command in this process."""
    world.main(world.Options(level="nano", pairs=60, tars=tmp_path / "tars", out=tmp_path / "sheet.png", count=1))

    def words(out, *more):
        small = ["--size=nano", "--steps=300", "--batch=8", "--queue=20", "--vocab-size=300", "--held-out=8"]
        return ["pretrain", f"--data={tmp_path / 'tars'}", f"--out={tmp_path / out}", *small, "--device=cpu", *more]

    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--module", "lab"]
    with (tmp_path / "said").open("w+") as said:
        child = subprocess.Popen([*torchrun, *words("out")], stdout=said, stderr=said, env=os.environ | {"OMP_NUM_THREADS": "1"})
        end = time.monotonic() + 240
        while not (tmp_path / "out" / "metrics.jsonl").exists():
            assert child.poll() is None and time.monotonic() < end, (tmp_path / "said").read_text()
            time.sleep(0.02)
        workers = subprocess.run(["pgrep", "-P", str(child.pid)], capture_output=True, text=True, check=True).stdout.split()
        assert len(workers) == 2
        for process in [*map(int, workers), child.pid]:  # as PBS does; torchrun then passes on its own
            os.kill(process, signal.SIGTERM)
        assert child.wait(timeout=120) != 0
    text = (tmp_path / "said").read_text()
    sentences = re.findall(r"lab: Stopped by SIGTERM after step (\d+), which is saved; the same command continues", text)
    assert len(sentences) == 1, text
    step = int(sentences[0])
    names = [path.name[:8] for path in (tmp_path / "out" / "checkpoints").iterdir()]
    assert step >= 10 and max(names) == f"{step:08d}"
    capsys.readouterr()
    assert step < 300 and main(words("out")) == 0
    rows = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 300 and rows[-1]["lm"] < rows[0]["lm"]
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_a_signal_gives_a_command_the_conventional_status(tmp_path, capsys, monkeypatch):
    """143 for SIGTERM as a shell counts, 130 for SIGINT; one sentence each."""
    world.main(world.Options(level="nano", pairs=60, tars=tmp_path / "tars", out=tmp_path / "sheet.png", count=1))
    small = ["--size=nano", "--steps=30", "--batch=8", "--queue=20", "--vocab-size=300", "--held-out=8", "--device=cpu"]
    numbers = signalled_steps(monkeypatch)
    for number, status in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        numbers.append(number)
        assert main(["pretrain", f"--data={tmp_path / 'tars'}", f"--out={tmp_path / 'out'}", *small]) == status
        said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("lab: ")]
        after = 1 if status == 143 else 2
        sentence = f"Stopped by {number.name} after step {after}, which is saved; the same command continues from there."
        assert said == [f"lab: {sentence}"]
