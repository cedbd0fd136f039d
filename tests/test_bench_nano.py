"""`lab bench nano`: seeds are trained and examined on the way, and the record stands beside the one before."""

import json

import pytest

from blip.errors import InputError
from lab.bench.nano import Exam, Options, main
from lab.cli import main as lab
from lab.recipes import SMOKE

SMALL = ["web=240", "objectives.queue=16", "pretrain.samples=1600", "noise=0.5"]


def test_two_seeds_are_trained_at_once_and_recorded_beside_the_record_before(tmp_path, capsys):
    out = tmp_path / "nano.json"
    words = ["--seeds=2", "--jobs=2", "--every=800", "--pairs=48", "--device=cpu", f"--out={out}", "--recipe", *SMALL]
    assert lab(["bench", "nano", *words]) == 0
    first = json.loads(out.read_text())["result"]
    assert [[samples for samples, _ in seed["auc"]] for seed in first["seeds"]] == [[800, 1600]] * 2
    assert all(0 <= auc <= 1 for seed in first["seeds"] for _, auc in seed["auc"])
    assert first["samples_to_auc"] is None and first["at_once"] == 2 and first["before"] is None
    assert first["samples_per_second"]["min"] > 0
    main(Options(every=10_000, pairs=8, device="cpu", out=out, recipe=(*SMALL[:2], "pretrain.samples=16")))
    second = json.loads(out.read_text())["result"]
    assert second["before"]["samples_per_second"] == first["samples_per_second"]
    assert "was not reached" in capsys.readouterr().out


def test_the_first_evaluation_that_is_good_enough_counts():
    exam = Exam(None, None, [], 32, SMOKE, 100)
    exam.found = [(100, 0.7), (200, 0.96), (300, 0.9)]
    assert (exam.first(0.95), exam.first(0.97)) == (200, None)


@pytest.mark.parametrize("wrong", [{"seeds": 0}, {"every": 0}, {"recipe": ("no.such=1",)}, {"device": "tpu"}])
def test_options_that_cannot_be_are_refused(wrong):
    with pytest.raises(InputError):
        main(Options(**{"device": "cpu"} | wrong))
