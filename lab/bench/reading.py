"""`lab bench reading`: JPEG tars to augmented batches here, with exact resume, and by webdataset with torchvision.

Both decode with Pillow, crop at random, flip, augment and normalise, on one worker. A core's work is told in
seconds of the processor, so that other work on the machine shows as noise, not as slowness.
"""

import contextlib
import glob
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision import transforms

from blip.data.loading import Batch, Loader
from blip.data.pairs import Pair
from blip.data.readers import read_pairs
from blip.data.sources import PhotoSource
from blip.data.transforms import APPLY, MEAN, OPERATIONS, PRETRAIN_SCALE, STD, train_transform
from blip.data.writers import write_tars
from blip.errors import InputError
from lab.bench.contest import Times, concluded, timed, versus
from lab.bench.pictures import drawn_jpeg
from lab.bench.running import check_counts

TARGET = 1.0
_SHUFFLED = 1000
_BINS, _LEVEL = 31, 15  # torchvision's levels, and its middle, as the published level is 5 of 10
_GREY = [128.0] * 3
HOW = (
    "One epoch of batches on one worker, torch on one thread. Ours draws a permutation of all samples and is resumed "
    "in the middle: the batches that follow must be equal bit for bit. The peer reads the tars in a row, shuffles "
    "within 1,000 samples and cannot be resumed. Augmentation is a random resized crop, a flip and two operations, "
    "each with probability 0.5: ours the published ten, the peer's torchvision's RandAugment."
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure reading of JPEG tars into augmented batches against webdataset with torchvision."""

    data: str | None = None
    """Tars of pairs, a path or a pattern; by default tars of drawn photos."""
    pictures: int = 512
    """Drawn photos, if no data is given."""
    batch: int = 32
    """Pairs a batch."""
    image_size: int = 224
    """Side of the augmented pictures in pixels."""
    rounds: int = 3
    """Epochs of each side; the medians are compared."""
    out: Path | None = None
    """The record, JSON; by default reading-cpu.json among the benches' records."""
    seed: int = 0
    """Of drawn photos, order and augmentation."""
    device: str = "cpu"
    """Reading happens on the CPU."""


def main(options: Options) -> int:
    """Measure, print, record; 1 if the target is missed or a resumed run differs."""
    check_counts(options, "pictures", "batch", "image_size", "rounds")
    with tempfile.TemporaryDirectory(prefix="bench-reading-") as folder, _one_thread():
        tars = _given(options.data) if options.data else drawn_tars(Path(folder), options.pictures, options.seed)
        samples = len(read_pairs(tars))
        if samples < 2 * options.batch:
            raise InputError(f"{samples} pairs are fewer than two batches of {options.batch}; give more, or a smaller --batch.")
        resumed = resume_is_exact(tars, options)
        ways = {"ours": lambda: _count(ours(tars, options)), "peer": lambda: _count(peer(tars, options))}
        times = timed(ways, options.rounds, "cpu", "epoch")
        counts = {name: way() for name, way in ways.items()}
    case = _case(times, counts, resumed)
    about = {"how": HOW, "unit": "seconds an epoch", "pairs": samples, "batches": counts, "tars": len(tars)}
    return concluded("reading", options, about, {"JPEG tars to batches, one core": case})


def ours(tars: list[str], options: Options) -> Loader:
    """The loader of one worker over the tars, whose iteration is an epoch."""
    source = PhotoSource(read_pairs(tars), train_transform(options.image_size))
    return Loader(source, options.batch, seed=options.seed, workers=1)


def peer(tars: list[str], options: Options) -> Iterator[list[Any]]:
    """An epoch of webdataset in this process: images (B, 3, H, W) and texts."""
    import webdataset

    bicubic, bilinear = transforms.InterpolationMode.BICUBIC, transforms.InterpolationMode.BILINEAR
    operation = transforms.RandAugment(1, _LEVEL, _BINS, interpolation=bilinear, fill=_GREY)
    one = transforms.RandomApply([operation], p=APPLY)
    augment = transforms.Compose([
        transforms.RandomResizedCrop(options.image_size, scale=(PRETRAIN_SCALE, 1.0), interpolation=bicubic),
        transforms.RandomHorizontalFlip(),
        *[one] * OPERATIONS,
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ])  # fmt: skip
    pipeline = webdataset.WebDataset(tars, shardshuffle=False).shuffle(_SHUFFLED).decode("pil")
    pairs = pipeline.to_tuple("jpg;jpeg;png", "txt").map_tuple(augment, str.strip)
    return iter(pairs.batched(options.batch, partial=False))


def resume_is_exact(tars: list[str], options: Options) -> bool:
    """Whether a loader that goes on from a saved position hands out the batch that an unbroken one does."""
    unbroken = ours(tars, options)
    batches = iter(unbroken)
    next(batches)
    again = ours(tars, options)
    again.load_state_dict(unbroken.state_dict())
    return _equal(next(batches), next(iter(again)))


def drawn_tars(folder: Path, pictures: int, seed: int) -> list[str]:
    """Two tars of drawn photos with captions."""
    rng = np.random.default_rng(seed)
    pairs = (Pair(f"{row:06d}", f"a drawn photo, number {row}", drawn_jpeg(rng)) for row in range(pictures))
    written = write_tars(((pair, {}) for pair in pairs), folder, shard_size=-(-pictures // 2))
    return [str(path) for path in written.paths]


def _case(times: dict[str, Times], counts: dict[str, int], resumed: bool) -> dict[str, Any]:
    """The ratio of processor seconds: what one core does. By the clock ours may overlap two threads."""
    own, theirs = times["ours"], times["peer"]
    per_core = versus(replace(own, clock=own.processors), replace(theirs, clock=theirs.processors), TARGET)
    clock = versus(own, theirs, None)
    return per_core | {
        "ours": own.told(),
        "peer": theirs.told(),
        "ratio_by_the_clock": clock["ratio"],
        "precision": "uint8 to float32",
        "resumed_batch_is_equal": resumed,
        "reached": per_core["reached"] and resumed and counts["ours"] == counts["peer"],
    }


def _count(batches: Any) -> int:
    """Read all; the number of batches."""
    return sum(1 for _ in batches)


def _equal(one: Batch, other: Batch) -> bool:
    return one.keys == other.keys and one.captions == other.captions and torch.equal(one.images, other.images)


def _given(pattern: str) -> list[str]:
    if not (found := sorted(glob.glob(pattern))):
        raise InputError(f"There is no file {pattern}; give tars of JPEG pictures with texts.")
    return found


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
