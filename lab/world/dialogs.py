"""Dialogs about a scene: a caption, then rounds of question and answer that build on it (VisDial, paper 5.5).

A later question says "it" for the thing that the talk is about: the one in the caption, or in the last answer.
Each round has candidate answers. Every wording of a true answer is relevant (1), no other candidate is (0).
"""

from dataclasses import dataclass

import numpy as np

from blip.errors import InputError
from lab.world.answers import elsewhere, wordings
from lab.world.draw import draw
from lab.world.language import Mention
from lab.world.scene import Scene, compose
from lab.world.sets import World
from lab.world.splits import Source, sources
from lab.world.talk import MOVES, Talk, Turn

CANDIDATES, MOST_CANDIDATES = 20, 25
ROUNDS = 10
NANO_ROUNDS = 5
"""Two things of two parts each leave no more to talk about."""
_LIKELY_WRONG = 6  # answers that fit the question, at most; one of them may be true
_CAPTIONS = ("{}", "there is {}", "here is {}", "we see {}")


@dataclass(frozen=True)
class Round:
    """A question with its candidate answers, the one that was given among them."""

    question: str
    answer: str
    candidates: tuple[str, ...]
    relevance: tuple[float, ...]
    """Of each candidate: 1 for every true answer, however it is worded, else 0."""
    refers: bool
    """Whether the question cannot be understood without what was said before."""

    @property
    def place(self) -> int:
        """Index of the given answer among the candidates."""
        return self.candidates.index(self.answer)


@dataclass(frozen=True)
class Dialog:
    """A scene, a caption that tells a part of it, and the rounds."""

    key: str
    image: int
    scene: Scene
    caption: str
    rounds: tuple[Round, ...]

    def picture(self, px: int, style: str = "flat") -> np.ndarray:
        """The picture (px, px, 3) uint8."""
        return draw(self.scene, px, style)


def dialogs(
    world: World, count: int, split: str = "train", start: int = 0, candidates: int = CANDIDATES
) -> list[Dialog]:
    """One dialog for each of `count` scenes (indices from `start`), of three things or more where a level has them.

    At least two things of a scene are the only ones of their kind, so that there is something to talk about.
    """
    if not 2 <= candidates <= MOST_CANDIDATES:
        raise InputError(f"candidates = {candidates} cannot be; give 2 to {MOST_CANDIDATES}.")
    rounds, least = (NANO_ROUNDS, 2) if world.level.most <= 2 else (ROUNDS, 3)
    found = []
    for i, source in sources(world, "dialogs", split, count, start):

        def build(source: Source = source) -> Scene | None:
            scene = compose(source.level, source.rng)
            return scene if len(scene.things) >= least and len(_lone_kinds(scene)) > 1 else None

        talk = Talk(source.scene(build), world.level, source.rng)
        caption = _open(talk)
        said = tuple(_round(talk, candidates) for _ in range(rounds))
        found.append(Dialog(f"{split}-{i:06d}", i, talk.scene, caption, said))
    return found


def _lone_kinds(scene: Scene) -> list[int]:
    kinds = [thing.kind for thing in scene.things]
    return [i for i, kind in enumerate(kinds) if kinds.count(kind) == 1]


def _open(talk: Talk) -> str:
    """A caption that names one thing by its kind, and starts to talk about it."""
    talk.topic = talk.rng.choice(_lone_kinds(talk.scene))
    talk.told.add((talk.topic, "kind"))
    return talk.rng.choice(_CAPTIONS).format(Mention(talk.scene.things[talk.topic].kind).words())


def _round(talk: Talk, count: int) -> Round:
    offered = ((move(talk), weight) for move, weight in MOVES.items())
    turns = {turn: weight for turn, weight in offered if turn and talk.is_new(turn.question)}
    if not turns:
        raise InputError(f"The level {talk.level.name} has too little to talk about; choose a larger one.")
    (turn,) = talk.rng.choices(list(turns), list(turns.values()))
    answer = talk.rng.choice(list(turn.truths))
    talk.asked.add((turn.question, talk.meant(turn.question)))
    talk.topic = turn.topic
    if turn.topic is not None:
        talk.told.update((turn.topic, part) for part in (*turn.truths[answer], *turn.implied))
    shown = _candidates(talk, turn, answer, count)
    relevance = tuple(float(text in turn.truths) for text in shown)
    return Round(turn.question, answer, shown, relevance, turn.refers)


def _candidates(talk: Talk, turn: Turn, answer: str, count: int) -> tuple[str, ...]:
    """The answer, its other wordings, wrong answers to the same question, and answers to other questions.

    Wrong answers come in all their wordings too, so that what stands there in two wordings need not be true.
    """
    groups, other = wordings(talk.level)[turn.about], elsewhere(talk.level, turn.about)
    fitting = talk.rng.sample(groups, min(_LIKELY_WRONG, len(groups)))
    chosen = dict.fromkeys([answer, *turn.truths])
    chosen |= dict.fromkeys(text for group in fitting for text in group)
    chosen |= dict.fromkeys(talk.rng.sample(other, min(count, len(other))))
    shown = list(chosen)[:count]
    talk.rng.shuffle(shown)
    return tuple(shown)
