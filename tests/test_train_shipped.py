"""`lab train-shipped`: what it leaves, what its record says, and that it goes on where it was."""

import json

import pytest

from blip.checkpoint import load
from lab.ablation.binding import preferred
from lab.bootstrap import NAMES
from lab.cli import main
from lab.commands import train_shipped
from lab.recipes import recipe
from lab.world.sets import World


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("trained")
    assert main(["train-shipped", "--recipe", "smoke", "--out", str(out)]) == 0
    return out


def test_the_record_is_of_the_models_that_it_leaves(trained):
    result = json.loads((trained / "record.json").read_text())["result"]
    assert set(result) == {"captioner", "filter", "binding", "seconds", "bytes"}
    assert result["bytes"] == {name: (trained / f"{name}.safetensors").stat().st_size for name in NAMES}
    world, count = World.of("nano"), recipe("smoke").evaluation
    wanted = {name: preferred(load(trained / f"{name}.safetensors"), world, count) for name in ("pretrained", "filter")}
    assert result["binding"] == wanted


def test_run_again_it_trains_nothing_anew(trained, capsys):
    files = [trained / f"{name}.safetensors" for name in NAMES] + [trained / "pretrain" / "metrics.jsonl"]
    before = [path.read_bytes() for path in files]
    assert main(["train-shipped", "--recipe", "smoke", "--out", str(trained)]) == 0
    assert [path.read_bytes() for path in files] == before
    assert "a true text of two objects scored above the same with its colours swapped" in capsys.readouterr().out


def test_installed_are_the_weights_and_their_record(trained, tmp_path, monkeypatch):
    for place in ("WEIGHTS", "WRITTEN"):
        monkeypatch.setattr(train_shipped, place, tmp_path)
    assert main(["train-shipped", "--recipe", "smoke", "--out", str(trained), "--install"]) == 0
    made = {f"{name}.safetensors": trained / f"{name}.safetensors" for name in NAMES}
    made["train-smoke.json"] = trained / "record.json"
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {name: path.read_bytes() for name, path in made.items()}


def test_weights_of_a_trial_are_not_installed(tmp_path, capsys):
    assert main(["train-shipped", "--out", str(tmp_path), "--set", "pretrain.batch=8", "--install"]) == 2
    assert "Shipped weights come from a committed recipe; leave out --set or --install." in capsys.readouterr().err
