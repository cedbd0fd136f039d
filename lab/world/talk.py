"""What can be asked next in a talk about a scene: moves, each a question with all its true answers, or None."""

import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lab.world.answers import NO, NOTHING, YES, counted, described, named
from lab.world.language import PHRASES, Mention
from lab.world.levels import Level
from lab.world.scene import Scene, Thing

_SOMETHING = 0.8  # of the questions what stands beside a thing have an answer other than "nothing"


@dataclass(frozen=True, eq=False)
class Turn:
    """A question, its true answers with the parts each tells of a thing, and the talk's topic afterwards."""

    question: str
    about: str
    truths: Mapping[str, tuple[str, ...]]
    topic: int | None = None
    refers: bool = False
    implied: tuple[str, ...] = ()
    """What is told of the topic beyond the answer's words: "is there a ball?" and "yes" tell its kind."""


@dataclass
class Talk:
    """What was said so far: topic and told things are indices of things in the scene."""

    scene: Scene
    level: Level
    rng: random.Random
    topic: int | None = None
    told: set[tuple[int, str]] = field(default_factory=set)
    asked: set[tuple[str, int | None]] = field(default_factory=set)
    """Questions, with the thing that each meant by "it"."""

    def only(self, part: str, value: str) -> int | None:
        """The only thing whose part has a value; None where there is none or several."""
        found = [i for i, thing in enumerate(self.scene.things) if getattr(thing, part) == value]
        return found[0] if len(found) == 1 else None

    def single(self, part: str, untold: str) -> dict[str, int]:
        """Values that only one thing has in a part, and that thing, where another part of it was not told yet."""
        values = dict.fromkeys(getattr(thing, part) for thing in self.scene.things)
        found = {value: self.only(part, value) for value in values}
        return {v: at for v, at in found.items() if at is not None and (at, untold) not in self.told}

    def open(self, part: str) -> Thing | None:
        """The topic, if a part of it was not told yet."""
        if self.topic is None or (self.topic, part) in self.told:
            return None
        return self.scene.things[self.topic]

    def meant(self, question: str) -> int | None:
        """What "it" is in a question; None where it does not say so."""
        return self.topic if re.search(r"\bits?\b", question) else None

    def is_new(self, question: str) -> bool:
        """Whether this was not asked before."""
        return (question, self.meant(question)) not in self.asked

    def unmentioned(self) -> list[int]:
        """Things of which nothing was said."""
        mentioned = {i for i, _ in self.told}
        return [i for i in range(len(self.scene.things)) if i not in mentioned]


def _plain(texts: Iterable[str], *parts: str) -> dict[str, tuple[str, ...]]:
    """Wordings that all tell the same parts."""
    return dict.fromkeys(texts, parts)


def _part(part: str, asked: Sequence[str]) -> Callable[[Talk], Turn | None]:
    def move(talk: Talk) -> Turn | None:
        thing = talk.open(part)
        if thing is None or (part == "size" and not talk.level.sizes):
            return None
        told = _plain(described(getattr(thing, part)), part)
        return Turn(talk.rng.choice(asked), part, told, talk.topic, refers=True)

    return move


def _is_it(talk: Talk) -> Turn | None:
    """Asks for the topic's colour by naming one, half the time the right one."""
    thing = talk.open("colour")
    if thing is None:
        return None
    colour = thing.colour
    if talk.rng.random() < 0.5:
        return Turn(f"is it {colour}?", "whether", _plain(YES), talk.topic, refers=True, implied=("colour",))
    wrong = talk.rng.choice([name for name in talk.level.colour_names if name != colour])
    return Turn(f"is it {wrong}?", "whether", _plain(NO), talk.topic, refers=True)


