"""`lab pretrain`: ITC, ITM and LM on your own image-text pairs (paper 3.2)."""

from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from blip.capfilt.identity import data_sha256
from blip.checkpoint import Card, Loaded, save
from blip.config import SHARING, SIZE_NAMES, BlipConfig, named, to_json
from blip.data.loading import Loader
from blip.data.pairset import PairSet, Selection
from blip.data.sources import PhotoSource
from blip.data.transforms import PRETRAIN_SCALE, train_transform
from blip.distributed import choose_gpu, is_main, process_group
from blip.errors import InputError
from blip.feed import PairFeed
from blip.model import BLIP
from blip.schedules import Schedule
from blip.tasks.pretrain import ObjectiveConfig, Pretrain
from blip.tokenizer import Tokenizer
from blip.train import TrainConfig, train
from lab import pretrained
from lab.ablation.start import Start, refuse_other_words
from lab.finetuning import Clip, limit
from lab.held_out import check_held_out, held_out_batch, held_out_losses, split_held_out
from lab.made_of import made_of, of_training
from lab.progress import bar
from lab.reading import Reading
from lab.records import SUMMARY, begin_in, record, write_record
from lab.unknown_words import NEW, check_words
from lab.vocabulary import learnt


@dataclass(frozen=True, kw_only=True)
class Options:
    """Pre-train a model with ITC, ITM and LM on image-text pairs, in one process or in those of torchrun."""

    data: str
    """Pairs: tars ('shards/*.tar', quoted), a BLIP or COCO JSON list, CSV, TSV, Parquet, or a folder of images."""
    reading: Reading = field(default_factory=Reading)
    """How a table is read."""
    out: Path
    """Folder for checkpoints, metrics, the trained model and summary.json; run again to continue."""
    size: str = "tiny"
    """Model size: nano, tiny, small, base (B/16) or large (L/16)."""
    shared: str = "all-but-sa"
    """Parts shared by text encoder and decoder: all, all-but-ca, all-but-sa (the paper's) or none."""
    image_size: int | None = None
    """Side of the training images in pixels; by default the size's own."""
    vocab: Path | None = None
    """A BERT vocab.txt; by default a WordPiece vocabulary is learnt from the captions, a million at most."""
    vocab_size: int = 4000
    """Tokens of a vocabulary trained on the captions."""
    init_vision: Path | None = None
    """timm or DeiT ViT weights that the image encoder starts from (the paper does)."""
    init_text: Path | None = None
    """BERT weights that the text transformer starts from (the paper does), the LM head too where they have BERT's,
    with BERT's vocab.txt as --vocab."""
    steps: int = 1000
    """Optimizer steps."""
    batch: int = 64
    """Pairs a micro-batch, of all processes together."""
    accumulate: int = 1
    """Micro-batches an optimizer step."""
    queue: int = 57_600
    """Keys of past batches that ITC compares with; keep it below a tenth of the pairs."""
    momentum: float = 0.995
    """Decay of the momentum encoders."""
    teacher_start: int | None = None
    """Steps before momentum encoders and queue come in; until then ITC compares within the batch.
    By default 0, as published, with --init-vision and --init-text, else two epochs, at most half of the steps."""
    alpha: float = 0.4
    """Weight of the momentum encoder's own distribution in the ITC targets."""
    alpha_ramp: int | None = None
    """Steps over which alpha rises from 0, beginning where momentum encoders come in; by default two epochs, as published."""
    peak: float = 3e-4
    """Highest learning rate."""
    warmup: int | None = None
    """Steps of linear warm-up; by default 3,000 as published, at most a tenth of the steps."""
    schedule: str = "cosine"
    """cosine, decay (a factor an epoch, as the paper) or constant."""
    decay: float = 0.9
    """Factor an epoch of schedule decay: 0.9 in the published code, 0.85 in the paper's text."""
    weight_decay: float = 0.05
    """Weight decay of matrices."""
    clip: Clip = 1.0
    """Largest norm of the gradient, or none, as the published code."""
    precision: str = "float32"
    """float32, tf32 (float32 with TF32 matrix products on a GPU) or bf16 (autocast)."""
    checkpoint_blocks: int = 0
    """Last image encoder blocks recomputed in the backward pass: less memory, more time."""
    compile_blocks: bool = False
    """Compile the image encoder's blocks: for a GPU in bf16; the first step waits for the compiler."""
    shards_per_epoch: int | None = None
    """Files read in an epoch, in rotation (the paper rotates a fifth of LAION each epoch)."""
    held_out: int = 64
    """Pairs, of as many images, kept out of training to measure the losses before and after; 0 measures nothing."""
    local_negatives: bool = False
    """Draw hard negatives from a process's own pairs, as published, not from those of all processes."""
    keyed_dropout: bool = False
    """Dropout drawn by sample: the same on any number of processes; slow on a GPU."""
    not_finite: str = "stop"
    """What a loss or gradient that is not finite does: stop, or skip the step. Its batch is saved in both cases."""
    save_seconds: float = 120.0
    """Seconds between resumable checkpoints."""
    kept: int = 2
    """Checkpoints kept, the last ones."""
    wait_seconds: float = 600.0
    """Seconds that a process may keep the others waiting before the run ends."""
    profile: Path | None = None
    """Folder for a trace of a few steps, for Perfetto or chrome://tracing."""
    workers: int = 2
    """Threads that decode and augment images, in each process."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    """cpu or cuda."""
    seed: int = 0
    """Of initial weights, order, augmentation and draws."""


def main(options: Options) -> int:
    """Train, measure the held-out losses before and after, save the model and summary.json."""
    _refuse(options)
    choose_gpu(options.device)
    pairs = options.reading.pairs(options.data)
    training, held = split_held_out(pairs, options.held_out, options.data)
    tokenizer = _tokenizer(options, training)
    begin = Start.of(options.init_vision, options.init_text)
    model = _model(options, tokenizer, begin)
    batch = held_out_batch(held, tokenizer, model.config.vision.image_size)
    source = PhotoSource(training, train_transform(model.config.vision.image_size, PRETRAIN_SCALE))
    loader = Loader(
        source,
        options.batch,
        seed=options.seed,
        workers=options.workers,
        shards_per_epoch=options.shards_per_epoch,
    )
    objectives = _objectives(options, len(loader))
    task = Pretrain(model, objectives, local_negatives=options.local_negatives).to(options.device)
    if is_main():
        begin_in(options.out, "pretrain")
    before = held_out_losses(model, batch, options.precision)
    with process_group(options.device, options.wait_seconds):
        origin = _origin(options, Loaded(model, tokenizer, Card(stage="new"), begin.fingerprint), pairs)
        rows = _trained(options, task, PairFeed(loader, tokenizer), len(loader), origin)
    after = held_out_losses(model, batch, options.precision)
    card = Card(stage="pretrained", notes={"data": options.data, "steps": options.steps})
    path = save(options.out / "model.safetensors", model, tokenizer, card)
    result = pretrained.summary(before, after, rows, held=len(held), pairs=pairs, source=source)
    settings = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(options).items()}
    config = {"options": settings, "model": to_json(model.config)}
    write_record(options.out / SUMMARY, record("pretrain", result, seed=options.seed, config=config) | result)
    pretrained.say(result, path)
    return 0


def _trained(
    options: Options, task: Pretrain, feed: PairFeed, batches: int, origin: dict[str, Any]
) -> list[dict[str, float]]:
    """The logged rows; the main process shows a bar."""
    config = _training(options, batches)
    known = origin | of_training(config)
    run = partial(train, task, feed, config, out=options.out, profile=options.profile, made_of=known)
    if not is_main():
        return run()
    with bar(options.steps, "pretrain") as progress:
        return run(progress=progress)


def _origin(options: Options, begin: Loaded, pairs: PairSet) -> dict[str, Any]:
    """What the model comes from, but for the configuration of the training."""
    data = (data_sha256(pairs), options.held_out)  # a hash of ten million pairs takes seconds
    return made_of(begin, data, momentum=options.momentum, local_negatives=options.local_negatives)


def _tokenizer(options: Options, training: Selection) -> Tokenizer:
    if options.vocab is not None:
        known = Tokenizer.from_vocab(options.vocab)
        check_words(known, (pair.caption for pair in training), options.data, remedy=NEW)
        return known
    return learnt([training], options.vocab_size)


def _refuse(options: Options) -> None:
    """Raise for options that cannot be, before data are read."""
    check_held_out(options.held_out)
    refuse_other_words(options.init_text, options.vocab)
    _objectives(options, 1)
    _config(options, options.vocab_size)
    _training(options, 1)


def _config(options: Options, vocab_size: int) -> BlipConfig:
    if options.size not in SIZE_NAMES or options.shared not in SHARING:
        known = SIZE_NAMES if options.size not in SIZE_NAMES else tuple(SHARING)
        wrong = options.size if options.size not in SIZE_NAMES else options.shared
        raise InputError(f"There is no {wrong!r}; choose one of {', '.join(known)}.")
    shared = SHARING[options.shared]
    return named(options.size, image_size=options.image_size, vocab_size=vocab_size, shared=shared)


def _model(options: Options, tokenizer: Tokenizer, begin: Start) -> BLIP:
    torch.manual_seed(options.seed)
    model = BLIP(_config(options, len(tokenizer)))
    begin.fill(model)
    return model


def _objectives(options: Options, batches: int) -> ObjectiveConfig:
    return ObjectiveConfig(
        queue=options.queue,
        momentum=options.momentum,
        alpha=options.alpha,
        teacher_start=_teacher_start(options, batches),
        seed=options.seed,
    )


def _teacher_start(options: Options, batches: int) -> int:
    if options.teacher_start is not None:
        return options.teacher_start
    trained = options.init_vision and options.init_text
    return 0 if trained else min(2 * _epoch(options, batches), options.steps // 2)


def _epoch(options: Options, batches: int) -> int:
    """Optimizer steps of an epoch."""
    return max(1, batches // max(1, options.accumulate))


def _training(options: Options, batches: int) -> TrainConfig:
    epoch = _epoch(options, batches)
    schedule = Schedule(
        steps=options.steps,
        peak=options.peak,
        warmup=min(3000, options.steps // 10) if options.warmup is None else options.warmup,
        kind=options.schedule,
        decay=options.decay,
        epoch_steps=epoch,
        alpha=options.alpha,
        alpha_ramp=2 * epoch if options.alpha_ramp is None else options.alpha_ramp,
        alpha_from=_teacher_start(options, batches),
    )
    return TrainConfig(
        schedule=schedule,
        weight_decay=options.weight_decay,
        clip=limit(options.clip),
        accumulate=options.accumulate,
        checkpoint_blocks=options.checkpoint_blocks,
        compile_blocks=options.compile_blocks,
        precision=options.precision,
        seed=options.seed,
        save_seconds=options.save_seconds,
        kept=options.kept,
        not_finite=options.not_finite,
        keyed_dropout=options.keyed_dropout,
    )
