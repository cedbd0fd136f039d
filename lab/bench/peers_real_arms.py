"""The arms of `lab bench peers-real`: BLIP, CLIP and CoCa of like size, trained alike from scratch on the same photos.

Alike are photos, order, crops, token ids, optimizer, schedule and batch; each has its own losses. Every arm's cost
is counted by torch on its own steps, so that a budget can be samples or floating-point operations.
"""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from blip.config import BlipConfig, named
from blip.data.loading import Loader
from blip.data.pairset import PairSet
from blip.data.sources import PhotoSource
from blip.data.transforms import PRETRAIN_SCALE, train_transform
from blip.feed import PairFeed
from blip.model import BLIP
from blip.schedules import Schedule
from blip.tasks.pretrain import ObjectiveConfig, Pretrain
from blip.tokenizer import Tokenizer
from blip.train import TrainConfig, train
from lab.bench import peers_real_evaluation as evaluation
from lab.bench.peers_real_evaluation import HeldOut
from lab.peers import open_clip_models as open_clip
from lab.peers.operations import COUNTED, let_a_step_pass, mean_flops, parameters
from lab.progress import bar

_MOST_STEPS = 10_000_000


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What decides an arm besides its photos and its number of steps."""

    size: str
    batch: int
    peak: float
    seed: int
    workers: int
    device: str


@dataclass(frozen=True)
class Photos:
    """What all arms are trained on: pairs, their vocabulary, and the sizes of a BLIP with it."""

    pairs: PairSet
    tokenizer: Tokenizer
    config: BlipConfig

    def feed(self, setting: Setting) -> PairFeed:
        """Batches in the order and with the crops of the seed, the same for every arm."""
        transform = train_transform(self.config.vision.image_size, PRETRAIN_SCALE)
        loader = Loader(
            PhotoSource(self.pairs, transform), setting.batch, seed=setting.seed, workers=setting.workers
        )
        return PairFeed(loader, self.tokenizer, max_length=open_clip.CONTEXT)

    def epoch(self, setting: Setting) -> int:
        """Steps of an epoch."""
        return len(self.pairs) // setting.batch


@dataclass(frozen=True)
class Arm:
    """A model under a name: a new task, and how what was trained is measured."""

    name: str
    task: Callable[[Photos, Setting, int], Pretrain | open_clip.PeerTask]
    """From photos, setting and the number of steps."""
    evaluate: Callable[[Any, Photos, HeldOut], dict[str, Any]]
    """From what `task` gives."""


@dataclass(frozen=True)
class Cost:
    """Operations of an arm's step, forward and backward, before and after BLIP's teacher comes in."""

    before: float
    after: float

    def total(self, steps: int, epoch: int) -> float:
        """Operations of so many steps, with `epoch` steps an epoch."""
        start = teacher_start(steps, epoch)
        return start * self.before + (steps - start) * self.after

    def steps(self, total: float, epoch: int) -> int:
        """The fewest steps that take `total` operations."""
        return bisect_left(range(_MOST_STEPS), total, lo=1, key=lambda steps: self.total(steps, epoch))


def teacher_start(steps: int, epoch: int) -> int:
    """When BLIP's momentum encoders and queue come in, from random weights, as `lab pretrain` does it."""
    return min(2 * epoch, steps // 2)


def train_config(photos: Photos, setting: Setting, steps: int) -> TrainConfig:
    """The defaults of `lab pretrain`."""
    epoch = photos.epoch(setting)
    schedule = Schedule(
        steps=steps,
        peak=setting.peak,
        warmup=min(3000, steps // 10),
        alpha_ramp=2 * epoch,
        alpha_from=teacher_start(steps, epoch),
    )
    return TrainConfig(schedule=schedule, seed=setting.seed)


def trained(
    arm: Arm, photos: Photos, held_out: HeldOut, setting: Setting, steps: int, folder: Path
) -> dict[str, Any]:
    """Train an arm, resumable in its folder, and measure it."""
    torch.manual_seed(setting.seed)
    task = arm.task(photos, setting, steps).to(setting.device)
    with bar(steps, arm.name) as show:
        rows = train(task, photos.feed(setting), train_config(photos, setting, steps), out=folder, progress=show)
    task.eval()
    losses = {name: rows[-1][name] for name in ("itc", "itm", "lm") if name in rows[-1]}
    found = {"parameters": parameters(task.model), "last_losses": losses}
    return found | arm.evaluate(task, photos, held_out)


def cost(arm: Arm, photos: Photos, setting: Setting) -> dict[str, float]:
    """The arm's `Cost` as plain values, in the mean of the first batches."""
    feed = photos.feed(setting)
    batches = [next(feed).to(setting.device) for _ in range(COUNTED)]
    torch.manual_seed(setting.seed)
    task = arm.task(photos, setting, 2).to(setting.device)  # its teacher starts at step 1
    before = mean_flops(task, batches)
    let_a_step_pass(task, batches[0])
    return asdict(Cost(before, after=mean_flops(task, batches)))


def _blip(photos: Photos, setting: Setting, steps: int) -> Pretrain:
    objectives = ObjectiveConfig(
        queue=min(57_600, len(photos.pairs) // 10),  # a queue of more would hold a pair's own past
        teacher_start=teacher_start(steps, photos.epoch(setting)),
        seed=setting.seed,
    )
    return Pretrain(BLIP(photos.config), objectives)


def _clip(photos: Photos, setting: Setting, steps: int) -> open_clip.PeerTask:
    return open_clip.PeerTask(open_clip.clip(photos.config, photos.tokenizer.special), open_clip.clip_losses)


def _coca(photos: Photos, setting: Setting, steps: int) -> open_clip.PeerTask:
    special = photos.tokenizer.special
    return open_clip.PeerTask(open_clip.coca(photos.config, special), open_clip.coca_losses(special.pad))


def _measure_coca(task: open_clip.PeerTask, photos: Photos, held_out: HeldOut) -> dict[str, Any]:
    decoder = open_clip.CoCaDecoder(task.model, photos.config)
    return evaluation.of_coca(task.model, photos.tokenizer, held_out, decoder)


ARMS = (
    Arm("BLIP", _blip, lambda task, photos, held_out: evaluation.of_blip(task.model, photos.tokenizer, held_out)),
    Arm("CLIP", _clip, lambda task, photos, held_out: evaluation.of_clip(task.model, photos.tokenizer, held_out)),
    Arm("CoCa", _coca, _measure_coca),
)


def photos_of(pairs: PairSet, texts: list[str], size: str, vocab_size: int) -> Photos:
    """The pairs with a WordPiece vocabulary of their texts."""
    tokenizer = Tokenizer.train(texts, vocab_size)
    return Photos(pairs, tokenizer, named(size, vocab_size=len(tokenizer)))
