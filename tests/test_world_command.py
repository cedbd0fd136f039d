"""`lab world` and `lab bench world`: the sheet, the tars, the record, and what they say of bad input."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from world_scenes import is_one_sentence

from blip.data.readers import read_pairs
from blip.errors import InputError
from lab import figures
from lab.bench import running
from lab.bench import world as bench
from lab.bench.rounds import spread
from lab.commands import world as command
from lab.world.checker import check
from lab.world.figures import (
    TRUTHS,
    asked,
    coverage,
    examples,
    flipped,
    sheet,
    strips,
    text_worth,
    tile,
    worth_by_rate,
)
from lab.world.levels import LEVELS
from lab.world.noise import CLEAN, KINDS
from lab.world.sets import World

NANO = World.of("nano")


def test_tars_are_read_again_with_equal_captions_pictures_and_truth(tmp_path, capsys):
    folder = tmp_path / "tars"
    options = command.Options(
        level="small", out=tmp_path / "sheet.png", count=2, style="sketch", noise=0.7, seed=3, pairs=25, tars=folder
    )
    assert command.main(options) == 0
    pairs = list(read_pairs(str(folder / "*.tar")))
    items = World.of("small", 3).web(25, 0.7)
    assert [pair.caption for pair in pairs] == [item.caption for item in items]
    assert [pair.key for pair in pairs] == [item.key for item in items]
    assert [(pair.truth, pair.noise_kind) for pair in pairs] == [(item.truth, item.noise_kind) for item in items]
    for pair, item in list(zip(pairs, items, strict=True))[:5]:
        seen = np.asarray(Image.open(io.BytesIO(pair.image.read())))
        assert np.array_equal(seen, command.replace(item, style="sketch").image(64))
    assert "25 of 64 pixels in 1 tars" in capsys.readouterr().out


@pytest.mark.parametrize("name", LEVELS)
def test_a_sheet_shows_pictures_at_the_size_for_people_pixel_for_pixel(name, tmp_path):
    command.main(command.Options(level=name, out=tmp_path / "deep" / "sheet.png", count=3))
    page = np.asarray(Image.open(tmp_path / "deep" / "sheet.png").convert("RGB"))
    shown = World.of(name).web(1)[0].image(256)
    core = shown[64:192, 64:192]
    found = np.lib.stride_tricks.sliding_window_view(page, (8, 8, 3))[:, :, 0]
    same = (found == core[60:68, 60:68]).all((2, 3, 4))
    assert same.any(), "the middle of the first picture is on the page as it was drawn"
    assert page.shape[1] > 3 * 256


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"level": "huge"}, "huge"),
        ({"style": "oil"}, "oil"),
        ({"count": 0}, "--count 0"),
        ({"count": 401}, "--count 401"),
        ({"noise": 2.0}, "2.0"),
        ({"pairs": 10}, "--tars"),
        ({"tars": "x"}, "--pairs"),
        ({"pairs": 0, "tars": "x"}, "--pairs 0"),
        ({"out": "sheet.txt"}, "sheet.txt"),
    ],
)
def test_bad_options_are_one_sentence_and_leave_nothing(given, word, tmp_path):
    paths = {name: tmp_path / given[name] for name in ("out", "tars") if name in given}
    options = command.Options(**{"out": tmp_path / "sheet.png"} | given | paths)
    with pytest.raises(InputError) as caught:
        command.main(options)
    assert word in str(caught.value) and is_one_sentence(str(caught.value))
    assert list(tmp_path.iterdir()) == []


def test_the_bench_leaves_a_record_of_every_level(tmp_path, capsys):
    out = tmp_path / "world.json"
    status = bench.main(bench.Options(out=out, scenes=20, rounds=3))
    found = json.loads(out.read_text())
    assert set(found["result"]["levels"]) == set(LEVELS)
    for measured in found["result"]["levels"].values():
        rate = measured["rate"]
        assert 0 < rate["min"] <= rate["median"] <= rate["max"]
    assert status == (0 if found["result"]["reached"] else 1)
    assert found["config"] == {"scenes": 20, "rounds": 3} and found["machine"]["cores"] >= 1
    assert capsys.readouterr().out.count("\n") >= len(LEVELS) + 3


def test_a_spread_is_median_least_and_most():
    assert spread([4, 1, 3]) == {"median": 3, "min": 1, "max": 4}
    assert spread([4, 1, 3, 8]) == {"median": 3.5, "min": 1, "max": 8}


@pytest.mark.parametrize("given", [{"scenes": 0}, {"rounds": 0}])
def test_a_bench_of_nothing_is_one_sentence(given, tmp_path):
    with pytest.raises(InputError) as caught:
        bench.main(bench.Options(out=tmp_path / "x.json", **given))
    assert is_one_sentence(str(caught.value)) and not list(tmp_path.iterdir())


# The figures behind the sheet and the first notebook.


def test_examples_are_the_first_of_each_kind():
    items = NANO.web(400)
    found = examples(items, each=3)
    assert list(found) == [CLEAN, *KINDS]
    for kind, few in found.items():
        assert few == [item for item in items if item.noise_kind == kind][:3]


def test_a_flip_makes_left_and_right_false():
    told = [item for item in World.of("tiny").human(120) if {"left", "right"} & set(item.caption.split())]
    assert len(told) > 10
    for item in told:
        assert check(item.caption, item.scene).truth == "true"
        assert flipped(item).truth == "false"
        assert np.array_equal(flipped(item, 32).image[:, ::-1], item.image(32))


def test_a_tile_says_what_is_known_of_a_text():
    item = NANO.web(1)[0]
    assert (tile(item).text, tile(item).truth) == (item.caption, item.truth)
    assert tile(NANO.human(1)[0]).note == "human"
    assert asked(item, "a purple moon").note == "wrong: several"
    assert asked(item, "hello").truth == "uninformative"


def words(figure) -> list[str]:
    axes = figure.axes
    ticks = [label.get_text() for one in axes for label in (*one.get_xticklabels(), *one.get_yticklabels())]
    return [text.get_text() for one in axes for text in one.texts] + ticks


def test_a_sheet_says_every_caption_with_its_truth():
    items = NANO.web(9)
    said = words(sheet([tile(item) for item in items], "nine", columns=4))
    for item in items:
        assert item.caption in [text.replace("\n", " ") for text in said]
        assert TRUTHS[item.truth][0] in said
    assert "nine" in said
    assert "a row" in words(strips({"a_row": [tile(items[0])]}, "one"))


def test_the_bars_are_the_shares_of_the_texts():
    items = NANO.web(500, 0.5)
    axes = text_worth(items, "worth").axes[0]
    long = sum(bar.get_width() for bar in axes.patches)
    assert long == pytest.approx(100)
    shares = [f"{100 * sum(item.noise_kind == kind for item in items) / 500:.1f}" for kind in (CLEAN, *KINDS)]
    assert [text.get_text() for text in axes.texts] == shares
    bars = worth_by_rate(NANO, [0, 1], 200, "rates").axes[0].patches
    heights = [bar.get_height() for bar in bars]
    assert heights[0] == 100 and sum(heights[::2]) == pytest.approx(100) and sum(heights[1::2]) == pytest.approx(100)


def test_the_grid_counts_what_each_set_shows():
    human = NANO.human(40)
    axes = coverage({"web": NANO.web(10), "human": human}, NANO.level, "shown").axes[1]
    numbers = [int(text.get_text().replace(",", "")) for text in axes.texts]
    assert sum(numbers) == sum(len(item.scene.things) for item in human)
    assert sum(patch.get_hatch() is not None for patch in axes.patches) == 48 - len(numbers)


def test_small_pngs_keep_size_and_colours():
    figure = sheet([tile(item) for item in NANO.web(4)], "four")
    small = Image.open(io.BytesIO(figures.png(figure, dpi=64)))
    width, height = figure.get_size_inches()
    assert small.size == (int(width * 64), int(height * 64)) and len(small.getcolors()) <= 256
    exact = io.BytesIO()
    figure.savefig(exact, dpi=64)
    apart = np.asarray(Image.open(exact).convert("RGB")).astype(int) - np.asarray(small.convert("RGB"))
    assert abs(apart).mean() < 1


def test_a_trial_never_takes_the_place_of_the_record_that_comes_along(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(running, "WRITTEN", tmp_path)
    before = bench.Options.out.read_bytes()
    bench.main(bench.Options(scenes=2, rounds=1))
    trial = tmp_path / "trials" / bench.Options.out.name
    assert f"record: {trial}" in capsys.readouterr().out and trial.is_file()
    assert bench.Options.out.read_bytes() == before
    known = json.loads(before)["config"]
    place = lambda **changed: running.record_place(bench.Options(**changed), **{name: changed.get(name, known[name]) for name in ("scenes", "rounds")})
    assert place() == bench.Options.out and place(scenes=known["scenes"] + 1) == bench.Options.out
    assert place(rounds=known["rounds"] - 1) == trial
    assert place(rounds=1, out=tmp_path / "mine.json") == tmp_path / "mine.json"
    broken = tmp_path / "broken.json"
    monkeypatch.setattr(bench.Options, "out", broken)
    for text in ("", "[]", "{}", '{"config": null}', '{"config": {"rounds": null}}'):
        broken.write_text(text)
        assert place(rounds=1, out=broken) == broken
