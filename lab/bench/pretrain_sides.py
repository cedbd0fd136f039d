"""Both sides of `lab bench pretrain`: our task and the plain peer, on the same weights, pairs and draws."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blip.checkpoint.published import published_state
from blip.checkpoint.stored import Training
from blip.config import BlipConfig
from blip.draws import uniform
from blip.errors import InputError
from blip.log import Clock
from blip.model import BLIP
from blip.precision import precision
from blip.schedules import Schedule
from blip.tasks.batch import Losses, PairBatch
from blip.tasks.pretrain import ObjectiveConfig, Pretrain
from blip.train import Steps, TrainConfig, build_optimizer, steps_of
from lab.bench.pretrain_peer import MAX_TOKENS, Draw, Published, multinomial
from lab.bench.rerank_retrieval import SPECIAL, random_texts

ALPHA, RATE, DECAY = 0.4, 1e-5, 0.05
"""After its ramp; small, for the weights are random; published."""
SCHEDULE = Schedule(steps=1, peak=RATE, kind="constant")


@dataclass(frozen=True)
class Ours:
    """`blip.tasks.pretrain` with the optimizer of `blip.train`, on one batch again and again."""

    task: Pretrain
    batch: PairBatch
    optimizer: torch.optim.Optimizer
    steps: dict[str, Steps] = field(default_factory=dict, repr=False)
    """What takes steps, by precision; CUDA graphs keep memory."""

    @classmethod
    def of(cls, task: Pretrain, batch: PairBatch) -> Self:
        """A task on its device and a batch, with an optimizer of their own."""
        return cls(task, batch, build_optimizer(task, TrainConfig(schedule=SCHEDULE, weight_decay=DECAY)))

    def losses(self, name: str) -> dict[str, Tensor]:
        """The losses of the batch under a precision by name; changes nothing."""
        return self._losses(name).parts

    def forward_backward(self, name: str) -> None:
        """Losses, and their gradients added to the parameters'."""
        self._losses(name).total.backward()

    def step(self, name: str) -> None:
        """A step of the loop of `blip.train`: the norm is computed, and nothing is clipped."""
        if name not in self.steps:
            config = TrainConfig(schedule=SCHEDULE, precision=name, clip=None)
            self.steps[name] = steps_of(self.task, self.optimizer, config)
        self.steps[name](repeat(self.batch), ALPHA, Clock())

    @property
    def module(self) -> nn.Module:
        """What owns the parameters."""
        return self.task

    def _losses(self, name: str) -> Losses:
        with precision(self.batch.images.device, name):
            return self.task(self.batch, ALPHA)


@dataclass(frozen=True)
class Plain:
    """The published step with torch's AdamW over all parameters; ids and keep (B, 30)."""

    module: Published
    images: Tensor
    ids: Tensor
    keep: Tensor
    optimizer: torch.optim.Optimizer

    def losses(self, name: str, draw: Draw = multinomial) -> dict[str, Tensor]:
        """The losses of the batch under a precision by name; time passes, as in the published forward."""
        with precision(self.images.device, name):
            return self.module(self.images, self.ids, self.keep, ALPHA, draw)

    def forward_backward(self, name: str) -> None:
        """Losses, and their gradients added to the parameters'."""
        self._total(name).backward()

    def step(self, name: str) -> None:
        """One optimizer step; nothing is clipped, as published."""
        loss = self._total(name)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def _total(self, name: str) -> Tensor:
        losses = self.losses(name)
        return losses["itc"] + losses["itm"] + losses["lm"]


def sides(
    config: BlipConfig, *, batch: int, lengths: Sequence[int], queue: int, device: str, seed: int
) -> tuple[Ours, Plain]:
    """Both sides with the same random weights, queues and B random pairs; `lengths`: tokens of texts in turn."""
    torch.manual_seed(seed)
    task = Pretrain(BLIP(config), ObjectiveConfig(queue=queue, seed=seed))
    peer = Published(config, queue, SPECIAL)
    peer.load_published(published_state(task.model, _training(task)))
    pairs = random_pairs(config, batch, lengths).to(device)
    task, peer = task.to(device).train(), peer.to(device).train()
    more = MAX_TOKENS - pairs.tokens.ids.shape[1]
    ids = F.pad(pairs.tokens.ids, (0, more), value=SPECIAL.pad)
    keep = F.pad(pairs.tokens.keep, (0, more), value=False)
    ours = Ours.of(task, pairs)
    trained = [parameter for parameter in peer.parameters() if parameter.requires_grad]
    return ours, Plain(peer, pairs.images, ids, keep, torch.optim.AdamW(trained, lr=RATE, weight_decay=DECAY))


def random_pairs(config: BlipConfig, batch: int, lengths: Sequence[int]) -> PairBatch:
    """B random images and texts; `lengths`: tokens of texts in turn."""
    tokens, side = random_texts(batch, lengths, "CLS"), config.vision.image_size
    return PairBatch(torch.randn(batch, 3, side, side), tokens, torch.arange(batch))


@torch.no_grad()
def both_losses(ours: Ours, plain: Plain) -> dict[str, tuple[float, float]]:
    """ITC, ITM and LM of both sides in float32, without dropout and with the same negatives.

    Our teacher is moved first, as the published forward moves its own. Leaves both sides in training mode.
    """
    task, batch = ours.task, ours.batch
    rows = torch.arange(len(batch.ids), device=batch.ids.device)

    def draw(weights: Tensor, stream: int) -> Tensor:
        edges = weights.double().cumsum(dim=1)
        target = uniform(task.config.seed, batch.step, stream, rows)[:, None] * edges[:, -1:]
        return torch.searchsorted(edges, target, right=True).squeeze(1)

    task.eval()
    plain.module.eval()
    task.update_teacher()
    own, theirs = ours.losses("float32"), plain.losses("float32", draw)
    task.train()
    plain.module.train()
    return {name: (float(own[name]), float(theirs[name])) for name in own}


def _training(task: Pretrain) -> Training:
    if task.teacher is None:
        raise InputError("The published step has a momentum encoder; give ours one too.")
    return Training(
        teacher=task.teacher.module.state_dict(),
        image_queue=task.image_queue.rows,
        text_queue=task.text_queue.rows,
        ids=task.text_queue.ids,
        position=int(task.text_queue.position),
    )