def _again(part: str, words: str) -> Callable[[Talk], Turn | None]:
    """Comes back to a thing whose kind was told before."""

    def move(talk: Talk) -> Turn | None:
        if part == "size" and not talk.level.sizes:
            return None
        things = talk.scene.things
        open_ones = [i for i, p in sorted(talk.told) if p == "kind" and (i, part) not in talk.told]
        lone = [i for i in open_ones if i != talk.topic and talk.only("kind", things[i].kind) == i]
        if not lone:
            return None
        at = talk.rng.choice(lone)
        return Turn(words.format(things[at].kind), part, _plain(described(getattr(things[at], part)), part), at)

    return move


def _what_is_it(talk: Talk) -> Turn | None:
    thing = talk.open("kind")
    if thing is None:
        return None
    return Turn("what is it?", "thing", named(thing, talk.level), talk.topic, refers=True)


def _beside_it(talk: Talk) -> Turn | None:
    if talk.topic is None or not talk.level.relations:
        return None
    things, it = talk.scene.things, talk.scene.things[talk.topic]
    found = {r: [i for i, thing in enumerate(things) if talk.scene.stands(thing, r, it)] for r in PHRASES}
    wanted = 1 if talk.rng.random() < _SOMETHING else 0
    relations = [relation for relation, there in found.items() if len(there) == wanted]
    if not relations:
        return None
    relation = talk.rng.choice(relations)
    there = found[relation]
    truths = named(things[there[0]], talk.level) if there else _plain(NOTHING)
    question = f"what is {PHRASES[relation][0]} it?"
    return Turn(question, "thing", truths, there[0] if there else talk.topic, refers=True)


def _what_else(talk: Talk) -> Turn | None:
    left = talk.unmentioned()
    if len(left) > 1:
        return None
    truths = named(talk.scene.things[left[0]], talk.level) if left else _plain(NOTHING)
    return Turn("what else is there?", "thing", truths, left[0] if left else None, refers=True)


def _is_there(part: str, *, there: bool) -> Callable[[Talk], Turn | None]:
    def move(talk: Talk) -> Turn | None:
        shown = dict.fromkeys(getattr(thing, part) for thing in talk.scene.things)
        every = talk.level.kind_names if part == "kind" else talk.level.colour_names
        values = talk.single(part, untold=part) if there else [value for value in every if value not in shown]
        asked = {_whether(part, value): value for value in values}
        new = [question for question in asked if talk.is_new(question)]
        if not new:
            return None
        question = talk.rng.choice(new)
        topic = talk.only(part, asked[question]) if there else None
        return Turn(question, "whether", _plain(YES if there else NO), topic, implied=(part,))

    return move


def _whether(part: str, value: str) -> str:
    return f"is there {Mention(value).words() if part == 'kind' else f'anything {value}'}?"


def _coloured_thing(talk: Talk) -> Turn | None:
    colours = talk.single("colour", untold="kind")
    if not colours:
        return None
    colour, topic = talk.rng.choice(list(colours.items()))
    truths = named(talk.scene.things[topic], talk.level)
    return Turn(f"what is the {colour} thing?", "thing", truths, topic, implied=("colour",))


def _how_many(talk: Talk) -> Turn:
    return Turn("how many things are there?", "number", _plain(counted(len(talk.scene.things))))


def _background(talk: Talk) -> Turn | None:
    if talk.level.backgrounds < 2:
        return None
    return Turn("what is the background?", "background", _plain(described(talk.scene.background)))


# What people are likely to ask next: about what is being talked of first.
MOVES: dict[Callable[[Talk], Turn | None], int] = {
    _part("colour", ("what colour is it?", "and its colour?")): 6,
    _part("size", ("how big is it?", "and its size?")): 5,
    _is_it: 4,
    _what_is_it: 8,
    _beside_it: 4,
    _what_else: 2,
    _is_there("kind", there=True): 2,
    _is_there("colour", there=True): 2,
    _is_there("kind", there=False): 1,
    _is_there("colour", there=False): 1,
    _coloured_thing: 2,
    _again("colour", "what colour is the {}?"): 2,
    _again("size", "how big is the {}?"): 2,
    _how_many: 1,
    _background: 1,
}
