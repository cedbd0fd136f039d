"""The main job with the weights that come along: what `lab demo` leaves, and that it is good."""

import json
import re
import sqlite3

import numpy as np
import pytest
from PIL import Image

from apps.reviews import Reviews
from blip.capfilt import Ledger, verify
from blip.data.readers import read_pairs
from lab.audit_draw import identity
from lab.cli import main
from lab.ledgers import reviews_file
from lab.world.noise import KINDS


def demo(out, *words):
    assert main(["demo", "--out", str(out), "--no-open", *words]) == 0
    return json.loads((out / "summary.json").read_text())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The demo as `make demo` runs it."""
    out = tmp_path_factory.mktemp("demo")
    return out, demo(out)


def test_the_summary_has_what_scripts_read(whole):
    _, summary = whole
    assert summary["pairs"] >= 2000
    for outcome in ("kept", "filtered"):
        assert set(summary[outcome]) == {"web", "synthetic"}
    assert sum(summary["kept"].values()) + sum(summary["filtered"].values()) == 2 * summary["pairs"]
    assert summary["rejects"] == 0
    assert set(summary["auc"]) == set(KINDS)
    assert all(value >= 0 for value in summary["seconds"].values())
    for name in ("command", "commit", "machine", "versions", "seed", "config"):
        assert name in summary


def test_the_filter_finds_noise(whole):
    _, summary = whole
    assert summary["auc"]["mismatched"] >= 0.95
    assert summary["auc"]["near_miss"] >= 0.80
    assert summary["kept_of_true_web"] >= 0.80
    assert summary["kept_of_synthetic"] >= 0.30
    assert summary["false_share_after"] <= summary["false_share_before"] / 2


def test_the_ledger_is_whole_and_its_sheet_is_a_picture(whole):
    out, summary = whole
    ledger = Ledger.open(out / "ledger")
    assert [finding for finding in verify(ledger) if not finding.holds] == []
    assert ledger.table("candidates").num_rows == 2 * summary["pairs"]
    sheet = np.asarray(Image.open(out / "contact-sheet.png").convert("RGB"))
    assert min(sheet.shape[:2]) > 800
    assert sheet.std() > 20


def test_again_it_says_the_same_and_captions_nothing(whole):
    out, before = whole
    again = demo(out)
    figures = ("kept", "filtered", "auc", "false_share_after", "strictly_true_synthetic")
    assert {name: again[name] for name in figures} == {name: before[name] for name in figures}
    assert again["seconds"]["capfilt"] < before["seconds"]["capfilt"]


def test_another_demos_ledger_is_set_aside(tmp_path, capsys):
    demo(tmp_path, "--pairs", "40")
    first = Ledger.open(tmp_path / "ledger")
    row = first.table("candidates")["row_id"][0].as_py()
    reader = sqlite3.connect(reviews_file(tmp_path / "ledger"))  # while one reads, SQLite keeps its other two files
    Reviews(reviews_file(tmp_path / "ledger"), identity(first)).save(row, "drop", reviewer="Ann", seen=0)
    assert reader.execute("SELECT count(*) FROM words").fetchone() == (1,)
    assert demo(tmp_path, "--pairs", "48")["pairs"] == 48
    assert f"was another demo's: it is now {tmp_path / 'ledger-1'}." in capsys.readouterr().out
    reader.close()
    assert Ledger.open(tmp_path / "ledger-1").about["data"]["pairs"] == 40
    assert [path.name for path in tmp_path.glob("ledger.*")] == []
    for name, judged in (("ledger-1", [row]), ("ledger", [])):
        folder = tmp_path / name
        assert list(Reviews(reviews_file(folder), identity(Ledger.open(folder))).words()) == judged


def test_a_damaged_ledger_is_told_and_stays_where_it_is(tmp_path, capsys):
    demo(tmp_path, "--pairs", "40")
    about = tmp_path / "ledger" / "ledger.json"
    about.write_text("{")
    assert main(["demo", "--out", str(tmp_path), "--no-open", "--pairs", "40"]) == 2
    assert re.search(r"lab: .*ledger.json cannot be read .*; restore it\.\n", capsys.readouterr().err)
    assert about.read_text() == "{" and not (tmp_path / "ledger-1").exists()


def test_from_scratch_trains_everything_and_a_second_model(tmp_path, capsys):
    summary = demo(tmp_path, "--from-scratch", "--recipe", "smoke")
    assert summary["pairs"] == 640
    assert set(summary["models"]) == {"web", "bootstrapped"}
    for name in ("pretrained", "captioner", "filter"):
        assert (tmp_path / "training" / f"{name}.safetensors").is_file()
    assert verify(Ledger.open(tmp_path / "ledger"))
    weights = (tmp_path / "training" / "pretrained.safetensors").read_bytes()
    assert main(["demo", "--out", str(tmp_path), "--no-open", "--from-scratch", "--recipe", "smoke", "--noise", "0.9"]) == 2
    assert "holds another training, which differs in the noise; choose another output folder" in capsys.readouterr().err
    assert (tmp_path / "training" / "pretrained.safetensors").read_bytes() == weights


def test_weights_to_be_shipped_do_not_go_on_from_another_recipe(tmp_path, capsys):
    words = ["train-shipped", "--recipe", "smoke", "--out", str(tmp_path), "--set", "pretrain.samples=64"]
    assert main(words) == 0
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.*")}
    assert main([*words, "pretrain.peak=1e-6"]) == 2
    assert "differs in the pretrain; choose another output folder" in capsys.readouterr().err
    assert main([*words, "captioner.peak=1e-6"]) == 2
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.*")} == before and main(words) == 0


def test_the_world_can_be_written_and_captioned_as_real_data(tmp_path):
    tars, out = tmp_path / "tars", tmp_path / "out"
    words = ["--level", "nano", "--count", "4", "--out", str(tmp_path / "sheet.png")]
    assert main(["world", *words, "--pairs", "40", "--tars", str(tars)]) == 0
    weights = {name: f"blip/weights/{name}.safetensors" for name in ("captioner", "filter")}
    options = [word for name, path in weights.items() for word in (f"--{name}", path)]
    assert main(["capfilt", "--data", str(tars), *options, "--out", str(out)]) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["pairs"] == len(read_pairs(str(tars))) == 40


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--pairs", "0"], "--pairs 0 cannot be"),
        (["--noise", "2"], "noise rate of 2.0 cannot be"),
        (["--from-scratch", "--recipe", "huge"], "There is no recipe 'huge'"),
    ],
)
def test_impossible_demos_are_one_sentence(tmp_path, capsys, words, said):
    assert main(["demo", "--out", str(tmp_path), "--no-open", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
