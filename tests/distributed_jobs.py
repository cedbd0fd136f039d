"""Small trainings that run in one process or in several, and leave what they came to."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from blip.config import BlipConfig, TextConfig, VisionConfig
from blip.data.loading import Loader
from blip.data.sources import ArraySource
from blip.distributed import (
    average_gradients,
    from_all,
    is_main,
    mean,
    measuring,
    process_group,
    rank,
    world_size,
)
from blip.errors import InputError
from blip.feed import PairFeed
from blip.guard import NotFinite
from blip.model import BLIP
from blip.schedules import Schedule
from blip.tasks.captioning import Captioning
from blip.tasks.pretrain import ObjectiveConfig, Pretrain
from blip.tasks.retrieval import RETRIEVAL
from blip.tokenizer import Tokenizer
from blip.train import TrainConfig, forward_backward, train

# Of different lengths, so that means over tokens and paddings differ between the parts of a batch.
TEXTS = [
    f"{lead} {colour} {kind}"
    for lead in ("a", "there is a very", "the picture shows a small and")
    for colour, kind in zip(("red", "blue", "green", "red"), ("ball", "cup", "hat", "key"), strict=True)
]
TOKENIZER = Tokenizer.train(TEXTS, 80)
CONFIG = TrainConfig(
    schedule=Schedule(steps=4, peak=1e-3, warmup=2, alpha_ramp=3), log_every=1, keyed_dropout=True, seed=7
)


def model(*, recompute: bool = False) -> BLIP:
    """One layer each, with dropout and stochastic depth."""
    torch.manual_seed(3)
    vision = VisionConfig(image_size=16, patch_size=8, width=32, depth=2, heads=2, drop_path=0.3)
    text = TextConfig(
        vocab_size=len(TOKENIZER), width=32, depth=1, heads=2, mlp_width=64, memory_width=32, max_positions=40
    )
    made = BLIP(BlipConfig(vision=vision, text=text, embed_dim=16))
    made.image_encoder.checkpoint_gradients(2 if recompute else 0)
    return made


def feed(prompt: str = "") -> PairFeed:
    """Batches of 6 of 36 pairs, a few of which have the same text."""
    pixels = torch.randint(0, 256, (36, 16, 16, 3), generator=torch.Generator().manual_seed(1))
    source = ArraySource(pixels.to(torch.uint8), TEXTS * 3, augment=_noise)
    return PairFeed(Loader(source, 6, seed=5), TOKENIZER, prompt=prompt)


def _noise(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return images // 2 + torch.randint(0, 99, (len(images), 1, 1, 1), generator=generator, dtype=torch.uint8)


def pretrain(*, recompute: bool = False, **changes) -> Pretrain:
    """Pre-training with a queue of ten keys."""
    return Pretrain(model(recompute=recompute), ObjectiveConfig(**({"queue": 10} | changes)))


class Poisoned:
    """A feed whose third batch has an image that is not finite, in the last process."""

    def __init__(self, inner: PairFeed, bad: int = 2) -> None:
        self.inner, self.bad = inner, bad

    def __next__(self):
        batch = next(self.inner)
        if batch.step == self.bad and rank() == world_size() - 1:
            batch.images[-1] = float("nan")
        return batch

    def state_dict(self):
        return self.inner.state_dict()

    def load_state_dict(self, state):
        self.inner.load_state_dict(state)


SCENARIOS: dict[str, Callable[[], tuple]] = {
    "momentum": lambda: (pretrain(), feed(), CONFIG),
    "late teacher, random negatives, two micro-batches": lambda: (
        pretrain(teacher_start=2, negatives="random"),
        feed(),
        replace(CONFIG, accumulate=2),
    ),
    "online keys": lambda: (pretrain(queue=0, momentum=None, negatives="online"), feed(), CONFIG),
    "retrieval, recomputed blocks": lambda: (Pretrain(model(recompute=True), replace(RETRIEVAL, queue=10)), feed(), CONFIG),
    "captioning": lambda: (Captioning(model(), prompt_length=3), feed("a picture of "), CONFIG),
}


def gradients(task, batches, config) -> dict[str, torch.Tensor]:
    """The averaged gradients of one batch."""
    task.train()
    forward_backward(task, next(batches), 0.3, config)
    average_gradients(task)
    return {name: p.grad for name, p in task.named_parameters() if p.grad is not None}


def results(out: Path) -> dict[str, dict]:
    """What each scenario comes to: gradients of a first batch, logged rows, the state at the end."""
    found = {}
    for name, scenario in SCENARIOS.items():
        first = gradients(*scenario())
        task, batches, config = scenario()
        rows = train(task, batches, config)
        spread = max(float((mean(value.float()) - value).norm()) for value in task.state_dict().values())
        found[name] = {"gradients": first, "rows": rows, "state": task.state_dict(), "spread": spread}
    local = Pretrain(model(), ObjectiveConfig(queue=10), local_negatives=True)
    found["local negatives"] = {"rows": train(local, feed(), CONFIG)}
    found["bf16"] = {"rows": train(pretrain(), feed(), replace(CONFIG, precision="bf16"), stop_at=1)}
    try:
        train(pretrain(), Poisoned(feed()), CONFIG, out=out / "poisoned")
    except NotFinite as error:
        found["poisoned"] = {"said": str(error)}
    return found


def resumed(out: Path) -> dict[str, dict[str, torch.Tensor]]:
    """The states of runs that go on: from as many processes, and from a checkpoint that lies in out/one."""
    train(pretrain(), feed(), CONFIG, out=out / "several", stop_at=2)
    states = {}
    for name in ("several", "one"):
        task = pretrain()
        train(task, feed(), CONFIG, out=out / name)
        states[name] = task.state_dict()
    train(pretrain(), feed(), CONFIG, out=out / "others", stop_at=2)
    return states


def drawn_apart(out: Path) -> dict[str, dict[str, torch.Tensor]]:
    """The states of runs without keyed dropout: unbroken, stopped and resumed, and with recomputed image blocks."""
    config, tasks = replace(CONFIG, keyed_dropout=False), (pretrain(), pretrain(), pretrain(recompute=True))
    train(tasks[0], feed(), config)
    train(pretrain(), feed(), config, out=out / "apart", stop_at=2)
    train(tasks[1], feed(), config, out=out / "apart")
    train(tasks[2], feed(), config)
    return dict(zip(("unbroken", "resumed", "recomputed"), (task.state_dict() for task in tasks), strict=True))


def start(words: list[str], processes: int, **named) -> list[subprocess.Popen]:
    """The processes of a group on this machine, as torchrun would start them."""
    port = str(free_port())
    places = [
        {"RANK": str(r), "LOCAL_RANK": str(r), "WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        for r in range(processes)
    ]
    return [subprocess.Popen([sys.executable, *words], env=os.environ | place, **named) for place in places]


def free_port() -> int:
    with socket.socket() as here:
        here.bind(("127.0.0.1", 0))
        return here.getsockname()[1]


def endless(out: Path) -> None:
    """Train until something ends it, and say what did."""
    schedule = replace(CONFIG.schedule, steps=10**6)
    try:
        train(pretrain(), feed(), replace(CONFIG, schedule=schedule), out=out)
    except InputError as error:
        print(error, file=sys.stderr)
        os._exit(2)  # not through the group, whose other process may be stopped


def lost(wait: float) -> None:
    """The last process measures for longer than the group waits, and then ends; the main one says so."""
    try:
        with measuring():
            if not is_main():
                time.sleep(1.5 * wait)
            print(from_all([rank(), rank()]), file=sys.stderr)
            if not is_main():
                os._exit(1)  # as one that is killed
            from_all([])
    except InputError as error:
        print(error, file=sys.stderr)
        os._exit(2)


if __name__ == "__main__":
    folder, what, wait = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    with process_group("cpu", wait):
        if what == "endless":
            endless(folder)
        if what == "lost":
            lost(wait)
        everything = results(folder) | {"resumed": resumed(folder), "drawn apart": drawn_apart(folder)}
        if is_main():
            torch.save(everything, folder / "results.pt")
