"""Downstream models fine-tuned for a minute or two in the generated world, with what they say of held-out things.

The budgets are the caller's; the comparison with models trained from nothing is `lab.downstream`.
"""

from dataclasses import asdict, dataclass

import numpy as np
import torch

from blip.answering import Ranker
from blip.checkpoint import Loaded
from blip.data.transforms import eval_transform
from blip.judging import judge
from blip.model import BLIP
from blip.tasks.retrieval import Rankings, retrieval_model, retrieval_scores
from blip.tasks.vqa import VQA
from lab.answer_views import search_clips
from lab.downstream import nlvr, video, visdial, vqa
from lab.downstream.dialog_rows import world_dialogs
from lab.downstream.nlvr_rows import world_statements
from lab.downstream.visdial import Scores
from lab.downstream.vqa_rows import world_questions
from lab.finetuning import Tuning
from lab.inference import Machine
from lab.world.clips import CaptionedClip, captioned_clips
from lab.world.dialogs import Dialog, dialogs
from lab.world.questions import Question, answer_list, questions
from lab.world.sets import World
from lab.world.statements import SINGLE_PICTURE, StatementPair, statements

Shares = dict[str, float]


@dataclass(frozen=True)
class Answered:
    """A VQA model, held-out questions, what it answers, and its accuracy by form beside that of chance."""

    model: VQA
    asked: list[Question]
    said: list[str]
    measures: Shares
    chance: Shares

    def by_form(self) -> dict[str, tuple[list[str], list[str]]]:
        """By form of question the true answers and the given ones."""
        found: dict[str, tuple[list[str], list[str]]] = {}
        for one, said in zip(self.asked, self.said, strict=True):
            true, own = found.setdefault(one.query.form, ([], []))
            true.append(one.answer)
            own.append(said)
        return found


@dataclass(frozen=True)
class Judged:
    """Held-out statements with two pictures each, the probability of "true", accuracy by form, and bounds on it.

    one_picture is the most that a rule can reach which sees one of the two pictures.
    """

    pairs: list[StatementPair]
    chances: list[float]
    measures: Shares
    chance: Shares
    one_picture: Shares


@dataclass(frozen=True)
class Talked:
    """Held-out dialogs, the scores of all candidate answers, and measures beside those of chance and of the truth."""

    dialogs: list[Dialog]
    scores: Scores
    measures: Shares
    chance: Shares
    ceiling: Shares

    def of(self, dialog: Dialog) -> list[np.ndarray]:
        """The scores (C,) of each round of a dialog."""
        return [self.scores[dialog.image, at + 1] for at in range(len(dialog.rounds))]


@dataclass(frozen=True)
class Watched:
    """A retrieval model, held-out clips with a caption each, their rankings, and recalls beside chance and ceiling."""

    model: BLIP
    items: list[CaptionedClip]
    rankings: Rankings
    measures: Shares
    chance: Shares
    ceiling: Shares


def answered(start: Loaded, world: World, *, scenes: int, held_out: int, steps: int) -> Answered:
    """Fine-tune on the questions about so many scenes, and answer those about held-out ones by ranking."""
    torch.manual_seed(0)
    model, data = vqa.begun(start.model, drop_path=0.0), world_questions(world, held_out, "held-out")
    training, tuning = world_questions(world, scenes, "train"), _tuning(steps, vqa.BATCH, vqa.PEAK)
    vqa.tuned(model, start.tokenizer, training, tuning, model.config.vision.image_size)
    said = vqa.answered(model, start.tokenizer, data, Ranker(model, start.tokenizer, answer_list(world.level)))
    asked = questions(world, held_out, "held-out")
    return Answered(model, asked, said, vqa.measures(data, said), vqa.chance(data))


def judged(start: Loaded, world: World, *, known: int, held_out: int, steps: int) -> Judged:
    """Fine-tune on so many statements, and judge held-out ones."""
    torch.manual_seed(0)
    model, data = nlvr.begun(start.model, drop_path=0.0), world_statements(world, held_out, "held-out")
    training, tuning = world_statements(world, known, "train"), _tuning(steps, nlvr.BATCH, nlvr.PEAK)
    side = model.config.vision.image_size
    nlvr.tuned(model, start.tokenizer, training, tuning, side)
    chances = judge(model, start.tokenizer, data.pictures(side, False), data.texts, batch=64)
    measures = nlvr.measures(data, [chance > 0.5 for chance in chances])
    one_picture = ({} if data.blind is None else {"accuracy": data.blind}) | SINGLE_PICTURE
    coin = dict.fromkeys(measures, 0.5) | data.chance()
    return Judged(statements(world, held_out, "held-out"), chances, measures, coin, one_picture)


def talked(start: Loaded, world: World, *, known: int, held_out: int, steps: int) -> Talked:
    """Fine-tune on so many dialogs, and rank the candidate answers of held-out ones."""
    level, tuning = world.level.name, _tuning(steps, visdial.BATCH, visdial.PEAK)
    data = world_dialogs(level, held_out, "held-out")
    transform = eval_transform(start.model.config.vision.image_size)
    model, _ = visdial.tuned(start, world_dialogs(level, known), tuning, transform)
    scores = visdial.scored(model, start.tokenizer, data, Machine(device=tuning.device))
    found = visdial.measures(data, scores), visdial.chance(data), visdial.ceiling(data)
    shares = ({name: value for name, value in own.items() if name != "mean_rank"} for own in found)
    return Talked(dialogs(world, held_out, "held-out"), scores, *shares)


def watched(start: Loaded, world: World, *, held_out: int) -> Watched:
    """Retrieve among held-out clips with a model that saw single pictures only; nothing is trained."""
    model, items = retrieval_model(start.model).eval(), captioned_clips(world, held_out, "held-out")
    texts, own = [one.caption for one in items], np.arange(len(items))
    rankings = search_clips(model, start.tokenizer, [one.clip for one in items], texts, k=len(items))
    scores = retrieval_scores(rankings.of_images, rankings.of_texts, own)
    sides = {"video": asdict(scores.image), "text": asdict(scores.text)}
    measures = {f"{side}_r{k}": recalls[f"r{k}"] for side, recalls in sides.items() for k in (1, 5, 10)}
    return Watched(model, items, rankings, measures, video.chance(own, len(items)), video.ceiling(items))


def _tuning(steps: int, batch: int, peak: float) -> Tuning:
    return Tuning(steps=steps, batch=batch, peak=peak)
