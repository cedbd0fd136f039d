"""`lab evaluate video-qa`: answers to questions about videos, zero-shot from a VQA model (paper 5.6, Table 11)."""

from dataclasses import dataclass, field
from pathlib import Path

from blip.checkpoint.opening import open_any
from blip.data.benchmarks.reading import write_results
from blip.data.benchmarks.videos import read_video_names, read_video_questions
from blip.data.video import QUESTION_FRAMES
from blip.metrics.vqa import exact_accuracy
from lab.downstream.answering import Answering
from lab.downstream.clip_rows import Footage
from lab.downstream.reporting import report
from lab.downstream.video_qa import (
    ClipQuestionSet,
    answered,
    chance,
    file_clip_questions,
    spread,
    world_clip_questions,
)
from lab.downstream.vqa import trained
from lab.inference import Machine, Weights, begin_evaluation, together, write_summary
from lab.world.clips import clip_questions
from lab.world.sets import World

RESULTS = "answers.json"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Answer questions about videos with a VQA model that was trained on images."""

    out: Path
    """Folder for answers.json (question_id and answer) and summary.json."""
    weights: Weights
    """A VQA model: what lab finetune vqa left, or published VQA weights."""
    footage: Footage
    """The videos and their questions; --data is MSRVTT-QA's or MSVD-QA's test_qa.json: video_id, question, answer."""
    names: Path | None = None
    """MSVD's youtube_mapping.txt, where the files are not named by number."""
    frames: int = QUESTION_FRAMES
    """Frames of a video, evenly spaced."""
    answering: Answering = field(default_factory=Answering)
    """How it answers; the list of answers that the paper ranked here is not known."""
    machine: Machine = field(default_factory=Machine)
    """How the model runs; a frame counts as an image of --batch."""


def main(options: Options) -> int:
    """Answer, write the answers, measure where they are known."""
    with together(options.machine):
        given = options.weights
        opened = open_any(given.weights, vocab=given.vocab, image_size=given.image_size).opened
        model = trained(opened, given.weights).to(options.machine.device)
        choose = options.answering.choose(model, opened.tokenizer, given.weights, options.footage.world)
        data = _questions(options, model.config.vision.image_size)
        begin_evaluation("evaluate video-qa", options, model=opened.fingerprint)
        said = answered(model, opened.tokenizer, data, choose, options.machine, frames=options.frames)
    rows = [{"question_id": name, "answer": answer} for name, answer in zip(data.ids, said, strict=True)]
    write_results(options.out / RESULTS, rows, "question_id")
    print(f"answers: {options.out / RESULTS}")
    counted, mark = {"questions": len(said), "videos": len(data.clips)}, opened.fingerprint
    truth = {name: answer for name, answer in zip(data.ids, data.answers, strict=True) if answer is not None}
    if len(truth) < len(data.ids):
        path = write_summary(options.out, "evaluate video-qa", {"counted": counted}, options, model=mark)
        print(f"{len(said):,} questions, not all with answers to compare with\nsummary: {path}")
        return 0
    found = {"accuracy": exact_accuracy(zip(data.ids, said, strict=True), truth)}
    own = spread(data, said)
    report(options.out, "video-qa", found, options, model=mark, chance=chance(data), counted=counted, spread=own)
    return 0


def _questions(options: Options, px: int) -> ClipQuestionSet:
    if options.footage.world is not None:
        asked = clip_questions(World.of(options.footage.world), options.footage.world_clips, "held-out")
        return world_clip_questions(asked, px, options.frames)
    names = read_video_names(options.names) if options.names else None
    return file_clip_questions(read_video_questions(*options.footage.files(), names), px, options.frames)
