"""What every downstream fine-tuning shares: its options, where it starts, how it is trained, what it leaves."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from blip.checkpoint import Card, Loaded, save
from blip.checkpoint.opening import open_any
from blip.checkpoint.own import Opened, require_blip
from blip.checkpoint.stored import Model, Training
from blip.config import SIZE_NAMES, named, to_json
from blip.distributed import choose_gpu, is_main, measuring, process_group
from blip.errors import InputError
from blip.model import BLIP
from blip.resume import refuse_another
from blip.schedules import Schedule
from blip.tasks.batch import Feed
from blip.tokenizer import Tokenizer
from blip.train import TrainConfig, train
from lab.before import measured_before
from lab.made_of import of_training
from lab.progress import bar
from lab.records import SUMMARY, begin_in, record, write_record

WAIT_SECONDS = 600.0  # that a process of torchrun may keep the others waiting before the run ends

NEW_SIZE = "tiny"
"""Of a model from nothing, where no size is given."""

Clip = float | Literal["none"]
"""The largest norm of a gradient as an option takes it."""


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """How a model is fine-tuned."""

    weights: str | None = None
    """Pre-trained weights to start from: our .safetensors, a published .pth, a folder in transformers' layout, or
    hf:NAME. Without them a new model of --size is trained from nothing."""
    size: str | None = None
    """Size of a model from nothing: nano, tiny, small, base (B/16) or large (L/16); by default tiny."""
    image_size: int | None = None
    """Side of the images in pixels; by default that of the weights, or the size's own."""
    vocab: Path | None = None
    """A BERT vocab.txt, for weights that come without one (published .pth)."""
    vocab_size: int = 4000
    """Tokens of a vocabulary trained on the texts, for a model from nothing."""
    epochs: float = 5.0
    """Passes over the training data."""
    steps: int | None = None
    """Optimizer steps, in place of --epochs."""
    batch: int = 32
    """Samples a micro-batch, of all processes together."""
    accumulate: int = 1
    """Micro-batches an optimizer step."""
    peak: float = 1e-5
    """Highest learning rate; it falls to 0 along a cosine (published: 1e-5, VQA 2e-5, NLVR2 3e-5)."""
    warmup: int = 0
    """Steps of linear warm-up (published: none)."""
    weight_decay: float = 0.05
    """Weight decay of matrices."""
    clip: Clip = 1.0
    """Largest norm of the gradient, or none, as the published code."""
    precision: str = "float32"
    """float32, tf32 (float32 with TF32 matrix products on a GPU) or bf16 (autocast)."""
    checkpoint_blocks: int = 0
    """Last image encoder blocks recomputed in the backward pass: less memory, more time (published retrieval: 4 of
    base, 10 to 12 of large)."""
    keyed_dropout: bool = False
    """Dropout drawn by sample: the same on any number of processes; slow on a GPU."""
    save_seconds: float = 120.0
    """Seconds between resumable checkpoints."""
    kept: int = 2
    """Checkpoints kept, the last ones."""
    workers: int = 2
    """Threads that decode and augment images."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    """cpu or cuda."""
    seed: int = 0
    """Of new weights, order, augmentation and draws."""

    def __post_init__(self) -> None:
        if self.size is not None and self.size not in SIZE_NAMES:
            raise InputError(f"There is no size {self.size!r}; choose one of {', '.join(SIZE_NAMES)}.")
        if self.size is not None and self.weights is not None:
            raise InputError(f"--size {self.size} is of a model from nothing, and --weights have a size of their own; leave one of them out.")
        if not self.epochs > 0 or (self.steps is not None and self.steps < 1):
            raise InputError("Training needs --epochs above 0, or --steps of 1 or more.")
        for name in ("batch", "accumulate", "workers", "vocab_size"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name.replace('_', '-')} {getattr(self, name)} cannot be; give 1 or more.")
        self.config(1)

    def schedule(self, batches: int, *, alpha: float = 0.0) -> Schedule:
        """The schedule for data of so many micro-batches an epoch; alpha ramps over one epoch, as published."""
        epoch = max(1, batches // self.accumulate)
        steps = self.steps or max(1, round(self.epochs * epoch))
        return Schedule(
            steps=steps, peak=self.peak, floor=0.0, warmup=self.warmup, alpha=alpha, alpha_ramp=epoch if alpha else 0
        )

    def config(self, batches: int, *, alpha: float = 0.0) -> TrainConfig:
        """The training configuration for data of so many micro-batches an epoch."""
        return TrainConfig(
            schedule=self.schedule(batches, alpha=alpha),
            weight_decay=self.weight_decay,
            clip=limit(self.clip),
            accumulate=self.accumulate,
            checkpoint_blocks=self.checkpoint_blocks,
            keyed_dropout=self.keyed_dropout,
            save_seconds=self.save_seconds,
            kept=self.kept,
            precision=self.precision,
            seed=self.seed,
        )


def limit(clip: Clip) -> float | None:
    """The largest norm of a gradient as a training takes it."""
    return clip if isinstance(clip, float | int) else None


def start(tuning: Tuning, texts: Iterable[str]) -> Loaded:
    """The model that fine-tuning starts from: weights of any form, or new ones with a vocabulary of the texts."""
    return require_blip(start_any(tuning, texts), tuning.weights or "The new model")


def start_any(tuning: Tuning, texts: Iterable[str]) -> Opened:
    """As `start`, of any architecture: a task's own weights (VQA, NLVR) may be trained further."""
    return _begin(tuning, texts)[0]


