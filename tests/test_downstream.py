"""`lab downstream`: every task runs in both arms, is read back the second time, and refuses what cannot be."""

import json

import pytest

from lab import task_pages
from lab.cli import main
from lab.commands import downstream
from lab.commands.downstream import ARMS, TASKS


def test_a_task_is_compared_with_training_from_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BLIP_LAB_HOME", str(tmp_path / "home"))
    out = tmp_path / "record.json"
    words = ["downstream", "--task", "captioning", "--steps", "2", "--seeds", "2", "--out", str(out)]
    assert main(words) == 0
    found = json.loads(out.read_text())["result"]["tasks"]["captioning"]
    assert set(found["values"]) == set(ARMS) and all(len(values) == 2 for values in found["values"].values())
    differences = [a - b for a, b in zip(*(found["values"][arm] for arm in ARMS), strict=True)]
    assert found["difference"]["interval"]["mean"] == pytest.approx(sum(differences) / 2)
    assert sum(found["values"]["pre-trained"]) > sum(found["values"]["from nothing"])
    runs = sorted((tmp_path / "home" / "runs").iterdir())
    stamps = [(run / "result.json").stat().st_mtime_ns for run in runs]
    assert len(runs) == 4 and main(words) == 0
    assert stamps == [(run / "result.json").stat().st_mtime_ns for run in runs]
    assert "order of frames" in capsys.readouterr().out


def test_equal_differences_have_no_interval_in_the_record_and_on_the_page():
    found = {"values": {arm: [0.5 + 0.25 * (arm == ARMS[0])] * 3 for arm in ARMS}, "metric": "accuracy", "chance": 0.1, "ceiling": 1.0}
    found["difference"] = downstream._difference([0.25] * 3)
    assert json.dumps(found, allow_nan=False) and found["difference"]["interval"] == {"mean": 0.25, "low": None, "high": None}
    assert "+0.250 (no interval)" in task_pages._row("vqa", found)


def test_the_order_of_frames_cannot_be_seen(tmp_path, monkeypatch):
    monkeypatch.setenv("BLIP_LAB_HOME", str(tmp_path / "home"))
    out = tmp_path / "record.json"
    assert main(["downstream", "--task", "captioning", "--steps", "1", "--seeds", "1", "--out", str(out)]) == 0
    result = json.loads(out.read_text())["result"]
    assert result["order of frames"]["accuracy"] == 0.5
    assert result["tasks"]["captioning"]["difference"] is None


def test_what_cannot_be_is_one_sentence(capsys):
    assert main(["downstream", "--task", "poetry"]) == 2
    assert f"There is no task 'poetry'; choose one of {', '.join(TASKS)}." in capsys.readouterr().err
    assert main(["downstream", "--seeds", "0"]) == 2
    assert "of 1 or more" in capsys.readouterr().err
