"""`lab finetune nlvr`: a model that judges statements about two images (paper 5.4)."""

from dataclasses import dataclass, field
from pathlib import Path

from blip.errors import InputError
from blip.tasks.nlvr_training import SWAPPED
from lab.downstream.nlvr import DROP_PATH, HELD_OUT, TRAINING, begun, judged, measures, tuned
from lab.downstream.nlvr_rows import StatementSet, file_statements, world_statements
from lab.downstream.reporting import table
from lab.finetuning import Tuning, leave, start_any
from lab.inference import Machine
from lab.made_of import digest, made_of
from lab.world.sets import World


@dataclass(frozen=True, kw_only=True)
class Options:
    """Fine-tune a pre-trained model to tell whether a statement is true of two images."""

    out: Path
    """Folder for checkpoints, metrics, the trained model and summary.json; run again to continue."""
    data: str | None = None
    """NLVR2's train file, or the published nlvr_train.json."""
    images: str | None = None
    """Folder of the images of --data and --val."""
    val: str | None = None
    """NLVR2's dev file, or the published nlvr_dev.json: measured before and after."""
    world: str | None = None
    """Train and measure on the generated world in place of --data: nano, tiny, small, medium or rich.
    With the weights that come along, --steps 1500 --peak 3e-4 is enough at nano."""
    world_statements: int = TRAINING
    """Statements of the generated world to train on, of four pairs of pictures each."""
    swapped: float = SWAPPED
    """Share of the training examples whose images change places, and the words left and right with them."""
    drop_path: float = DROP_PATH
    """Stochastic depth of the image encoder."""
    tuning: Tuning = field(default_factory=lambda: Tuning(epochs=15, peak=3e-5))
    """How it is trained; the published batch is 256, the images 384 px."""


def main(options: Options) -> int:
    """Train, measure on the held-out statements, save the model and summary.json."""
    if (options.world is None) == (options.data is None):
        raise InputError("Where do the statements come from? Give either --data with --images, or --world.")
    training, held_out = _sets(options)
    begin, tuning = start_any(options.tuning, training.texts), options.tuning
    model = begun(begin.model, drop_path=options.drop_path).to(tuning.device)
    machine = Machine(
        batch=tuning.batch, workers=tuning.workers, precision=tuning.precision, device=tuning.device
    )
    evaluate = (lambda: measures(held_out, judged(model, begin.tokenizer, held_out, machine))) if held_out else None
    result = tuned(
        model,
        begin.tokenizer,
        training,
        tuning,
        model.config.vision.image_size,
        swapped=options.swapped,
        evaluate=evaluate,
        out=options.out,
        made_of=made_of(
            begin,
            training.rows(),
            share_swapped=options.swapped,
            drop_path=options.drop_path,
            pictures=digest(training.shown),  # by itself: checkpoints of before do not say it, and go on
        ),
        measured_on={"statements": digest(held_out.rows()), "pictures": digest(held_out.shown)} if held_out else None,
    )
    if held_out:
        result["chance"] = held_out.chance()
        print(f"{len(held_out.ids):,} held-out examples, shares judged rightly")
        print(table({name: result[name] for name in ("before", "after", "chance")}))
    print(f"model: {leave(options.out, 'nlvr', model, begin, result, options)}")
    return 0


def _sets(options: Options) -> tuple[StatementSet, StatementSet | None]:
    if options.world is not None:
        world = World.of(options.world)
        training = world_statements(world, options.world_statements, "train")
        return training, world_statements(world, HELD_OUT, "held-out")
    if options.data is None or options.images is None:
        raise InputError("--data needs the folder of its images; give --images.")
    training = file_statements(options.data, options.images)
    held_out = file_statements(options.val, options.images) if options.val else None
    for name, one in (("--data", training), ("--val", held_out)):
        if one and not one.told:
            raise InputError(
                f"Some statements of {name} have no label; give a split whose labels are public."
            )
    return training, held_out