def start_with_training(tuning: Tuning, texts: Iterable[str]) -> tuple[Loaded, Training | None]:
    """As `start`, and the momentum encoders and queues that a published .pth may bring along."""
    opened, training = _begin(tuning, texts)
    return require_blip(opened, tuning.weights or "The new model"), training


def _begin(tuning: Tuning, texts: Iterable[str]) -> tuple[Opened, Training | None]:
    choose_gpu(tuning.device)
    torch.manual_seed(tuning.seed)
    if tuning.weights is not None:
        found = open_any(tuning.weights, vocab=tuning.vocab, image_size=tuning.image_size)
        return found.opened, found.training
    tokenizer = Tokenizer.from_vocab(tuning.vocab) if tuning.vocab else Tokenizer.train(texts, tuning.vocab_size)
    config = named(tuning.size or NEW_SIZE, image_size=tuning.image_size, vocab_size=len(tokenizer))
    return Opened(BLIP(config), tokenizer, Card(stage="new"), fingerprint=""), None


def fit(
    name: str,
    task: nn.Module,
    feed: Feed,
    config: TrainConfig,
    out: Path | None,
    *,
    evaluate: Callable[[], dict[str, Any]] | None = None,
    evaluate_start: Callable[[], dict[str, Any]] | None = None,
    made_of: Mapping[str, Any] | None = None,
    measured_on: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Train a task with a progress bar, resumable in `out`; the last row, and what `evaluate` finds before and after.

    evaluate_start: in place of `evaluate` before, for weights that are then used in another way. made_of: what else
    than the configuration the training is made of; InputError where `out` holds one of anything else. measured_on: what
    else decides on what is found before, as JSON values; where it is given, `out` keeps that, and it is not measured again.
    Several processes measure and train together, and behind that the main one goes on alone.
    """
    if out is not None and is_main():
        begin_in(out, f"finetune {name}")
    task.eval()
    first, origin = evaluate_start or evaluate, {**(made_of or {}), **of_training(config)}
    if out is not None and first:
        refuse_another(out, origin)
    told_by = None if measured_on is None else {"training": origin, "measured on": dict(measured_on)}
    with process_group(next(task.parameters()).device.type, WAIT_SECONDS):
        with measuring():
            before = measured_before(out, told_by, first) if first else None
        if is_main():
            with bar(config.schedule.steps, name) as progress:
                rows = train(task, feed, config, out=out, progress=progress, made_of=origin)
        else:
            rows = train(task, feed, config, out=out, made_of=origin)
        task.eval()
        with measuring():
            after = evaluate() if evaluate else None
    return {
        "steps": config.schedule.steps,
        "last": rows[-1] if rows else None,
        "before": before,
        "after": after,
    }


def leave(
    out: Path, name: str, model: Model, start: Loaded | Opened, result: dict[str, Any], options: Any, *, prompt: str = ""
) -> Path:
    """Write model.safetensors and summary.json; the path of the weights."""
    notes = {"task": name, "from": start.fingerprint or "nothing", "steps": result["steps"]}
    path = save(out / "model.safetensors", model, start.tokenizer, Card(stage=name, prompt=prompt, notes=notes))
    config = {"options": plain(asdict(options)), "model": to_json(model.config)}
    written = record(f"finetune {name}", result, seed=options.tuning.seed, config=config)
    write_record(out / SUMMARY, written | result)
    return path


def plain(value: Any) -> Any:
    """Options as JSON values: paths as text, in dictionaries and tuples as well."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value
