"""Pairs that are kept out of pre-training: the last images that open, with all their captions, and no more is read for it."""

import json

import pytest
from caption_files import scenes, write_csv
from data_files import encoded, picture

import lab.held_out
from blip.data.pairs import Pair
from blip.data.pairset import PairSet
from blip.errors import InputError
from lab.cli import main
from lab.held_out import split_held_out


def pairs(images=20, broken=()):
    """Two captions an image, the second ones in a second pass."""
    pixels = {n: b"no picture" if n in broken else encoded(picture(n)) for n in range(images)}
    return PairSet.of(Pair(str(n), f"caption {turn} of {n}", pixels[n]) for turn in range(2) for n in range(images))


def test_the_last_images_that_open_are_held_out_with_all_their_captions(monkeypatch):
    opened, opens = [], lab.held_out.open_image
    monkeypatch.setattr(lab.held_out, "open_image", lambda pair: opened.append(pair.key) or opens(pair))
    training, held = split_held_out(pairs(broken=(18, 3)), 3, "my.csv")
    assert [(pair.key, pair.caption) for pair in held] == [(str(n), f"caption 1 of {n}") for n in (19, 17, 16)]
    assert opened == ["19", "18", "17", "16"]
    assert {pair.key for pair in training} == {str(n) for n in range(20)} - {"19", "17", "16"}
    assert len(training) == 2 * 17


TOO_FEW = {
    "my.csv has 3 images that open, too few to hold 4 out and to train on others": (pairs(3), 4),
    "my.csv has 2 images that open, too few to hold 3 out and to train on others": (pairs(5, (0, 2, 4)), 3),
    "my.csv leaves 0 pairs to train on beside the 4 images held out, and 2 are needed; give more data or a smaller": (pairs(4), 4),
    "my.csv leaves 1 pairs to train on, and 2 are needed; give more data.": (PairSet.of([Pair("0", "a ball", b"")]), 0),
    r"No image of my.csv can be opened, the first is 0 \(not an image.*\); mend them.": (pairs(3, (0, 1, 2)), 2),
}


@pytest.mark.parametrize("said", TOO_FEW)
def test_too_few_are_refused_by_what_there_are_too_few_of(said):
    given, count = TOO_FEW[said]
    with pytest.raises(InputError, match=said):
        split_held_out(given, count, "my.csv")


def test_none_is_held_out_and_none_opened(monkeypatch):
    monkeypatch.setattr(lab.held_out, "open_image", None)  # a call would fail
    training, held = split_held_out(pairs(), 0, "my.csv")
    assert len(training) == 40 and held == []


@pytest.fixture
def table(tmp_path):
    return write_csv(tmp_path, scenes(8))


def pretrain(data, out, *words):
    small = ("--size", "nano", "--steps", 2, "--batch", 4, "--queue", 0, "--vocab-size", 60, "--device", "cpu")
    return main([str(word) for word in ("pretrain", "--data", data, "--out", out, *small, *words)])


def test_a_training_may_measure_nothing(table, tmp_path, capsys):
    assert pretrain(table, tmp_path / "out", "--held-out", 0) == 0
    said = json.loads((tmp_path / "out/summary.json").read_text())
    assert said["held_out"] is None and said["last"]["step"] == 2
    assert "held-out" not in (out := capsys.readouterr().out) and "model: " in out


@pytest.mark.parametrize("count", [1, -2])
def test_what_cannot_be_held_out_is_told_before_data_are_read(count, tmp_path, capsys):
    assert pretrain(tmp_path / "lost.csv", tmp_path / "out", "--held-out", count) == 2
    assert f"--held-out {count} cannot be; give 0, or 2 or more." in capsys.readouterr().err


def test_data_without_a_usable_pair_give_the_first_reason(tmp_path, capsys):
    (tmp_path / "my.csv").write_text("image,caption\ngone.jpg,a ball\n")
    assert pretrain(tmp_path / "my.csv", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert "my.csv has no pair that can be used: 1 rejects, the first: " in said and "gone.jpg is missing" in said
