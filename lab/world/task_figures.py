"""Pictures of the world's tasks, as tiles for `figures.sheet` and `figures.strips`."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from lab.world.clip_order import OrderQuery
from lab.world.clips import CaptionedClip, Clip, ClipQuestion
from lab.world.dialogs import Dialog
from lab.world.draw import PEOPLE_PX
from lab.world.figures import Tile
from lab.world.questions import Question
from lab.world.statements import StatementPair

FRAMES_SHOWN = 6


def question_tiles(asked: Sequence[Question], px: int = PEOPLE_PX) -> list[Tile]:
    """One tile for each picture, with its questions and answers."""
    tiles = []
    for _, group in groupby(asked, key=lambda question: question.image):
        own = list(group)
        said = "\n".join(f"{question.text} {question.answer}" for question in own)
        tiles.append(Tile(own[0].picture(px), said, "questions"))
    return tiles


def statement_tiles(pairs: Sequence[StatementPair], px: int = PEOPLE_PX) -> list[Tile]:
    """Two tiles for each pair, left and right, with the statement below the left one."""
    tiles = []
    for pair in pairs:
        left, right = pair.pictures(px)
        truth = "true" if pair.truth else "false"
        tiles += [Tile(left, pair.statement.text, "left"), Tile(right, "", "right", truth)]
    return tiles


def dialog_tiles(talks: Sequence[Dialog], px: int = PEOPLE_PX) -> list[Tile]:
    """One tile for each dialog: the caption, and its questions with the answers that were given."""
    tiles = []
    for talk in talks:
        said = [f"{asked.question} {asked.answer}" for asked in talk.rounds]
        tiles.append(Tile(talk.picture(px), "\n".join((talk.caption, *said)), "caption and dialog"))
    return tiles


def clip_tiles(item: CaptionedClip | ClipQuestion | OrderQuery, px: int = PEOPLE_PX) -> list[Tile]:
    """Frames evenly spread over a clip, from the first to the last; what is said of it below the first."""
    if isinstance(item, CaptionedClip):
        said = item.caption
    else:
        said = f"{item.text} {item.answer}" if isinstance(item, ClipQuestion) else item.text
    shown = np.linspace(0, len(item.clip.scenes) - 1, FRAMES_SHOWN).round().astype(int)
    pictures = Clip(tuple(item.clip.scenes[at] for at in shown)).frames(px)
    texts = [said] + [""] * (FRAMES_SHOWN - 1)
    return [Tile(*tile) for tile in zip(pictures, texts, (f"frame {at + 1}" for at in shown), strict=True)]
