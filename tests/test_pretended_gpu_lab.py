"""Ablations, benches and resumed training on a GPU that is pretended."""

import json
import signal
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial

import imitated_graph
import pytest
import torch
from data_files import encoded, picture, write_tar
from imitated_graph import imitated_graphs
from pretended_gpu import pretended_gpu
from signalled_steps import signalled_steps

from blip.schedules import Schedule
from lab.ablation.command import Wanted, ablate
from lab.ablation.scales import SCALES
from lab.bench import capfilt, encoder, generate, growth, growth_capfilt, matching, pretrain, rerank
from lab.cli import main
from lab.commands import world
from lab.runs import Home

BENCHES = {
    "encoder": (encoder, {"batch": 2}),
    "generate": (generate, {"image_size": 32, "batch": 1, "large_batch": 2, "length": 6}),
    "matching": (matching, {"image_size": 32, "images": 2, "texts": 3}),
    "rerank": (rerank, {"image_size": 32, "images": 4, "texts": 10, "k": 2, "texts_at_once": 4}
               | {"questions": 2, "answers": 40, "k_answers": 12}),
}  # fmt: skip
ARMS = {
    "table1": ("both",),
    "table4": ("shared",),
    "nlvr": ("both",),
    "filters": ("CLIP",),
    "objectives": ("no momentum",),
    "peers": ("CoCa",),
}


@contextmanager
def in_this_process(kind, setting):
    side = kind(setting)
    yield lambda name, *values: getattr(side, name)(*values)


def recorded(bench, folder, graphs=nullcontext, **given):
    """The result of a small bench on the pretended GPU."""
    out = folder / "record.json"
    with pretended_gpu() as gpu, graphs():
        bench.main(bench.Options(size="nano", device="cuda", out=out, **{"rounds": 1} | given))
    assert gpu.operations > 50
    return json.loads(out.read_text())["result"]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("name", BENCHES)
def test_a_bench_has_both_sides_on_the_gpu(name, precision, tmp_path, monkeypatch):
    bench, small = BENCHES[name]
    monkeypatch.setattr(encoder, "SIDES", (32,))
    result = recorded(bench, tmp_path, precision=precision, **small)
    assert result["device"] == "cuda" and result["precision"] == precision


def test_the_bench_of_training_has_both_sides_on_the_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrain, "product_flops", lambda *words: 1e12)  # products of a size for a real one
    result = recorded(pretrain, tmp_path, image_size=32, batch=2, queue=4, largest=6)
    assert result["cases"]["float32"]["agreement"]["agree"] is True
    memory = result["cases"]["memory of 6 pairs, bf16"]
    assert memory["reached"] and memory["ours"]["mib"] == 2.0  # of this GPU
    assert result["cases"]["useful operations of 6 pairs, bf16"]["ratio"] > 0


GRAPHS = partial(imitated_graphs, "cuda", training=True)


def test_the_bench_of_training_takes_steps_as_graphs(tmp_path, monkeypatch):
    made, noted = [], imitated_graph.noted
    monkeypatch.setattr(imitated_graph, "noted", lambda work: made.append(work) or noted(work))
    monkeypatch.setattr(pretrain, "product_flops", lambda *words: 1e12)
    result = recorded(pretrain, tmp_path, GRAPHS, image_size=32, batch=2, queue=4, largest=6, rounds=3)
    assert len(made) == 4, "two of each batch in bf16; float32 has dropout, and what it draws is computed again"
    assert result["cuda_graphs"] is True and result["cases"]["bf16"]["agreement"]["agree"] is True


def test_pairs_that_do_not_fit_lose_nothing_that_was_measured(tmp_path, monkeypatch, capsys):
    def full(*given):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(pretrain, "product_flops", lambda *words: 1e12)
    monkeypatch.setattr(pretrain, "random_pairs", full)
    result = recorded(pretrain, tmp_path, image_size=32, batch=2, queue=4, largest=6)
    assert result["did_not_fit"] == 6 and result["cases"]["bf16"]["ratio"] > 0
    assert not any("6 pairs" in name for name in result["cases"])
    assert "6 pairs do not fit on this GPU; --largest takes fewer." in capsys.readouterr().out


