"""`lab train-shipped`: the models that it leaves are those of a round of CapFilt, and it goes on where it was."""

import json
import shutil

import pytest

from blip.capfilt import Ledger
from blip.capfilt.verify import verify
from lab.bootstrap import NAMES, bootstrapped
from lab.cli import main
from lab.commands import train_shipped
from lab.recipes import recipe
from lab.weights import WEIGHTS, shipped
from lab.world.sets import World


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("trained")
    assert main(["train-shipped", "--recipe", "smoke", "--out", str(out)]) == 0
    return out


def test_the_second_training_is_on_what_the_first_models_kept(tmp_path, monkeypatch):
    models, given = {name: shipped(name) for name in NAMES}, []
    for name in NAMES:
        shutil.copy(WEIGHTS / f"{name}.safetensors", tmp_path)
    monkeypatch.setattr(train_shipped, "train_models", lambda *_, pairs=None, **__: given.append(pairs) or models)
    assert main(["train-shipped", "--recipe", "smoke", "--out", str(tmp_path)]) == 0
    ledger, chosen = Ledger.open(tmp_path / "ledger"), recipe("smoke")
    assert [finding for finding in verify(ledger) if not finding.holds] == []
    assert ledger.about["captioner"] == models["captioner"].fingerprint
    assert ledger.about["filters"]["itm"] == models["filter"].fingerprint
    world = World.of(chosen.level)
    kept = bootstrapped(ledger, world.web(chosen.web, chosen.noise))
    web, after = given
    assert web is None and chosen.web < len(kept) < 2 * chosen.web
    assert [(one.key, one.caption) for one in after] == [
        (one.key, one.caption) for one in [*kept, *world.human(chosen.human, captions_each=2)]
    ]


def test_the_record_has_both_trainings_side_by_side(trained):
    result = json.loads((trained / "record.json").read_text())["result"]
    shared = {"captioner", "filter", "binding", "seconds"}
    assert set(result) == shared | {"first", "capfilt", "bytes"} and set(result["first"]) == shared
    assert result["first"]["filter"]["auc"] != result["filter"]["auc"]
    assert result["bytes"] == {name: (trained / f"{name}.safetensors").stat().st_size for name in NAMES}
    told = result["capfilt"]
    assert sum(told["kept"].values()) + sum(told["filtered"].values()) + told["rejects"] == 2 * recipe("smoke").web


def test_run_again_it_trains_nothing_anew(trained, capsys):
    files = [trained / place / f"{name}.safetensors" for place in ("", "first") for name in NAMES]
    before = [path.read_bytes() for path in files]
    lines = [(path / "metrics.jsonl").read_text() for path in sorted(trained.glob("**/pretrain"))]
    assert main(["train-shipped", "--recipe", "smoke", "--out", str(trained)]) == 0
    assert [path.read_bytes() for path in files] == before
    assert len(lines) == 2 and [(path / "metrics.jsonl").read_text() for path in sorted(trained.glob("**/pretrain"))] == lines
    assert "after a round of CapFilt (before it)" in capsys.readouterr().out


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
