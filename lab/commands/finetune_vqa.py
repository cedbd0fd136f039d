"""`lab finetune vqa`: a model that answers questions about images (paper 5.3)."""

from dataclasses import dataclass, field
from pathlib import Path

from blip.answering import Ranker
from blip.data.benchmarks.answers import read_answer_list, write_answer_list
from blip.errors import InputError
from lab.downstream.reporting import table
from lab.downstream.vqa import (
    ANSWERS,
    DROP_PATH,
    HELD_OUT,
    TRAINING,
    answered,
    begun,
    chance,
    measures,
    tuned,
)
from lab.downstream.vqa_rows import QuestionSet, file_questions, world_questions
from lab.finetuning import Tuning, leave, start_any
from lab.inference import Machine
from lab.made_of import digest, made_of
from lab.world.questions import answer_list
from lab.world.sets import World


@dataclass(frozen=True, kw_only=True)
class Options:
    """Fine-tune a pre-trained model to answer questions; a VQA model is trained further.

    Your own data are one table: lab finetune vqa --data my.csv --weights hf:Salesforce/blip-vqa-base --out my-vqa,
    with the columns image, question and answer, a row for each person who answered.
    """

    out: Path
    """Folder for checkpoints, metrics, the trained model, answers.json and summary.json; run again to continue."""
    data: tuple[str, ...] = ()
    """Questions: a CSV or TSV with image, question, answer; VQAv2's question files; the published vqa_*.json and
    vg_qa.json; Visual Genome's question_answers.json; any of them together."""
    annotations: tuple[str, ...] = ()
    """VQAv2's annotation files, in the order of its question files."""
    images: str | None = None
    """Folder that the image paths of --data start from; by default that of each file."""
    genome_images: str | None = None
    """Folder of Visual Genome's images; by default --images."""
    val: tuple[str, ...] = ()
    """Questions as --data, measured before and after by ranking."""
    val_annotations: tuple[str, ...] = ()
    """VQAv2's annotation files of --val."""
    world: str | None = None
    """Train and measure on the generated world in place of --data: nano, tiny, small, medium or rich.
    With the weights that come along, --steps 1500 --peak 1e-3 is enough at nano."""
    world_scenes: int = TRAINING
    """Scenes of the generated world to train on, with some questions each."""
    answers: Path | None = None
    """JSON list of the answers that are ranked, as the published answer_list.json; by default those of --data."""
    at_least: int = 1
    """Questions of --data that must have an answer for it to be ranked (VQAv2: 9 gives the usual list)."""
    smoothing: float = 0.1
    """Label smoothing."""
    drop_path: float = DROP_PATH
    """Stochastic depth of the image encoder."""
    tuning: Tuning = field(default_factory=lambda: Tuning(epochs=10, peak=2e-5))
    """How it is trained; the published batch is 256, the images 480 px."""


def main(options: Options) -> int:
    """Train, measure on the held-out questions, save the model, the answers that it ranks and summary.json."""
    if (options.world is None) == (not options.data):
        raise InputError("Where do the questions come from? Give either --data or --world.")
    training, held_out = _sets(options)
    answers = _answers(options, training)
    training = training.spelled(answers)
    begin = start_any(options.tuning, training.texts())
    model = begun(begin.model, drop_path=options.drop_path).to(options.tuning.device)
    ranker = Ranker(model, begin.tokenizer, answers)
    tuning = options.tuning
    machine = Machine(
        batch=tuning.batch, workers=tuning.workers, precision=tuning.precision, device=tuning.device
    )
    evaluate = (lambda: measures(held_out, answered(model, begin.tokenizer, held_out, ranker, machine))) if held_out else None
    result = tuned(
        model,
        begin.tokenizer,
        training,
        tuning,
        model.config.vision.image_size,
        smoothing=options.smoothing,
        evaluate=evaluate,
        out=options.out,
        made_of=made_of(begin, training.rows(), label_smoothing=options.smoothing, drop_path=options.drop_path),
        measured_on={"questions": digest(held_out.rows()), "answers": digest(answers)} if held_out else None,
    )
    write_answer_list(options.out / ANSWERS, answers)
    if held_out:
        result["chance"] = chance(held_out)
        print(f"{len(held_out.ids):,} held-out questions, shares answered rightly")
        print(table({name: result[name] for name in ("before", "after", "chance")}))
    print(f"model: {leave(options.out, 'vqa', model, begin, result, options)}")
    return 0


def _sets(options: Options) -> tuple[QuestionSet, QuestionSet | None]:
    if options.world is not None:
        world = World.of(options.world)
        training = world_questions(world, options.world_scenes, "train")
        return training, world_questions(world, HELD_OUT, "held-out")
    training = file_questions(options.data, options.annotations, options.images, options.genome_images)
    if not training.answered:
        raise InputError("Some questions of --data have no answer to learn; give --annotations.")
    if not options.val:
        return training, None
    held_out = file_questions(options.val, options.val_annotations, options.images, options.genome_images)
    if not held_out.answered:
        raise InputError("Some questions of --val have no answer to compare with; give --val-annotations.")
    return training, held_out


def _answers(options: Options, training: QuestionSet) -> list[str]:
    if options.answers is not None:
        return read_answer_list(options.answers)
    if options.world is not None:
        return list(answer_list(World.of(options.world).level))
    return training.answer_list(options.at_least)