def test_the_bench_of_capfilt_has_both_sides_on_the_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(capfilt, "_apart", in_this_process)
    members = {}
    for number in range(3):
        members |= {f"{number}.jpg": encoded(picture(number, (40, 32))), f"{number}.txt": b"two dogs on a beach"}
    data = str(write_tar(tmp_path / "web.tar", members))
    result = recorded(capfilt, tmp_path, data=data, image_size=32, images=3, batch=2, rounds=2)
    assert result["agreement"]["greedy_captions_the_same"] == 3


def test_the_bench_of_growth_runs_on_the_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(growth_capfilt, "alone", lambda ask, *words: {"seconds": 0.0, "found": ask(*words)})
    sweeps = {"batches": (1, 2), "image_sizes": (16, 24, 32), "texts": (4, 6, 8), "queues": (0, 8)}
    point = {"batch": 2, "image_size": 16, "text": 4, "queue": 4}
    own = {"images": (8, 16), "candidates": (1, 2), "workers": (1,), "tiles": (8,), "plot": tmp_path / "growth.png"}
    result = recorded(growth, tmp_path, **sweeps, **point, **own)
    assert [len(sweep["points"]) for sweep in result["steps"].values()] == [2, 3, 3, 2]


def cells(name, folder, monkeypatch, device):
    """What the arms of an ablation find at smoke scale on a device."""
    monkeypatch.setitem(SCALES, "smoke", replace(SCALES["smoke"], device=device))
    out = folder / f"{device}.json"
    ablate(Wanted(name=name, scale="smoke", seeds=1, only=ARMS[name], out=out), Home(folder / device))
    arms = json.loads(out.read_text())["result"]["arms"]
    return {arm: arms[arm]["seeds"]["0"] for arm in ARMS[name]}


@pytest.mark.parametrize("name", ["table1", "objectives"])
def test_an_ablation_by_graphs_gives_what_it_gives_on_the_cpu(name, tmp_path, monkeypatch):
    for number in ("learning_rate", "soft_target_weight"):  # as graphs read them, so that every bit is the same
        exact = getattr(Schedule, number)
        monkeypatch.setattr(Schedule, number, lambda own, step, exact=exact: float(torch.tensor(exact(own, step), device="cpu")))
    here = cells(name, tmp_path, monkeypatch, "cpu")
    with pretended_gpu(), GRAPHS() as made:
        there = cells(name, tmp_path, monkeypatch, "cuda")
    assert sum(graph.replays for graph in made) > 10 and here == there


@pytest.mark.parametrize("name", ARMS)
def test_an_ablation_gives_on_the_gpu_what_it_gives_on_the_cpu(name, tmp_path, monkeypatch):
    here = cells(name, tmp_path, monkeypatch, "cpu")
    with pretended_gpu() as gpu:
        there = cells(name, tmp_path, monkeypatch, "cuda")
    assert gpu.operations > 50 and here == there


def test_a_training_that_is_stopped_on_the_gpu_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    world.main(world.Options(level="nano", pairs=60, tars=tmp_path / "tars", out=tmp_path / "sheet.png", count=1))
    small = ["--size=nano", "--steps=4", "--batch=8", "--queue=16", "--vocab-size=300", "--held-out=8", "--device=cuda"]

    def status(name):
        return main(["pretrain", f"--data={tmp_path / 'tars'}", f"--out={tmp_path / name}", *small])

    with pretended_gpu():
        assert status("whole") == 0
        signalled_steps(monkeypatch).append(signal.SIGTERM)
        assert status("parts") == 143
        assert status("parts") == 0
    one, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "parts"))
    assert one == other
