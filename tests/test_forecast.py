"""Forecasts: arithmetic by hand, and the engine measured with a clock that only models and readers move."""

import json
from dataclasses import replace

import numpy as np
import pytest
from data_files import encoded, picture
from fake_models import FakeCaptioner, FakeFilter

from blip.capfilt import Job
from blip.data.pairs import Pair
from blip.data.pairset import PairSet
from blip.errors import InputError
from lab import forecast_run
from lab.cli import main
from lab.forecast import Measured, said

MEASURED = Measured(
    images=64,
    tiles=(0.3, 0.5, 0.4, 0.4),
    reading=0.05,
    captioning=0.25,
    scoring=0.1,
    commit=2.0,
    loading=60.0,
    memory=3 * 2**30,
    device_memory=5 * 2**30,
    disk=1000.0,
    workers=2,
    cores=16,
)


def test_a_forecast_worked_by_hand():
    """36,000 images on 4 devices: 9,000 x 0.4 s, 18 of 72 shards x 2 s, and 60 s to begin: 3,696 s."""
    found = MEASURED.forecast(36_000, 4, 500, 2.5)
    assert found["hours"] == pytest.approx(3696 / 3600)
    # Tiles of 0.3, 0.4, 0.4, 0.5: standard deviation 0.0816, of the mean 0.0408; t of 3 degrees is 3.182.
    half = 3.1824463 * 0.0816497 / 2
    assert MEASURED.seconds == (pytest.approx(0.4), pytest.approx(half, rel=1e-5))
    assert found["hours_low"] == pytest.approx((9000 * (0.4 - half) + 96) / 3600, rel=1e-6)
    assert found["hours_high"] == pytest.approx((9000 * (0.4 + half) + 96) / 3600, rel=1e-6)
    assert found["cost"] == pytest.approx(3696 / 3600 * 4 * 2.5)
    assert found["disk_bytes"] == 36_000_000 and found["device_memory_bytes"] == 5 * 2**30
    assert found["images_per_second"] == pytest.approx(10) and found["reading_images_per_second"] == pytest.approx(160)
    assert not found["reading_is_the_limit"] and "warning" not in said(MEASURED, found)
    assert MEASURED.forecast(36_000, 4, 500, None)["cost"] is None


def test_reading_is_the_limit_where_the_cores_are_too_few():
    """64 devices want 160 images a second; 16 cores with 0.2 s an image read 80."""
    slow = replace(MEASURED, reading=0.2)
    found = slow.forecast(800_000, 64, 500, None)
    assert (found["reading_threads"], found["reading_is_the_limit"]) == (16, True)
    assert found["hours"] == pytest.approx((60 + 800_000 / 80 + 1600 / 64 * 2) / 3600)
    assert "16 threads read 80.0 images a second, the devices would take 160.0" in said(slow, found)
    # Machines without accelerators bring their own cores.
    alone = replace(slow, device_memory=None).forecast(800_000, 64, 500, None)
    assert (alone["reading_threads"], alone["reading_is_the_limit"]) == (128, False)


def test_one_tile_has_no_interval():
    one = replace(MEASURED, tiles=(0.4,))
    found = one.forecast(100, 1, 500, None)
    assert one.seconds == (0.4, None) and found["hours_low"] is None
    assert found["hours"] == pytest.approx((60 + 40 + 2) / 3600) and "one tile: no interval" in said(one, found)


class Clock:
    """Seconds that only those who work let pass."""

    now = 0.0

    def __call__(self):
        return self.now


class SlowCaptioner(FakeCaptioner):
    """Takes 2 seconds a tile, and half a second to prepare an image."""

    clock = None

    def prepare(self, image):
        self.clock.now += 0.5
        return super().prepare(image)

    def __call__(self, prepared, digests, *, seed, round):
        self.clock.now += 2.0
        return super().__call__(prepared, digests, seed=seed, round=round)


class SlowFilter(FakeFilter):
    """Takes a quarter of a second a text."""

    clock = None

    def __call__(self, prepared, texts):
        self.clock.now += 0.25 * sum(map(len, texts))
        return super().__call__(prepared, texts)


def slow_job(clock, **named):
    captioner, used = SlowCaptioner(), SlowFilter()
    captioner.clock = used.clock = clock
    return Job(captioner=captioner, filters={"itm": used}, **named)


def pairs(count, bad=()):
    data = [b"<html>" if n in bad else encoded(picture(n), "PNG") for n in range(count)]
    return PairSet.of(Pair(f"n{n}", f"caption {n}", own) for n, own in enumerate(data))


