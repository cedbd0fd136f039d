"""`lab bench growth`: fits find what exact data were made of, points measure what they say, a small run is recorded."""

import json
import os

import pytest
import torch

from blip.config import named
from blip.data.readers import read_pairs
from blip.errors import InputError
from lab import planning_pages
from lab.bench import growth, growth_capfilt, growth_steps
from lab.bench.growth import Options, loads, step_points
from lab.bench.growth_capfilt import Load
from lab.bench.growth_figure import figure
from lab.bench.growth_fit import LINEAR, SQUARE, fitted, told
from lab.bench.growth_steps import Point
from lab.bench.killing import world_tars
from lab.cli import main
from lab.planning_bytes import checkpoint_bytes, pretraining_bytes

NANO = growth_steps.Setting(size="nano", device="cpu", precision="float32", rounds=1, seed=0)
POINT = Point(batch=2, image_size=16, text=4, queue=6)


@pytest.fixture
def threads():
    """CapFilt sets the threads of its process, here that of the tests."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("xs", "powers", "terms"),
    [
        ((2, 4, 8, 16), LINEAR, (0.3, 0.5)),
        ((0, 14_400, 28_800, 57_600), LINEAR, (2.0, 1e-6)),
        ((37, 65, 101, 145, 197), SQUARE, (0.1, 2e-3, 3e-6)),
        ((8, 16, 32, 64), SQUARE, (0.0, 0.25, 0.0)),
    ],
)
def test_a_fit_finds_what_exact_data_were_made_of(xs, powers, terms):
    values = [sum(term * x**power for term, power in zip(terms, powers, strict=True)) for x in xs]
    found = fitted(xs, values, powers)
    assert found.terms == pytest.approx(terms, rel=1e-6, abs=1e-9)
    assert found.residual < 1e-6
    assert found.at(xs[-1]) == pytest.approx(values[-1])


def test_differences_count_relatively_and_the_farthest_is_told():
    # The least of (a - 1)^2 + (a/3 - 1)^2 lies at a = 12/10; 3 is then 60% off.
    found = fitted((1, 1), (1, 3), (0,))
    assert found.terms == pytest.approx((1.2,)) and found.residual == pytest.approx(0.6)


def test_no_term_is_below_zero():
    found = fitted((1, 2, 3), (3.0, 2.0, 1.0), LINEAR)
    assert found.terms[1] == 0 and found.terms[0] > 0 and found.residual > 0.3


def test_a_fit_is_said_as_a_formula():
    fit = {"of": "batch", "powers": [0, 1, 2], "terms": [0.25, 0.0, 0.5], "residual": 0.0312}
    assert told(fit) == "0.25 + 0.5 x batch^2, at most 3.1% off"


def test_a_sweep_varies_one_thing_from_the_middle():
    for name, points in step_points(Options(size="small", device="cpu")).items():
        plain = [vars(point) for point in points]
        varied = {key for key in plain[0] if len({point[key] for point in plain}) > 1}
        assert varied == {{"image size": "image_size", "text length": "text"}.get(name, name)}
    middle = Load(images=1024, candidates=1, workers=1, tile=16)
    assert all(middle in points for points in loads(Options()).values())


def test_steps_share_a_task_and_keep_their_own_queues():
    task = growth_steps._task(16, NANO)
    small, large = (growth_steps._step(task, Point(batch=2, image_size=16, text=4, queue=keys), NANO) for keys in (4, 6))
    for step in (small, large, large):
        step.step("float32")
    assert [int(step.queues[0].position) for step in (small, large)] == [2, 4]
    assert small.ours.task is large.ours.task and len(large.queues[1].rows) == 6


def test_bytes_are_counted_from_tensors_and_foretold_without_them():
    step = growth_steps._step(growth_steps._task(16, NANO), POINT, NANO)
    step.step("float32")
    found, expected = step.held_bytes(), pretraining_bytes("nano", 16, 6)
    trained = sum(1 for parameter in step.ours.task.parameters() if parameter.requires_grad)
    assert found.pop("optimizer") == expected["optimizer"] + 4 * trained  # and a count of steps for each tensor
    assert found == {name: count for name, count in expected.items() if name != "optimizer"}
    assert expected["queues"] == 2 * (6 * (4 * named("nano").embed_dim + 8) + 8)
    assert checkpoint_bytes(expected) == sum(expected.values()) - expected["gradients"]


def test_a_larger_step_has_more_of_everything():
    points = [POINT, Point(batch=4, image_size=32, text=8, queue=12)]
    small, large = growth_steps.measured(points, NANO, "test")
    for cost in ("activation_mib", "gflop", "image_tokens"):
        assert large[cost] > small[cost]
    assert large["bytes"]["queues"] > small["bytes"]["queues"]
    expected = growth_steps.by_operations([small, large], small)
    assert expected[0] == pytest.approx(small["seconds"]["median"])
    assert expected[1] == pytest.approx(small["seconds"]["median"] * large["gflop"] / small["gflop"])


def test_two_processes_do_the_work_and_their_memory_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(growth_capfilt, "IMAGES_PER_SHARD", 4)
    setting = growth_capfilt.Setting(tars=world_tars(tmp_path, 8, 0), device="cpu", threads=1, rounds=1, seed=0)
    found = growth_capfilt._ran(Load(images=8, candidates=1, workers=2, tile=4), setting)
    assert len(found["seconds"]) == 1 and found["seconds"][0] > 0
    assert found["peak_mib"] > 2 * 100  # each of the two has torch
    assert found["processor_seconds"][0] > found["writer_seconds"][0] >= 0
    assert len(read_pairs(str(setting.tars)).images) == 8


def test_seconds_of_processors_are_those_of_the_process():
    before = growth_capfilt._processor_seconds(os.getpid())
    while growth_capfilt._processor_seconds(os.getpid()) - before < 0.05:
        sum(range(100_000))
    assert sum(os.times()[:2]) == pytest.approx(growth_capfilt._processor_seconds(os.getpid()), abs=0.05)


def test_a_small_run_is_recorded_drawn_and_said(tmp_path, monkeypatch, capsys, threads):
    def here(ask, *words):
        return {"seconds": 0.0, "found": ask(*words)}

    monkeypatch.setattr(growth_capfilt, "alone", here)
    out, plot = tmp_path / "growth.json", tmp_path / "growth.png"
    words = ["--size=nano", "--batches", "1", "2", "--image-sizes", "16", "24", "32", "--texts", "4", "6", "8"]
    words += ["--queues", "0", "8", "--batch=2", "--image-size=16", "--text=4", "--queue=4", "--device=cpu", "--rounds=1"]
    words += ["--images", "8", "16", "--candidates", "1", "2", "--workers", "1", "--tiles", "8"]
    assert main(["bench", "growth", *words, f"--out={out}", f"--plot={plot}"]) == 0
    record = json.loads(out.read_text())
    result = record["result"]
    assert [len(sweep["points"]) for sweep in result["steps"].values()] == [2, 3, 3, 2]
    assert [point["images"] for point in result["capfilt"]["images"]["points"]] == [8, 16]
    assert result["capfilt"]["workers"]["fits"] == {}
    assert all(point["ledger_bytes_a_caption"] > 0 for point in result["capfilt"]["captions an image"]["points"])
    assert "steps, queue, seconds: " in capsys.readouterr().out
    assert plot.read_bytes().startswith(b"\x89PNG")
    panels = figure(result).axes
    assert len(panels) == 12 and all(axes.get_ylim()[0] == 0 for axes in panels)
    drawn = panels[0].collections[0].get_offsets().data.tolist()
    assert drawn == [[point["batch"], point["seconds"]["median"]] for point in result["steps"]["batch"]["points"]]
    monkeypatch.setattr(planning_pages, "found", lambda name: record)
    assert planning_pages.growth().count(" off |") == 4 * 3 + 2 * 2
    assert "1 at once" in planning_pages.plan_workers()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"rounds": 0}, "--rounds 0 cannot be"),
        ({"batches": (4,)}, "--batches must name 2 or more different numbers of 1 or more"),
        ({"texts": (8, 16)}, "--texts must name 3 or more"),
        ({"texts": (1, 8, 16)}, "--text and --texts cannot be 1"),
        ({"text": 1}, "--text and --texts cannot be 1"),
        ({"queue": -1}, "--queue -1 cannot be"),
        ({"queues": (-1, 8)}, "--queues must name 2 or more different numbers of 0 or more"),
        ({"tiles": ()}, "--tiles must name 1 or more"),
        ({"image_sizes": (96, 100, 112)}, "image_size must be a multiple of patch_size"),
        ({"size": "vast"}, "There is no model size 'vast'"),
        ({"precision": "int4"}, "There is no precision 'int4'"),
    ],
)
def test_options_that_cannot_be_are_refused(wrong, sentence):
    with pytest.raises(InputError, match=sentence):
        growth.main(Options(**{"size": "small", "device": "cpu"} | wrong))
