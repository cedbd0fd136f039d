"""`lab bench peers-real`: retrieval and captioning on real photos, BLIP beside open_clip's CLIP and CoCa.

All are of like size and trained from scratch on the same photos, at equal samples and at equal floating-point
operations. Every training is a run of the home of runs: what was done is read, what was cut off goes on.
"""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from blip.config import SIZE_NAMES
from blip.data.readers import read_pairs
from blip.data.text import clean_caption
from blip.errors import InputError
from lab.bench.peers_real_arms import ARMS, Arm, Cost, Photos, Setting, cost, photos_of, trained
from lab.bench.peers_real_evaluation import GREEDY, HeldOut
from lab.bench.running import check_counts
from lab.captioned import Gallery, Material, captioned
from lab.downstream.reporting import table
from lab.inference import Machine
from lab.pair_prints import image_digests, images_print, pairs_print
from lab.records import WRITTEN, record, write_record
from lab.runs import Home, Run, Step

SAMPLES, OPERATIONS = "equal samples", "equal operations"
HOW = (
    "From random weights, one seed, a small model and a small budget: the figures say how fast each learns at this "
    "scale, not which is better at any other. All arms read the same photos, crops and token ids in the same order, "
    "with the same optimizer, schedule and batch; no rate was tuned for any. BLIP: ITC, ITM and LM with the defaults "
    "of `lab pretrain`, a queue of a tenth of the pairs. CLIP and CoCa: open_clip's models and losses, texts padded "
    "to 30 tokens. Operations are those of the matrix products of forward and backward, counted by torch on three "
    "batches; optimizer and teacher update are not among them. At equal operations each arm takes as many as the "
    "dearest one at equal samples. Captions are greedy, 5 to 20 tokens, by the same step function. CIDEr-D is from 0 "
    "to 10, all else are shares; chance_cider is that of another photo's human caption. last_losses are weighted: "
    "CoCa's lm counts twice."
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train BLIP, CLIP and CoCa of like size from scratch on your photos and compare retrieval and captions."""

    data: str
    """Pairs to train on, in any form that lab pretrain reads."""
    val: str
    """Pairs of other photos to measure on, several captions a photo or one."""
    size: str = "tiny"
    """Size of BLIP by name; CLIP and CoCa have as many layers, as wide (CoCa's text layers are halved into two kinds)."""
    samples: int = 14_976
    """Pairs each arm is trained on at equal samples; at equal operations the cheaper ones take more. The default, an
    epoch of Flickr8k's 15,000, takes about 40 minutes of one core."""
    batch: int = 64
    """Pairs a step."""
    peak: float = 3e-4
    """Highest learning rate, of all arms."""
    vocab_size: int = 4000
    """Tokens of the vocabulary that is trained on the captions."""
    images: int = 300
    """Photos to measure on: the first ones of --val, all where there are fewer."""
    captions: int = 5
    """Captions a photo that are searched among; all are references of the generated one."""
    k: int = 16
    """Candidates of ITC that BLIP's ITM ranks anew."""
    workers: int = 1
    """Threads that open images."""
    device: str = "cpu"
    """cpu or cuda."""
    seed: int = 0
    """Of initial weights, order, crops and draws."""
    out: Path | None = None
    """The record, JSON; by default peers-real-DEVICE.json among the benches' records."""


def main(options: Options) -> int:
    """Do what is not done yet, print a table, write the record."""
    _check(options)
    bench = Bench(options, Home.default())
    result = bench.result()
    settings = asdict(options) | {"out": _out(options).name}
    config = {"options": settings, "decoding": str(GREEDY)}
    write_record(_out(options), record("bench-peers-real", result, seed=options.seed, config=config))
    print(_said(result))
    print(f"record: {_out(options)}")
    return 0


class Bench:
    """Photos and runs of one comparison; data and val are fingerprints of what is trained and measured on."""

    def __init__(self, options: Options, home: Home) -> None:
        self.options, self.home = options, home
        pairs = read_pairs(options.data)
        texts = [clean_caption(pairs[row].caption) for row in range(len(pairs))]
        self.photos: Photos = photos_of(pairs, texts, options.size, options.vocab_size)
        machine = Machine(batch=32, workers=options.workers, device=options.device)
        self.held_out = HeldOut(_gallery(options), options.captions, options.k, machine)
        self.data = pairs_print(pairs, image_digests(pairs.images, options.data))
        self.val = images_print(self.held_out.photos.images, options.val)
        self.setting = Setting(**{one.name: getattr(options, one.name) for one in fields(Setting)})

    def result(self) -> dict[str, Any]:
        """Both comparisons; an arm that takes the same steps in both is one run."""
        epoch, steps = self.photos.epoch(self.setting), max(1, self.options.samples // self.options.batch)
        costs = {arm.name: self.cost(arm) for arm in ARMS}
        most = max(own.total(steps, epoch) for own in costs.values())
        rows = [self._row(SAMPLES, arm, steps, costs[arm.name]) for arm in ARMS]
        rows += [self._row(OPERATIONS, arm, costs[arm.name].steps(most, epoch), costs[arm.name]) for arm in ARMS]
        images = self.held_out.searched.images
        return {
            "how": HOW,
            "trained_on": {"pairs": len(self.photos.pairs), "photos": len(self.photos.pairs.images)},
            "measured_on": {"photos": len(images), "texts": sum(len(image.captions) for image in images)},
            "shortlist": self.options.k,
            "chance": self.held_out.chance,
            "arms": rows,
        }

    def cost(self, arm: Arm) -> Cost:
        """What a step of an arm takes, counted once."""
        step = Step(kind="peers-real-cost", config=self._config(arm))
        return Cost(**self.home.run(step, lambda folder: cost(arm, self.photos, self.setting)).result)

    def run(self, arm: Arm, steps: int) -> Run:
        """The arm trained for so many steps and measured, done now if it is not done."""
        seen = {"val": self.val, "captions": self.options.captions, "k": self.options.k}
        step = Step(kind="peers-real", config=self._config(arm) | seen | {"steps": steps})
        work = lambda folder: trained(arm, self.photos, self.held_out, self.setting, steps, folder)
        return self.home.run(step, work)

    def _config(self, arm: Arm) -> dict[str, Any]:
        deciding = {name: value for name, value in asdict(self.setting).items() if name != "workers"}
        deciding |= {"data": self.data, "pairs": len(self.photos.pairs)}
        return deciding | {"arm": arm.name, "vocabulary": self.photos.tokenizer.fingerprint}

    def _row(self, comparison: str, arm: Arm, steps: int, own: Cost) -> dict[str, Any]:
        print(f"{comparison}: {arm.name}, {steps} steps", flush=True)
        run, epoch = self.run(arm, steps), self.photos.epoch(self.setting)
        about = {
            "comparison": comparison,
            "arm": arm.name,
            "steps": steps,
            "samples": steps * self.options.batch,
            "teraflop": round(own.total(steps, epoch) / 1e12, 3),
            "gigaflop_a_sample": round(own.total(steps, epoch) / (steps * self.options.batch) / 1e9, 2),
            "seconds": run.seconds,
        }
        return about | run.result


def _gallery(options: Options) -> Gallery:
    images = captioned(options.val, Material(), "val").images[: options.images]
    if lacking := [image.image_id for image in images if not image.captions]:
        raise InputError(f"The image {lacking[0]!r} of {options.val} has no caption; leave it out of the data.")
    return Gallery(images)


def _check(options: Options) -> None:
    if options.size not in SIZE_NAMES:
        raise InputError(f"There is no size {options.size!r}; choose one of {', '.join(SIZE_NAMES)}.")
    check_counts(options, "batch", "images", "captions", "k", "workers")
    if options.samples < 2 * options.batch:
        raise InputError(f"--samples {options.samples} is less than two batches of {options.batch}; give more.")
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        raise InputError("This machine has no usable GPU; give --device cpu.")


def _out(options: Options) -> Path:
    return options.out or WRITTEN / "bench" / f"peers-real-{options.device.split(':')[0]}.json"


def _said(result: dict[str, Any]) -> str:
    seen = result["measured_on"]
    lines = [f"{seen['photos']} photos, {seen['texts']} texts; tr: a text for a photo, ir: a photo for a text"]
    for comparison in (SAMPLES, OPERATIONS):
        rows = [row for row in result["arms"] if row["comparison"] == comparison]
        spent = (f"{row['arm']} {row['samples']:,} samples, {row['teraflop']:.1f} teraflop" for row in rows)
        columns = {name: column for row in rows for name, column in _columns(row).items()}
        lines += [f"{comparison}: {'; '.join(spent)}", table(columns | {"chance": result["chance"]})]
    return "\n".join(lines)


def _columns(row: dict[str, Any]) -> dict[str, dict[str, float]]:
    """An arm's column, and of BLIP a second one, re-ranked by ITM; captions stand in the first."""
    names = {"itc": row["arm"], "reranked": f"{row['arm']}+ITM"}
    columns = {names[ranking]: dict(recalls) for ranking, recalls in row["retrieval"].items()}
    if row["captions"]:
        columns[row["arm"]] |= {name: row["captions"][name] for name in ("cider", "bleu4")}
    return columns