def test_the_engine_is_measured_without_its_warm_up(monkeypatch):
    clock = Clock()
    opened = []

    def slow_open(pair):
        clock.now += 0.1
        opened.append(pair.key)

    monkeypatch.setattr(forecast_run, "open_image", slow_open)
    found = forecast_run.measure(slow_job(clock, workers=3), pairs(100), loading=7.0, clock=clock)
    assert found.images == 64 and len(found.tiles) == 16  # tiles of four
    # Four images a tile: 2 s and 4 x 0.5 s for the captioner, 8 texts x 0.25 s for the filter.
    assert found.tiles == pytest.approx([1.5] * 16)
    assert (found.captioning, found.scoring) == (pytest.approx(1.0), pytest.approx(0.5))
    assert found.reading == pytest.approx(0.1) and len(set(opened)) == 4
    assert (found.commit, found.loading, found.workers) == (0.0, 7.0, 3)
    assert found.seconds == (pytest.approx(1.5), pytest.approx(0))
    assert found.disk > 50 and found.memory > 2**20
    total = found.forecast(1000, 2, 512, None)
    assert total["hours"] == pytest.approx((7 + 500 * 1.5) / 3600)


@pytest.mark.parametrize("count", [1, 3, 5, 70])
def test_small_data_are_measured_whole(count):
    clock = Clock()
    found = forecast_run.measure(slow_job(clock), pairs(count, bad={0}), clock=clock)
    assert found.images == (count if count <= 4 else min(64, count - 4))
    assert len(found.tiles) == max(1, found.images // 4)  # whole ones, or the only one


class TiledCaptioner(SlowCaptioner):
    """Takes a tenth of a second for each place of its tile, filled or not, as a real one does."""

    def prepare(self, image):
        return FakeCaptioner.prepare(self, image)

    def __call__(self, prepared, digests, *, seed, round):
        self.clock.now += 0.1 * self.tile
        return FakeCaptioner.__call__(self, prepared, digests, seed=seed, round=round)


@pytest.mark.parametrize("tile", [4, 24, 48, 64, 128])
@pytest.mark.parametrize("count", [100, 400])
def test_the_rate_does_not_depend_on_how_many_images_the_last_tile_holds(tile, count):
    clock = Clock()
    job = slow_job(clock)
    captioner = TiledCaptioner()
    captioner.clock, captioner.tile = clock, tile
    found = forecast_run.measure(replace(job, captioner=captioner, filters={"itm": FakeFilter()}), pairs(count), clock=clock)
    assert found.seconds[0] == pytest.approx(0.1) and found.captioning == pytest.approx(0.1)


def test_no_image_is_one_sentence():
    with pytest.raises(InputError, match="The data holds no image"):
        forecast_run.measure(slow_job(Clock()), PairSet.of([]))


def test_the_images_measured_are_spread_over_the_data(monkeypatch):
    runs = []
    real = forecast_run.run
    monkeypatch.setattr(forecast_run, "run", lambda job, own, *rest: runs.append(own) or real(job, own, *rest))
    data = pairs(300)
    forecast_run.measure(slow_job(Clock()), data, clock=Clock())
    warm, measured = ([int(pair.key[1:]) for pair in own.images] for own in runs)
    assert set(warm).isdisjoint(measured) and len(warm) == 4 and len(measured) == 64
    assert max(np.diff(measured)) <= 6 and measured[-1] == 299
    assert all(pair.caption == f"caption {pair.key[1:]}" for pair in runs[1])


def capfilt(folder, *words):
    weights = [f"--{name}=blip/weights/{name}.safetensors" for name in ("captioner", "filter")]
    return main(["capfilt", f"--data={folder / 'photos'}", f"--out={folder / 'out'}", *weights, "--device=cpu", *words])


def test_the_command_forecasts_and_captions_nothing(tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    for n in range(5):
        (tmp_path / "photos" / f"{n}.png").write_bytes(encoded(picture(n), "PNG"))
        (tmp_path / "photos" / f"{n}.txt").write_text(f"a ball number {n}")
    words = ("--forecast", "--images", "1000000", "--devices-count", "8", "--price-per-hour", "2.5", "--tile", "2")
    assert capfilt(tmp_path, *words) == 0
    printed = capsys.readouterr().out
    assert "1,000,000  on 8 devices" in printed and "cost" in printed and "assumed: every image" in printed
    written = json.loads((tmp_path / "out" / "forecast.json").read_text())["result"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"forecast.json"}
    told = {name: tuple(value) if isinstance(value, list) else value for name, value in written["measured"].items()}
    again = Measured(**told).forecast(1_000_000, 8, 512, 2.5)
    assert json.loads(json.dumps(again)) == written["forecast"]
    assert written["measured"]["images"] == 3 and written["measured"]["loading"] > 0
    assert capfilt(tmp_path, "--forecast") == 0
    assert json.loads((tmp_path / "out" / "forecast.json").read_text())["result"]["forecast"]["images"] == 5


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--images", "9"], "--images belongs to --forecast; add that, or leave it out."),
        (["--forecast", "--devices-count", "0"], "--devices-count 0 cannot be; give 1 or more."),
        (["--forecast", "--price-per-hour", "-1"], "--price-per-hour -1 cannot be; give 0 or more."),
    ],
)
def test_impossible_forecasts_are_one_sentence(tmp_path, capsys, words, told):
    assert capfilt(tmp_path, *words) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1
