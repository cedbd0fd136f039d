"""Two processes train as one does: losses, gradients, weights, queues, teacher; checkpoints; a lost process."""

import json
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import distributed_jobs as jobs
import pytest
import torch
from distributed_jobs import CONFIG, SCENARIOS, feed, pretrain
from pretended_gpu import pretended_gpu
from torch.overrides import TorchFunctionMode

import blip.distributed
import blip.dropout
from blip.data.pictures import PictureBatch
from blip.distributed import choose_gpu, over_all, own_rows, part_of_batch, process_group
from blip.dropout import draws, dropped, keyed, own_draws
from blip.errors import InputError
from blip.tasks.nlvr_training import Judged, StatementBuilder
from blip.tasks.pretrain import ObjectiveConfig, Pretrain
from blip.tasks.visdial import Asked, DialogBuilder
from blip.train import train

SCRIPT = str(Path(jobs.__file__))


def finished(processes: list[subprocess.Popen], seconds: float = 300) -> list[tuple[int, str]]:
    """Exit status and stderr of each."""
    said = [process.communicate(timeout=seconds)[1] for process in processes]
    return [(process.returncode, text) for process, text in zip(processes, said, strict=True)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("two")


@pytest.fixture(scope="module")
def two(folder):
    """What two gloo processes came to; out/one begins with a checkpoint of one process."""
    train(pretrain(), feed(), CONFIG, out=folder / "one", stop_at=2)
    ended = finished(jobs.start([SCRIPT, str(folder), "results", "120"], 2, stderr=subprocess.PIPE, text=True))
    assert [status for status, _ in ended] == [0, 0], ended[0][1] + ended[1][1]
    return torch.load(folder / "results.pt", weights_only=True)


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return jobs.results(tmp_path_factory.mktemp("one"))


def worst(one: dict, other: dict) -> float:
    """The largest difference between two states.

    Without the keys' biases: attention does not change with them, so that their gradient is noise about
    zero, and AdamW divides it by its own size.
    """
    assert one.keys() == other.keys()
    gaps = []
    for name, value in one.items():
        gap = (value.float() - other[name].float()).abs().flatten()
        if name.endswith("qkv.bias"):
            gap[len(gap) // 3 : 2 * len(gap) // 3] = 0
        if name.endswith("key_value.bias"):
            gap[: len(gap) // 2] = 0
        gaps.append(gap)
    return float(torch.cat(gaps).max())


@pytest.mark.parametrize("name", SCENARIOS)
def test_two_processes_come_to_what_one_does(name, one, two):
    alone, together = one[name], two[name]
    for row, other in zip(alone["rows"], together["rows"], strict=True):
        row, other = ({k: v for k, v in r.items() if k != "samples_per_second"} for r in (row, other))
        assert other == pytest.approx(row, rel=1e-5, abs=1e-5)
    assert worst(alone["gradients"], together["gradients"]) < 1e-5
    assert worst(alone["state"], together["state"]) < 2e-5
    kept = {k: v for k, v in alone["state"].items() if "queue" in k or k in ("steps", "pushed")}
    assert worst(kept, {k: together["state"][k] for k in kept}) < 1e-5 if kept else name == "captioning"
    assert together["spread"] == 0.0, "weights, teacher and queues are the same in both processes"


def test_local_negatives_are_others_and_all_else_is_the_same(one, two):
    rows = [found["local negatives"]["rows"][0] for found in (one, two)]
    assert rows[0]["itc"] == pytest.approx(rows[1]["itc"], rel=1e-5)
    assert rows[0]["lm"] == pytest.approx(rows[1]["lm"], rel=1e-5)
    assert abs(rows[0]["itm"] - rows[1]["itm"]) > 1e-4
    assert one["local negatives"]["rows"][0]["itm"] == one["momentum"]["rows"][0]["itm"]


def test_bf16_goes_through_the_gathers(one, two):
    for part in ("itc", "itm", "lm"):
        assert two["bf16"]["rows"][0][part] == pytest.approx(one["bf16"]["rows"][0][part], rel=0.02)


def test_what_is_not_finite_in_one_process_ends_all_and_is_named(folder, two):
    said = two["poisoned"]["said"]
    assert "The loss itc, itm, lm is not finite at step 2" in said and "rank" not in said.split("(")[0]
    batch = next(b for b in (next(source) for source in [feed()] * 3) if b.step == 2)
    paths = sorted((folder / "poisoned" / "not-finite").iterdir())
    assert [path.name for path in paths] == ["step-00000002-rank0.pt", "step-00000002-rank1.pt"]
    saved = torch.load(paths[1], weights_only=True)
    assert saved["batches"][0]["keys"] == batch.keys[3:] and f"(samples {batch.keys[5]}; " in said
    assert saved["batches"][0]["images"].isnan().any(dim=(1, 2, 3)).tolist() == [False, False, True]


def test_a_run_goes_on_bit_for_bit_on_as_many_and_to_tolerance_on_others(folder, one, two):
    whole = two["momentum"]["state"]
    same = two["resumed"]["several"]
    assert all(torch.equal(value, same[name]) for name, value in whole.items())
    assert worst(two["resumed"]["one"], one["momentum"]["state"]) < 2e-5
    alone = pretrain()
    train(alone, feed(), CONFIG, out=folder / "others")
    assert worst(alone.state_dict(), one["momentum"]["state"]) < 2e-5
    steps = [json.loads(line)["step"] for line in (folder / "others/metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4]


def test_without_keyed_dropout_a_run_goes_on_bit_for_bit_on_as_many(one, two):
    unbroken, resumed, recomputed = (two["drawn apart"][name] for name in ("unbroken", "resumed", "recomputed"))
    assert all(torch.equal(value, resumed[name]) for name, value in unbroken.items())
    assert worst(unbroken, recomputed) < 1e-5
    assert worst(unbroken, one["momentum"]["state"]) > 1e-4, "the draws are others than those by sample"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lost_process_ends_the_run_with_a_sentence_and_a_checkpoint(number, tmp_path):
    processes = jobs.start([SCRIPT, str(tmp_path), "endless", "8"], 2, stderr=subprocess.PIPE, text=True)
    try:
        until((tmp_path / "metrics.jsonl").exists, processes)
        processes[1].send_signal(number)  # a stopped one stands for one that hangs
        said = processes[0].communicate(timeout=120)[1]
    finally:
        for process in processes:
            process.kill()
    assert processes[0].returncode == 2, said
    assert "Another process of this run died or kept the others waiting for too long after step" in said
    assert "Traceback" not in said
    (checkpoint,) = (tmp_path / "checkpoints").glob("*.pt")
    step = int(checkpoint.name[:8])
    assert step > 0 and f"after step {step};" in said
    task = pretrain()
    schedule = replace(CONFIG.schedule, steps=10**6)
    rows = train(task, feed(), replace(CONFIG, schedule=schedule), out=tmp_path, stop_at=step + 1)
    assert rows[-1]["step"] == step + 1 == len(rows)


def test_who_measures_is_waited_for_and_who_ends_in_it_ends_the_others_with_a_sentence(tmp_path):
    main, other = finished(jobs.start([SCRIPT, str(tmp_path), "lost", "2"], 2, stderr=subprocess.PIPE, text=True))
    assert other == (1, "[0, 0, 1, 1]\n")
    sentence = "Another process of this run ended before all was measured; see what it said."
    assert main == (2, f"[0, 0, 1, 1]\n{sentence}\n")


def until(true, processes, seconds=240):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end and all(process.poll() is None for process in processes)
        time.sleep(0.02)


# ---- without a second process ----


def test_one_process_is_told_nothing_and_waits_for_nobody(monkeypatch):
    loss = torch.tensor(2.0, requires_grad=True)
    assert over_all(loss, torch.tensor(3)) is loss
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    with process_group("cpu", 1.0):
        assert not torch.distributed.is_initialized() and blip.distributed.world_size() == 1
    monkeypatch.setenv("LOCAL_RANK", "99")
    choose_gpu("cpu")
    with pytest.raises(InputError, match=r"There are \d+ GPUs here for process 100"):
        choose_gpu("cuda")


def test_processes_that_do_not_meet_are_told_so(monkeypatch):
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="The processes do not find each other"), process_group("cpu", 1.0):
        pass


def as_process(monkeypatch, rank, world=2):
    for module in (blip.distributed, blip.dropout):
        monkeypatch.setattr(module, "rank", lambda: rank)
        monkeypatch.setattr(module, "world_size", lambda: world)


def test_parts_of_a_batch_are_the_batch(monkeypatch):
    places = []
    for rank in range(3):
        as_process(monkeypatch, rank, 3)
        places += part_of_batch(12)
    assert places == list(range(12))


@pytest.mark.parametrize(("total", "batch", "world"), [(17, 4, 2), (16, 1, 3), (3, 8, 2), (0, 4, 2), (9, 3, 1)])
def test_rows_to_measure_are_whole_batches_side_by_side(total, batch, world, monkeypatch):
    rows, counts = [], []
    for rank in range(world):
        as_process(monkeypatch, rank, world)
        own = own_rows(total, batch)
        assert own.start % batch == 0 or own.start == total
        rows += own
        counts.append(-(-len(own) // batch))
    assert rows == list(range(total)) and max(counts) - min(counts) <= 1


def test_draws_of_builders_belong_to_the_place_in_the_whole_batch(monkeypatch):
    judged = [Judged(f"a ball on the left of {n}", True) for n in range(8)]
    asked = [Asked("a ball", (), "what is it", ["yes", "no", "red", "blue", "two"], 0, range(1, 5)) for _ in range(8)]
    statements = StatementBuilder(judged, jobs.TOKENIZER, seed=3)
    dialogs = DialogBuilder(asked, jobs.TOKENIZER, negatives=2, seed=3)
    pictures = torch.arange(8.0)[:, None, None, None, None] + torch.arange(2.0)[:, None, None, None] / 2
    pictures = pictures.expand(8, 2, 3, 1, 1)
    whole = statements(PictureBatch(pictures, list(range(8))), 5)
    matches = dialogs(PictureBatch(pictures[:, :1], list(range(8))), 5).dialogs
    firsts, texts = [], []
    for rank in range(2):
        as_process(monkeypatch, rank)
        rows = list(range(4 * rank, 4 * rank + 4))
        firsts.append(statements(PictureBatch(pictures[rows], rows), 5).first)
        texts += [row.tolist() for row in dialogs(PictureBatch(pictures[rows][:, :1], rows), 5).dialogs.ids]
    assert torch.equal(torch.cat(firsts), whole.first) and whole.first.flatten().frac().unique().numel() == 2
    assert [[i for i in row if i] for row in texts] == [[i for i in row if i] for row in matches.ids.tolist()]


# ---- draws of dropout that belong to samples ----


def test_keyed_draws_are_those_of_the_whole_batch_whatever_part_and_padding():
    with keyed(1, 2, 0, 6):
        whole = [draws((6, 4, 5), torch.device("cpu")), draws((12, 3, 7, 9), torch.device("cpu"))]
    for first in (0, 2, 4):
        with keyed(1, 2, first, 2):
            part = [draws((2, 3, 5), torch.device("cpu")), draws((4, 3, 6, 8), torch.device("cpu"))]
        assert torch.equal(part[0], whole[0][first : first + 2, :3])
        rows = [first, first + 1, 6 + first, 7 + first]
        assert torch.equal(part[1], whole[1][rows][:, :, :6, :8])


def test_keyed_draws_are_uniform_and_change_with_every_key():
    with keyed(1, 2, 0, 8):
        first, second = draws((8, 40, 50), torch.device("cpu")), draws((8, 40, 50), torch.device("cpu"))
    others = [first, second]
    for keys in ((2, 2, 0, 8), (1, 3, 0, 8), (1, 2, 8, 8)):
        with keyed(*keys):
            others.append(draws((8, 40, 50), torch.device("cpu")))
    flat = torch.stack(others).flatten(1)
    assert flat.unique().numel() == flat.numel()
    assert flat.mean(dim=1) == pytest.approx(torch.full((5,), 0.5), abs=0.01)
    assert (torch.corrcoef(flat) - torch.eye(5)).abs().max() < 0.03
    counts = torch.histc(flat.float(), 10, 0, 1) / flat.numel()
    assert counts == pytest.approx(torch.full((10,), 0.1), abs=0.005)


def test_keyed_dropout_drops_its_share_and_keeps_the_mean():
    with keyed(0, 0, 0, 10):
        out = dropped(torch.ones(10, 100, 10), 0.3)
    assert out.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    assert (out == 0).float().mean() == pytest.approx(0.3, abs=0.02)
    torch.manual_seed(0)
    plain = dropped(torch.ones(4, 5), 0.3)
    torch.manual_seed(0)
    assert torch.equal(plain, torch.nn.functional.dropout(torch.ones(4, 5), 0.3))


def test_every_process_and_micro_batch_has_its_own_draws(monkeypatch):
    before = torch.get_rng_state()
    own_draws(7, 3)
    assert torch.equal(torch.get_rng_state(), before), "alone a process goes on with its generator"
    found, ones = [], torch.ones(50)
    for seed, step, rank in ((7, 3, 0), (7, 3, 1), (7, 4, 0), (8, 3, 0)):
        as_process(monkeypatch, rank)
        own_draws(seed, step)
        found.append(dropped(ones, 0.5))
        torch.rand(9)
        own_draws(seed, step)
        assert torch.equal(dropped(ones, 0.5), found[-1])
    assert len(torch.stack(found).unique(dim=0)) == 4


class NoCopy(TorchFunctionMode):
    """Refuses to move a tensor to another device, which waits for a GPU."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        assert func not in (torch.Tensor.to, torch.Tensor.cuda)
        return func(*args, **(kwargs or {}))


def test_keyed_draws_are_made_where_they_are_used():
    with keyed(1, 2, 3, 4):
        expected = draws((8, 5), torch.device("cpu"))
    with pretended_gpu(), NoCopy(), keyed(1, 2, 3, 4):
        found = draws((8, 5), torch.device("cuda"))
    assert found.is_cuda and torch.equal(found.cpu(), expected)


def test_dropout_of_rate_0_neither_draws_nor_copies():
    x, before = torch.ones(4, 5), torch.get_rng_state()
    assert dropped(x, 0.0) is x
    with keyed(0, 0, 0, 4):
        assert dropped(x, 0.0) is x
    assert torch.equal(torch.get_rng_state(), before)


def test_recomputed_blocks_draw_again_what_they_drew():
    kept, again = pretrain(), Pretrain(jobs.model(recompute=True), ObjectiveConfig(queue=10))
    config = replace(CONFIG, schedule=replace(CONFIG.schedule, steps=2))
    for task in (kept, again):
        train(task, feed(), config)
    assert worst(kept.state_dict(), again.state_dict()) < 1e-5
