"""`lab evaluate vqa`: answers by ranking or generation, their accuracy, and a submission file (paper 5.3, Table 8)."""

from dataclasses import dataclass, field
from pathlib import Path

from blip.checkpoint.opening import open_any
from blip.data.benchmarks.vqa import write_answers
from blip.errors import InputError
from lab.downstream.answering import Answering
from lab.downstream.reporting import report
from lab.downstream.vqa import HELD_OUT, answered, chance, measures, spread, trained
from lab.downstream.vqa_rows import QuestionSet, file_questions, world_questions
from lab.inference import Machine, Weights, begin_evaluation, together, write_summary
from lab.world.sets import World

SUBMISSION = "submission.json"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Answer questions about images; with annotations, the accuracy of the answers."""

    out: Path
    """Folder for submission.json (question_id and answer, as the VQA server wants them) and summary.json."""
    weights: Weights
    """A VQA model: what lab finetune vqa left, or published VQA weights."""
    data: tuple[str, ...] = ()
    """Questions: a CSV or TSV with image, question, answer; VQAv2's question files; the published vqa_*.json."""
    annotations: tuple[str, ...] = ()
    """VQAv2's annotation files, in the order of its question files; without them only submission.json is written."""
    images: str | None = None
    """Folder that the image paths of --data start from; by default that of each file."""
    world: str | None = None
    """Held-out questions of the generated world in place of --data: nano, tiny, small, medium or rich."""
    world_scenes: int = HELD_OUT
    """Scenes of the generated world, with some questions each."""
    answering: Answering = field(default_factory=Answering)
    """Where answers come from."""
    machine: Machine = field(default_factory=Machine)
    """How the model runs."""


def main(options: Options) -> int:
    """Answer, write the submission, measure where answers are known."""
    if (options.world is None) == (not options.data):
        raise InputError("Where do the questions come from? Give either --data or --world.")
    with together(options.machine):
        opened = open_any(
            options.weights.weights, vocab=options.weights.vocab, image_size=options.weights.image_size
        ).opened
        model = trained(opened, options.weights.weights).to(options.machine.device)
        choose = options.answering.choose(model, opened.tokenizer, options.weights.weights, options.world)
        data = _questions(options)
        begin_evaluation("evaluate vqa", options, model=opened.fingerprint)
        said = answered(model, opened.tokenizer, data, choose, options.machine)
    write_answers(options.out / SUBMISSION, zip(data.ids, said, strict=True))
    print(f"submission: {options.out / SUBMISSION}")
    counted = {"questions": len(data.ids)}
    if data.answered:
        found = measures(data, said)
        report(
            options.out,
            "vqa",
            found,
            options,
            model=opened.fingerprint,
            chance=chance(data),
            ceiling=dict.fromkeys(found, 1.0) if options.world else None,  # a scene decides the one answer
            counted=counted,
            spread=spread(data, said),
        )
        return 0
    path = write_summary(options.out, "evaluate vqa", {"counted": counted}, options, model=opened.fingerprint)
    print(f"{len(said):,} questions, not all with answers to compare with\nsummary: {path}")
    return 0


def _questions(options: Options) -> QuestionSet:
    if options.world is not None:
        return world_questions(World.of(options.world), options.world_scenes, "held-out")
    return file_questions(options.data, options.annotations, options.images)
