"""Answers, verdicts, dialogs and clips of the generated world, each with its probability and the truth (paper 5.3 to 5.6)."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from blip.data.transforms import normalize_uint8
from blip.data.video import RETRIEVAL_FRAMES, frame_indices
from blip.metrics.dialog import candidate_ranks
from blip.model import BLIP
from blip.tasks.ranking import Shortlist
from blip.tasks.retrieval import Rankings
from blip.tasks.video import clip_scores, rank_videos
from blip.tasks.vqa import VQA
from blip.tasks.vqa_training import MAX_ANSWER, question_tokens
from blip.tokenizer import Tokenizer
from lab.downstream.clip_rows import clip_batches, world_clips
from lab.downstream.video import caption_tokens
from lab.inference import Machine
from lab.task_cards import Choice, Said, Strip
from lab.world.checker import check
from lab.world.clip_order import OrderQuery
from lab.world.clips import CaptionedClip, Clip
from lab.world.dialogs import Dialog
from lab.world.figures import Tile
from lab.world.questions import Question
from lab.world.statements import StatementPair
from lab.world.task_figures import statement_tiles

_FRAME_PX = 128


@torch.inference_mode()
def answers_of(
    model: VQA, tokenizer: Tokenizer, asked: Sequence[Question], answers: Sequence[str], most: int = 4
) -> list[Choice]:
    """Each question with its likeliest answers of a list and the probability that the model says exactly this.

    The probabilities of a list need not sum to 1. The model is in eval mode.
    """
    device, side = next(model.parameters()).device, model.config.vision.image_size
    pictures = torch.from_numpy(np.stack([one.picture(side) for one in asked]))
    questions = question_tokens([one.text for one in asked], tokenizer).to(device)
    memory = model.remember(normalize_uint8(pictures).to(device), questions)
    tokens = tokenizer(list(answers), MAX_ANSWER).led_by("DEC").to(device)
    found = model.rank(memory, tokens, k=len(answers))
    choices = []
    for one, rows, scores in zip(asked, found.answers.tolist(), found.scores.exp().tolist(), strict=True):
        best = sorted(zip(scores, rows, strict=True), reverse=True)[:most]
        said = [Said(answers[row], answers[row] == one.answer, chance) for chance, row in best]
        choices.append(Choice(one.text, said))
    return choices


def verdict_tiles(pairs: Sequence[StatementPair], chances: Sequence[float]) -> list[Tile]:
    """Two tiles for each pair of pictures, with the truth and the probability that the model gives to "true"."""
    tiles = statement_tiles(pairs)
    for at, chance in enumerate(chances):
        tiles[2 * at + 1] = replace(tiles[2 * at + 1], text=f'model: "true" with probability {chance:.2f}')
    return tiles


def rounds_of(dialog: Dialog, scores: Sequence[np.ndarray], most: int = 4) -> list[Choice]:
    """Each round with its first candidates (scores (C,) are match logits less the others) and the given one's rank."""
    choices = []
    for one, own in zip(dialog.rounds, scores, strict=True):
        order = (-own).argsort(kind="stable")[:most]
        chances = 1 / (1 + np.exp(-own))
        said = [Said(one.candidates[at], one.relevance[at] > 0, float(chances[at])) for at in order]
        rank = candidate_ranks(own[None])[0][one.place]
        note = f"given answer: {one.answer}, number {rank} of {len(own)}"
        choices.append(Choice(one.question, said, note))
    return choices


def search_clips(model: BLIP, tokenizer: Tokenizer, clips: Sequence[Clip], texts: Sequence[str], k: int) -> Rankings:
    """T texts ranked for each of V clips, and the clips for each text, as published: 8 frames a clip."""
    machine, rows = _machine(model), world_clips(clips, model.config.vision.image_size, RETRIEVAL_FRAMES)
    tokens = caption_tokens(tokenizer, texts).to(machine.device)
    return rank_videos(model, lambda: clip_batches(rows, RETRIEVAL_FRAMES, machine), tokens, k=k)


def clip_hits(ranking: Shortlist, query: int, items: Sequence[CaptionedClip], count: int) -> list[Strip]:
    """The first so many clips for the caption of one of them, best first, as the frames that the model sees."""
    text, strips = items[query].caption, []
    for number, place in enumerate((-ranking.scores[query]).argsort(kind="stable")[:count], 1):
        row = ranking.rows[query, place]
        true = check(text, items[row].clip.shown()).truth == "true"
        note = f"number {number}, score {ranking.scores[query, place]:.2f}"
        strips.append(Strip(_seen(items[row].clip), text, note + (", its own clip" if row == query else ""), true))
    return strips


def twin_strips(model: BLIP, tokenizer: Tokenizer, asked: OrderQuery) -> list[Strip]:
    """A clip and its twin, the same frames from last to first, with the score of the text that is true of one."""
    frames = _seen(asked.clip)
    there, back = _twin_scores(model, tokenizer, asked)
    clip = Strip(frames, asked.text, f"score {there:.4f}", True)
    return [clip, Strip(frames[::-1], asked.text, f"the frames from last to first: score {back:.4f}", False)]


@torch.inference_mode()
def _twin_scores(model: BLIP, tokenizer: Tokenizer, asked: OrderQuery) -> tuple[float, float]:
    machine, rows = _machine(model), world_clips([asked.clip], model.config.vision.image_size, RETRIEVAL_FRAMES)
    clip: Tensor = next(clip_batches(rows, RETRIEVAL_FRAMES, machine))
    text = caption_tokens(tokenizer, [asked.text]).to(machine.device)
    there, back = clip_scores(model, torch.cat([clip, clip.flip(1)]), text).flatten().tolist()
    return there, back


def _seen(clip: Clip) -> np.ndarray:
    chosen = frame_indices(len(clip.scenes), RETRIEVAL_FRAMES)
    return Clip(tuple(clip.scenes[at] for at in chosen)).frames(_FRAME_PX)


def _machine(model: BLIP) -> Machine:
    return Machine(batch=64, device=str(next(model.parameters()).device))
