"""What CapFilt and pre-training of so many images take at base size: the arithmetic from rates to hours, money and disk.

Rates are measured (`lab.planning_records`) or assumed: operations by formula over the peak of a device x a share of it.
"""

import math
from dataclasses import dataclass, fields

from blip.config import named
from blip.errors import InputError
from lab.bench import capfilt_flops, pretrain_flops
from lab.bench.capfilt_flops import Shapes
from lab.planning_bytes import checkpoint_bytes, pretraining_bytes

SETS = {"14M": 14_000_000, "129M": 129_000_000, "400M": 400_000_000}
"""The paper's two sets (Table 1) and LAION-400M."""
EPOCHS, NODES = 20, 32
"""Of the paper's pre-training, and its GPUs: two nodes of 16."""
WHOLE, REST = 14_000_000, 0.2
"""The paper shows its human and curated pairs in every epoch, and a fifth of LAION's."""
BATCH, QUEUE, TEXT = 2880, 57_600, 16
"""Pairs a step and keys of a queue (published), and tokens of a padded text."""
CAPTIONER_SIZE, PRETRAIN_SIZE = 384, 224
"""Side of the images in pixels (paper 4.1)."""
LENGTH, PROMPT = 20, 4
"""Tokens of a text in CapFilt, and of [DEC] and the prompt."""
SHARD = 512
"""Images of a shard: the work that a device begins whole."""
KEPT = 3
"""Checkpoints on disk: the last two, and one that is being written."""
EFFICIENCY = 0.9
"""ASSUMED: share of several devices' time that pre-training uses; the rest is waiting for the slowest and for gradients."""
SHARE = 0.15
"""ASSUMED: share of a device's peak that becomes operations of the formula. Our pre-training step had as much of 989 on an
H200 (base size, bf16, bench/pretrain-cuda)."""
IMAGE_BYTES = 50_000
"""ASSUMED: bytes of an encoded image."""
PEAKS = {"A100": 312.0, "H100": 989.0}
"""ASSUMED: peak of a GPU in bf16 without sparsity, 10^12 operations a second, as its maker states it."""
GPU_PRICE, CPU_PRICE = 2.5, 0.1
"""EXAMPLES: price of a GPU and of a machine with two cores for an hour. Prices are the reader's."""
_MOST = 10**12


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is planned, at base size."""

    images: int
    """Images of the set, each with one web text."""
    devices: int = 8
    """Devices that work at once."""
    candidates: int = 1
    """Synthetic captions an image; one in the paper."""
    epochs: int = EPOCHS
    """Of pre-training; 20 in the paper. Images beyond 14M are shown in a fifth of them, as the paper shows LAION's."""
    image_bytes: float = IMAGE_BYTES
    """Bytes of an encoded image."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 1 <= value <= _MOST:
                raise InputError(f"--{field.name.replace('_', '-')} {value:g} cannot be; give 1 to {_MOST:,}.")

    @property
    def captions(self) -> int:
        """Rows of the ledger: web texts and synthetic captions."""
        return self.images * (1 + self.candidates)

    @property
    def samples(self) -> int:
        """Pairs that pre-training is shown (paper 4.1)."""
        whole = min(self.images, WHOLE)
        return round(self.epochs * (whole + REST * (self.images - whole)))


@dataclass(frozen=True, kw_only=True)
class Rate:
    """How fast one device is. seconds: an image in CapFilt, a sample in pre-training."""

    device: str
    seconds: float
    measured: bool
    """False: it rests on an assumed peak and share."""
    price: float | None
    """Of the device for an hour, in the reader's currency."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a job takes. hours: until all devices are done; device_hours: what is paid for."""

    seconds: float
    """One device, an image or a sample."""
    hours: float
    device_hours: float
    money: float | None


def capfilt_operations(candidates: int) -> dict[str, float]:
    """Operations an image by part: captions of `candidates` texts, and scores of these and the web's."""
    shapes = Shapes(candidates=candidates, texts=1 + candidates, prompt=PROMPT, length=LENGTH, scored=LENGTH)
    return capfilt_flops.ours(named("base", image_size=CAPTIONER_SIZE), shapes)


def pretrain_operations() -> float:
    """Operations a sample of our step, at the published batch and queue."""
    return pretrain_flops.ours(named("base", image_size=PRETRAIN_SIZE), BATCH, TEXT, BATCH + QUEUE) / BATCH


def published_operations() -> float:
    """Operations a sample of the published step, whose texts are padded to 30 tokens; a GPU has 90 pairs."""
    return pretrain_flops.published(named("base", image_size=PRETRAIN_SIZE), 90, 30, 90 + QUEUE) / 90


def assumed(device: str, operations: float, tflops: float, share: float, price: float | None) -> Rate:
    """The rate of a device that was not measured. InputError for a peak or share that cannot be."""
    if not 0 < tflops <= 1e6:
        raise InputError(f"--device-tflops {tflops:g} cannot be; give the peak in 10^12 operations a second, as in 312.")
    check_share(share)
    return Rate(device=device, seconds=operations / (tflops * 1e12 * share), measured=False, price=price)


def capfilt_cost(plan: Plan, rate: Rate, serial: float) -> Cost:
    """Amdahl and a straggler: a part of every image that more devices do not shorten, and at the end one shard.

    serial: seconds of that part, the writer's. The last device may begin its shard when all others have just ended.
    """
    seconds = plan.images * (rate.seconds / plan.devices + serial * (plan.devices > 1))
    shard = min(SHARD, plan.images) * rate.seconds * (plan.devices > 1)
    return _cost(plan, rate, seconds + shard)


def pretrain_cost(plan: Plan, rate: Rate) -> Cost:
    """Samples over devices, of which several lose the assumed share."""
    used = plan.devices * (EFFICIENCY if plan.devices > 1 else 1)
    return _cost(plan, rate, plan.samples * rate.seconds / used)


def disk_bytes(plan: Plan, bytes_a_caption: float) -> dict[str, int]:
    """Bytes of the pictures, of the ledger and of pre-training's checkpoints."""
    held = pretraining_bytes("base", PRETRAIN_SIZE, QUEUE)
    return {
        "pictures": round(plan.images * plan.image_bytes),
        "ledger": round(plan.captions * bytes_a_caption),
        "checkpoints": KEPT * checkpoint_bytes(held),
    }


def amdahl_seconds(one: float, two: float) -> float:
    """The seconds c that a second worker did not halve, from those of one and two: t(n) = c + w / n.

    0 where two workers were more than twice as fast as one.
    """
    return max(0.0, 2 * two - one)


def check_share(share: float) -> None:
    """InputError for a share of a peak that cannot be."""
    if not 0 < share <= 1:
        raise InputError(f"--share {share:g} cannot be; give a share of the peak above 0 and at most 1.")


def check_price(name: str, price: float | None) -> None:
    """InputError for a price that cannot be."""
    if price is not None and not 0 <= price < math.inf:
        raise InputError(f"--{name} {price:g} cannot be; give 0 or more.")


def _cost(plan: Plan, rate: Rate, seconds: float) -> Cost:
    hours = seconds / 3600
    paid = hours * plan.devices
    money = None if rate.price is None else paid * rate.price
    return Cost(seconds=rate.seconds, hours=hours, device_hours=paid, money=money)
