"""`lab finetune visdial`: a dialog model that ranks candidate answers (paper 5.5)."""

from dataclasses import dataclass, field
from pathlib import Path

from blip.data.benchmarks.visdial import read_relevance, read_visdial
from blip.data.transforms import FINETUNE_SCALE, eval_transform, train_transform
from blip.errors import InputError
from blip.tasks.visdial import MAX_TOKENS, NEGATIVES
from lab.downstream.dialog_rows import DialogSet, visdial_dialogs, world_dialogs
from lab.downstream.reporting import table
from lab.downstream.visdial import HELD_OUT, TRAINING, chance, tuned
from lab.finetuning import Tuning, leave, start
from lab.made_of import made_of


@dataclass(frozen=True, kw_only=True)
class Options:
    """Fine-tune a pre-trained model to rank the candidate answers of visual dialog."""

    out: Path
    """Folder for checkpoints, metrics, the trained model and summary.json; run again to continue."""
    data: Path | None = None
    """visdial_1.0_train.json."""
    images: Path | None = None
    """Folder of the images of --data."""
    val: Path | None = None
    """visdial_1.0_val.json: measured before and after."""
    val_images: Path | None = None
    """Folder of the images of --val; by default --images."""
    relevance: Path | None = None
    """Dense annotations of --val, for NDCG."""
    world: str | None = None
    """Train and measure on the generated world in place of --data: nano, tiny, small, medium or rich."""
    world_dialogs: int = TRAINING
    """Dialogs of the generated world to train on."""
    negatives: int = NEGATIVES
    """False answers drawn for each true one (the published number is not known)."""
    max_tokens: int = MAX_TOKENS
    """Tokens of history, question and answer; the history loses its oldest ones."""
    tuning: Tuning = field(default_factory=lambda: Tuning(epochs=20, peak=2e-5, batch=240))
    """How it is trained (published: batch 240, 20 epochs, learning rate 2e-5)."""


def main(options: Options) -> int:
    """Train, measure on the held-out dialogs, save the model and summary.json."""
    if (options.world is None) == (options.data is None):
        raise InputError("Give either --data with --images, or --world.")
    if options.val is None and (options.relevance or options.val_images):
        raise InputError("--relevance and --val-images belong to --val: give it as well.")
    training, held_out = _sets(options)
    begin = start(options.tuning, training.texts())
    size = begin.model.config.vision.image_size
    transform = eval_transform(size) if options.world else train_transform(size, FINETUNE_SCALE)
    model, result = tuned(
        begin,
        training,
        options.tuning,
        transform,
        negatives=options.negatives,
        max_tokens=options.max_tokens,
        held_out=held_out,
        out=options.out,
        made_of=made_of(begin, training.rows(), negatives=options.negatives, max_tokens=options.max_tokens),
    )
    if held_out is not None:
        result["chance"] = chance(held_out)
        print(table({name: result[name] for name in ("before", "after", "chance")}))
    print(f"model: {leave(options.out, 'visdial', model, begin, result, options)}")
    return 0


def _sets(options: Options) -> tuple[DialogSet, DialogSet | None]:
    if options.world is not None:
        training = world_dialogs(options.world, options.world_dialogs)
        return training, world_dialogs(options.world, HELD_OUT, "held-out")
    if options.data is None or options.images is None:
        raise InputError("--data needs the folder of its images: give --images.")
    training = visdial_dialogs(read_visdial(options.data, options.images), answered=True)
    if options.val is None:
        return training, None
    relevance = read_relevance(options.relevance) if options.relevance else None
    return training, visdial_dialogs(read_visdial(options.val, options.val_images or options.images), relevance)
