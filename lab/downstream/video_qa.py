"""Questions about videos, answered by a VQA model that was trained on single images (paper 5.6)."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from blip.answering import Choose, Ranker
from blip.checkpoint import Loaded
from blip.data.benchmarks.reading import Identity
from blip.data.benchmarks.videos import VideoQuestion
from blip.data.video import QUESTION_FRAMES
from blip.distributed import from_all
from blip.metrics.results import group_means
from blip.metrics.vqa import exact
from blip.precision import precision
from blip.tasks.video import ask_clips
from blip.tasks.vqa import VQA
from blip.tasks.vqa_training import question_tokens
from blip.tokenizer import Tokenizer
from lab.downstream import vqa
from lab.downstream.clip_rows import HELD_OUT, ClipRows, clip_batches, file_clips, own_clips, world_clips
from lab.downstream.spread import Intervals, Items, intervals
from lab.downstream.vqa_rows import world_questions
from lab.finetuning import Tuning
from lab.inference import Machine
from lab.world.clips import Clip, ClipQuestion, clip_questions
from lab.world.questions import answer_list, guessed, questions
from lab.world.questions import chance as commonest
from lab.world.sets import World

KNOWN = 2_000  # scenes of which who sees no picture knows all questions


@dataclass(frozen=True)
class ClipQuestionSet:
    """Questions about clips: clip_of (Q) is the row of each one's clip, answers are None where hidden."""

    clips: ClipRows
    clip_of: Sequence[int]
    ids: Sequence[Identity]
    texts: Sequence[str]
    answers: Sequence[str | None]


def run(
    start: Loaded, level: str, *, steps: int = vqa.STEPS, seed: int = 0, out: Path | None = None
) -> dict[str, float]:
    """Fine-tune for VQA on single images of the world, and answer questions about held-out clips, zero-shot.

    Gives what `measured` does. `start` is not changed; with `out` the training can be resumed.
    """
    torch.manual_seed(seed)
    model = vqa.begun(start.model, drop_path=0.0)
    tuning, px = Tuning(steps=steps, batch=vqa.BATCH, peak=vqa.PEAK, seed=seed), model.config.vision.image_size
    training = world_questions(World.of(level), vqa.TRAINING, "train")
    vqa.tuned(model, start.tokenizer, training, tuning, px, out=out)
    return measured(model, start.tokenizer, level)


def measured(model: VQA, tokenizer: Tokenizer, level: str) -> dict[str, float]:
    """Accuracy of a VQA model's ranked answers to questions about held-out clips of the world, and of each form.

    chance is the commonest answer of each form, blind the commonest answer to the same words about single
    pictures, which sees none. A clip decides the one answer of its question, so that the ceiling is 1.
    """
    world = World.of(level)
    asked = clip_questions(world, HELD_OUT, "held-out")
    data = world_clip_questions(asked, model.config.vision.image_size, QUESTION_FRAMES)
    machine = Machine(device=str(next(model.parameters()).device))
    said = answered(model, tokenizer, data, Ranker(model, tokenizer, answer_list(world.level)), machine)
    right = {at: float(said[at] == one.answer) for at, one in enumerate(asked)}
    by_form = group_means(right, {at: one.query.form for at, one in enumerate(asked)})
    found = {"accuracy": sum(right.values()) / len(right)} | dict(sorted(by_form.items()))
    blind = guessed(questions(world, KNOWN), asked)
    return found | {"chance": commonest(asked)["all"], "blind": blind, "ceiling": 1.0}


def world_clip_questions(asked: Sequence[ClipQuestion], px: int, frames: int) -> ClipQuestionSet:
    """Questions of the generated world, those of a clip side by side; `frames` frames of each clip, drawn at px."""
    clips: list[Clip] = []
    clip_of = []
    for one in asked:
        if not clips or clips[-1] is not one.clip:
            clips.append(one.clip)
        clip_of.append(len(clips) - 1)
    texts, answers = [one.text for one in asked], [one.answer for one in asked]
    return ClipQuestionSet(world_clips(clips, px, frames), clip_of, [one.key for one in asked], texts, answers)


def file_clip_questions(asked: Sequence[VideoQuestion], px: int, frames: int) -> ClipQuestionSet:
    """Questions about video files or folders of frames; `frames` frames of each, resized to px."""
    paths = {path: row for row, path in enumerate(dict.fromkeys(one.path for one in asked))}
    return ClipQuestionSet(
        file_clips(list(paths), px, frames),
        [paths[one.path] for one in asked],
        [one.question_id for one in asked],
        [one.question for one in asked],
        [one.answer for one in asked],
    )


def spread(data: ClipQuestionSet, said: Sequence[str]) -> Intervals:
    """The accuracy's interval, with other clips and the questions about them; all answers must be known."""
    right = [float(answer is not None and exact(one, answer)) for one, answer in zip(said, data.answers, strict=True)]
    return intervals(Items({"accuracy": right}, data.clip_of))


def chance(data: ClipQuestionSet) -> dict[str, float]:
    """The accuracy of who always gives the commonest answer; all answers must be known."""
    return {"accuracy": Counter(data.answers).most_common(1)[0][1] / len(data.answers)}


@torch.inference_mode()
def answered(
    model: VQA,
    tokenizer: Tokenizer,
    data: ClipQuestionSet,
    choose: Choose,
    machine: Machine,
    *,
    frames: int = QUESTION_FRAMES,
) -> list[str]:
    """What the model, on the machine's device, answers to each question; a clip is read once for all of its own.

    Of several processes each answers the questions about its own clips, and all get all answers.
    """
    model.eval()
    own = defaultdict(list)
    for at, clip in enumerate(data.clip_of):
        own[clip].append(at)
    said: dict[int, str] = {}
    clips = (clip for batch in clip_batches(data.clips, frames, machine) for clip in batch.split(1))
    for row, clip in zip(own_clips(data.clips, frames, machine), clips, strict=True):
        tokens = question_tokens([data.texts[at] for at in own[row]], tokenizer).to(machine.device)
        with precision(clip.device, machine.precision):
            answers = choose(ask_clips(model, clip, tokens))
        said |= zip(own[row], answers, strict=True)
    said = dict(from_all(list(said.items())))
    return [said[at] for at in range(len(data.texts))]
