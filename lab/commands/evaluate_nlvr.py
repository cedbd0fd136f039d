"""`lab evaluate nlvr`: verdicts on statements about two images, accuracy and consistency (paper 5.4, Table 8)."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from blip.checkpoint.opening import open_any
from blip.data.files import replacing
from blip.errors import InputError
from lab.downstream.nlvr import HELD_OUT, judged, measures, spread, trained
from lab.downstream.nlvr_rows import StatementSet, file_statements, world_statements
from lab.downstream.reporting import report
from lab.inference import Machine, Weights, begin_evaluation, together, write_summary
from lab.world.sets import World

PREDICTIONS = "predictions.csv"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Judge statements about two images; where labels are known, accuracy and consistency.

    The images keep their order. The published code swaps them at random here too, as in training, so that its
    figure changes a little from run to run.
    """

    out: Path
    """Folder for predictions.csv (identifier and True or False, as NLVR2's own script reads them) and summary.json."""
    weights: Weights
    """An NLVR model: what lab finetune nlvr left, or the published model_base_nlvr.pth."""
    data: str | None = None
    """NLVR2's dev or test1 file, or the published nlvr_dev.json or nlvr_test.json."""
    images: str | None = None
    """Folder of the images of --data."""
    world: str | None = None
    """Held-out statements of the generated world in place of --data: nano, tiny, small, medium or rich."""
    world_statements: int = HELD_OUT
    """Statements of the generated world, of four pairs of pictures each."""
    machine: Machine = field(default_factory=Machine)
    """How the model runs."""


def main(options: Options) -> int:
    """Judge, write the predictions, measure where labels are known."""
    if (options.world is None) == (options.data is None):
        raise InputError("Where do the statements come from? Give either --data with --images, or --world.")
    with together(options.machine):
        data = _statements(options)
        opened = open_any(
            options.weights.weights, vocab=options.weights.vocab, image_size=options.weights.image_size
        ).opened
        model = trained(opened, options.weights.weights).to(options.machine.device)
        begin_evaluation("evaluate nlvr", options, model=opened.fingerprint)
        verdicts = judged(model, opened.tokenizer, data, options.machine)
    write_predictions(options.out / PREDICTIONS, zip(data.ids, verdicts, strict=True))
    print(f"predictions: {options.out / PREDICTIONS}")
    counted = {"examples": len(data.ids), "statements": len(set(data.about))}
    if data.told:
        found = measures(data, verdicts)
        best = dict.fromkeys(found, 1.0) if options.world else None  # the pictures decide each truth
        report(
            options.out,
            "nlvr",
            found,
            options,
            model=opened.fingerprint,
            chance=data.chance(),
            ceiling=best,
            counted=counted,
            spread=spread(data, verdicts),
        )
        return 0
    path = write_summary(
        options.out, "evaluate nlvr", {"counted": counted}, options, model=opened.fingerprint
    )
    print(f"{len(verdicts):,} examples, not all with labels to compare with\nsummary: {path}")
    return 0


def write_predictions(path: Path, verdicts: Iterable[tuple[str, bool]]) -> None:
    """A CSV without header, identifier and True or False, whole or not at all."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(verdicts)
    with replacing(path) as file:
        file.write(text.getvalue().encode("utf-8"))


def _statements(options: Options) -> StatementSet:
    if options.world is not None:
        return world_statements(World.of(options.world), options.world_statements, "held-out")
    if options.data is None or options.images is None:
        raise InputError("--data needs the folder of its images; give --images.")
    return file_statements(options.data, options.images)
