"""TF32 products: on for forward and backward pass on a GPU, off before and behind; on a CPU they are float32."""

import json
from contextlib import ExitStack
from dataclasses import replace

import pytest
import torch
from caption_files import scenes, write_csv
from distributed_jobs import CONFIG, feed, pretrain
from pretended_gpu import pretended_gpu

from blip.precision import PRECISIONS, precision, products
from blip.train import forward_backward
from lab.cli import main

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def rounded() -> bool:
    return torch.backends.cuda.matmul.allow_tf32


@pytest.fixture(autouse=True, params=[False, True], ids=["off", "on"])
def before(request):
    """The setting before, which a caller may have changed."""
    kept, torch.backends.cuda.matmul.allow_tf32 = rounded(), request.param
    yield request.param
    torch.backends.cuda.matmul.allow_tf32 = kept


def test_the_setting_is_put_back_also_behind_a_failure(before):
    for make in (precision, products):
        with pytest.raises(ZeroDivisionError), make(GPU, "tf32"):
            assert rounded()
            raise ZeroDivisionError
        assert rounded() == before
    for device, name in ((CPU, "tf32"), (GPU, "float32")):
        with precision(device, name):
            assert rounded() == before


def test_the_last_of_several_threads_to_leave_puts_it_back(before):
    first, second = ExitStack(), ExitStack()
    first.enter_context(precision(GPU, "tf32"))
    second.enter_context(precision(GPU, "tf32"))
    first.close()
    assert rounded()
    second.close()
    assert rounded() == before


def test_a_micro_batch_on_a_gpu_has_them_in_both_passes(before):
    seen = []
    with pretended_gpu():
        task = pretrain().cuda().train()
        task.model.itm_head.register_forward_hook(lambda *_: seen.append(("forward", rounded())))
        task.model.itm_head.weight.register_hook(lambda gradient: seen.append(("backward", rounded())))
        forward_backward(task, next(feed()), 0.3, replace(CONFIG, precision="tf32"))
    assert set(seen) == {("forward", True), ("backward", True)} and rounded() == before


def test_on_a_cpu_they_are_float32_bit_for_bit():
    found = []
    for name in ("float32", "tf32"):
        task = pretrain().train()
        losses, _ = forward_backward(task, next(feed()), 0.3, replace(CONFIG, precision=name))
        found.append([losses.total, *(p.grad for p in task.parameters() if p.grad is not None)])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_commands_take_it_and_records_name_it(tmp_path, before):
    assert PRECISIONS == ("float32", "tf32", "bf16")
    data = write_csv(tmp_path, scenes(4))
    small = ["--size", "nano", "--steps", "1", "--batch", "2", "--queue", "0", "--held-out", "2", "--vocab-size", "60"]
    words = ["pretrain", "--data", str(data), "--out", str(tmp_path / "out"), *small, "--precision", "tf32", "--device", "cpu"]
    assert main(words) == 0
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["config"]["options"]["precision"] == "tf32"
