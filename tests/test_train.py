"""The training loop: exact resume, accumulation, groups, refusals, and that it learns."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from blip.config import BlipConfig, TextConfig, VisionConfig
from blip.data.loading import Loader
from blip.data.sources import ArraySource
from blip.errors import InputError
from blip.feed import PairFeed
from blip.model import BLIP
from blip.schedules import Schedule
from blip.tasks.captioning import Captioning
from blip.tasks.pretrain import ObjectiveConfig, Pretrain
from blip.tokenizer import Tokenizer
from blip.train import TrainConfig, build_optimizer, forward_backward, train, with_shares

TEXTS = [f"a {colour} {kind}" for colour in ("red", "blue", "green") for kind in ("ball", "cup", "hat", "key")]
TOKENIZER = Tokenizer.train(TEXTS, 80)
CONFIG = TrainConfig(schedule=Schedule(steps=8, peak=1e-3, warmup=2, alpha_ramp=4), log_every=1)


def model() -> BLIP:
    torch.manual_seed(3)
    vision = VisionConfig(image_size=16, patch_size=8, width=32, depth=1, heads=2, drop_path=0.1)
    text = TextConfig(
        vocab_size=len(TOKENIZER), width=32, depth=1, heads=2, mlp_width=64, memory_width=32, max_positions=40
    )
    return BLIP(BlipConfig(vision=vision, text=text, embed_dim=16))


def feed(prompt: str = "") -> PairFeed:
    pixels = torch.randint(0, 256, (36, 16, 16, 3), generator=torch.Generator().manual_seed(1))
    source = ArraySource(pixels.to(torch.uint8), TEXTS * 3)
    return PairFeed(Loader(source, 6, seed=5), TOKENIZER, prompt=prompt)


def pretrain() -> Pretrain:
    return Pretrain(model(), ObjectiveConfig(queue=10))


def state(task: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in task.state_dict().items()}


def test_stopped_and_resumed_equals_unbroken_bit_for_bit(tmp_path: Path) -> None:
    whole = pretrain()
    rows = train(whole, feed(), CONFIG, out=tmp_path / "whole")
    train(pretrain(), feed(), CONFIG, out=tmp_path / "broken", stop_at=3)
    resumed = pretrain()
    again = train(resumed, feed(), CONFIG, out=tmp_path / "broken")
    for name, value in state(whole).items():
        assert torch.equal(value, state(resumed)[name]), name
    logged = [json.loads(line) for line in (tmp_path / "broken/metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in logged] == list(range(1, 9)) == [row["step"] for row in again]
    losses = ("itc", "itm", "lm", "gradient_norm", "learning_rate", "alpha")
    assert all(a[name] == b[name] for a, b in zip(rows, again, strict=True) for name in losses)


def test_a_torn_checkpoint_is_passed_over(tmp_path: Path) -> None:
    whole = pretrain()
    train(whole, feed(), CONFIG)
    config = replace(CONFIG, save_seconds=0.0)
    train(pretrain(), feed(), config, out=tmp_path, stop_at=4)
    newest = max((tmp_path / "checkpoints").glob("*.pt"))
    newest.write_bytes(newest.read_bytes()[:-100])
    resumed = pretrain()
    train(resumed, feed(), config, out=tmp_path)
    assert all(torch.equal(v, state(resumed)[k]) for k, v in state(whole).items())


def test_few_checkpoints_are_kept(tmp_path: Path) -> None:
    train(pretrain(), feed(), replace(CONFIG, save_seconds=0.0), out=tmp_path)
    kept = [path.name[:8] for path in sorted((tmp_path / "checkpoints").iterdir())]
    assert kept == ["00000007", "00000008"]


def test_another_model_in_the_folder_is_refused(tmp_path: Path) -> None:
    train(pretrain(), feed(), CONFIG, out=tmp_path, stop_at=1)
    other = Captioning(model(), prompt_length=3)
    with pytest.raises(InputError, match="another model"):
        train(other, feed("a picture of "), CONFIG, out=tmp_path)


def test_two_do_not_train_in_one_folder_at_once(tmp_path: Path) -> None:
    refused = []

    def another(row: dict[str, float]) -> None:
        if row["step"] == 2:
            with pytest.raises(InputError, match=f"Another process is training in {tmp_path}; wait for it, or choose another"):
                train(pretrain(), feed(), CONFIG, out=tmp_path)
            refused.append(row)

    rows = train(pretrain(), feed(), CONFIG, out=tmp_path, progress=another)
    logged = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert len(refused) == 1 and logged == [row["step"] for row in rows] == list(range(1, 9))
    assert train(pretrain(), feed(), CONFIG, out=tmp_path)[-1]["step"] == 8  # free again: it is done


def test_accumulated_gradients_are_those_of_one_batch() -> None:
    # Texts of other lengths: the mean of the halves' means is not the mean over all words.
    one, two = (Captioning(model().eval(), prompt_length=1) for _ in range(2))
    texts = ["a red ball", "a cup", "a key", "the picture shows a small and green hat there is a blue cup", "a hat", "a small and red key"]
    batch = replace(next(feed()), tokens=TOKENIZER(texts))
    whole = one(batch)
    whole.total.backward()
    halves = [
        replace(batch, images=batch.images[rows], ids=batch.ids[rows], tokens=batch.tokens.rows(torch.arange(6)[rows]))
        for rows in (slice(0, 3), slice(3, 6))
    ]
    losses = [forward_backward(two, half, 0.0, replace(CONFIG, accumulate=2))[0] for half in with_shares(two, halves)]
    assert halves[0].share == 1.0 and sum(own.total.item() for own in losses) / 2 == pytest.approx(whole.total.item(), rel=1e-6)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        if a.grad is not None:
            torch.testing.assert_close(a.grad, b.grad, atol=1e-6, rtol=1e-4)


def test_time_passes_once_a_step_whatever_the_micro_batches() -> None:
    task = pretrain()
    train(task, feed(), replace(CONFIG, accumulate=2, schedule=Schedule(steps=3)))
    assert int(task.image_queue.position) == 3 * 2 * 6 % 10


def test_only_matrices_are_decayed() -> None:
    task = pretrain()
    decayed, kept = build_optimizer(task, CONFIG).param_groups
    assert decayed["weight_decay"] == 0.05 and kept["weight_decay"] == 0.0
    assert all(p.dim() >= 2 for p in decayed["params"]) and all(p.dim() < 2 for p in kept["params"])
    trained = sum(1 for p in task.parameters() if p.requires_grad)
    assert len(decayed["params"]) + len(kept["params"]) == trained
    assert not any(p.requires_grad for p in task.teacher.parameters())


def test_bf16_trains_with_float32_losses() -> None:
    rows = train(pretrain(), feed(), replace(CONFIG, precision="bf16"))
    full = train(pretrain(), feed(), CONFIG)
    assert rows[0]["lm"] == pytest.approx(full[0]["lm"], rel=0.02) and rows[0]["lm"] != full[0]["lm"]
    assert rows[-1]["lm"] < rows[0]["lm"]


def test_a_loss_that_is_not_finite_names_itself() -> None:
    task = pretrain()
    task.model.text.lm_head.bias.data.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match=r"lm is not finite at step 0"):
        train(task, feed(), CONFIG)


@pytest.mark.parametrize(("wrong", "says"), [({"precision": "fp8"}, "fp8"), ({"accumulate": 0}, "0 micro")])
def test_a_configuration_that_cannot_be_is_refused(wrong: dict, says: str) -> None:
    with pytest.raises(InputError, match=says):
        replace(CONFIG, **wrong)
