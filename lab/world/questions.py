"""Questions about scenes, with short answers from a closed list (visual question answering, paper 5.3).

A query is what a question asks, apart from its words. `answers` finds from the scene everything that would
answer it, and only a query with a single answer is asked.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lab.world.draw import draw
from lab.world.language import PHRASES, Mention, plural
from lab.world.levels import SIZES, Level
from lab.world.scene import RELATIONS, Scene, Thing
from lab.world.sets import World
from lab.world.splits import sources

_WORDS = {
    "colour": ("what colour is the {kind}?", "which colour does the {kind} have?"),
    "thing": ("what is the {colour} thing?", "which thing is {colour}?"),
    "count": ("how many {kinds} are there?", "how many {kinds} do you see?"),
    "objects": ("how many things are there?", "how many things do you see?"),
    "exists": ("is there {mention}?", "do you see {mention}?"),
    "size": ("how big is the {kind}?", "what size is the {kind}?"),
    "beside": ("what is {phrase} the {kind}?", "what do you see {phrase} the {kind}?"),
    "background": ("what is the background?", "which background do you see?"),
}


@dataclass(frozen=True)
class Query:
    """A form (colour, thing, count, objects, exists, size, beside, background) and what it speaks of."""

    form: str
    kind: str = ""
    colour: str = ""
    relation: str = ""

    def words(self, rng: random.Random) -> str:
        """The question in one of its wordings."""
        phrase = rng.choice(PHRASES[self.relation]) if self.relation else ""
        mention = Mention(self.kind, self.colour or None).words() if self.kind else ""
        said = {"kind": self.kind, "kinds": plural(self.kind), "colour": self.colour}
        return rng.choice(_WORDS[self.form]).format(phrase=phrase, mention=mention, **said)


@dataclass(frozen=True)
class Question:
    """A question about a scene and its one answer; questions of one `image` show the same picture."""

    key: str
    image: int
    scene: Scene
    query: Query
    text: str
    answer: str

    def picture(self, px: int, style: str = "flat") -> np.ndarray:
        """The picture (px, px, 3) uint8."""
        return draw(self.scene, px, style)


def questions(world: World, count: int, split: str = "train", start: int = 0) -> list[Question]:
    """One question of each form that suits, for `count` scenes (indices from `start`) of train or held-out.

    Scenes hold each number of things equally often. Of an even number of scenes, half the "is there" are
    answered yes; a no asks for what is almost there: its kind in another colour, or its colour on another kind.
    """
    found: list[Question] = []
    for i, source in sources(world, "questions", split, count, start):
        rng = source.rng
        scene = source.scene_of(rng.randint(1, world.level.most))
        for form in forms(world.level):
            query = ask(form, scene, world.level, rng, yes=i % 2 == 0)
            if query:
                (answer,) = answers(query, scene)
                key = f"{split}-{i:07d}-{form}"
                found.append(Question(key, i, scene, query, query.words(rng), answer))
    return found


def forms(level: Level) -> tuple[str, ...]:
    """The forms that are asked at a level."""
    left_out = {"size": level.sizes, "beside": level.relations, "background": level.backgrounds > 1}
    return tuple(form for form in _WORDS if left_out.get(form, True))


def answer_list(level: Level) -> tuple[str, ...]:
    """Every answer that a question of this level can have."""
    numbers = tuple(str(n) for n in range(level.most + 1))
    sizes = tuple(SIZES) if level.sizes else ()
    backgrounds = level.background_names if level.backgrounds > 1 else ()
    return ("yes", "no", *numbers, *level.colour_names, *level.kind_names, *sizes, *backgrounds)


def answers(query: Query, scene: Scene) -> tuple[str, ...]:
    """What answers a query, once for each thing that does: a good question has exactly one entry.

    "the ball" means the only ball; of a scene without one, or with two, nothing answers.
    """
    kinds = [thing for thing in scene.things if thing.kind == query.kind]
    if query.form in ("colour", "size", "beside"):
        return _of_the_only(query, scene, kinds) if len(kinds) == 1 else ()
    if query.form == "thing":
        return tuple(thing.kind for thing in scene.things if thing.colour == query.colour)
    if query.form == "exists":
        return ("yes" if any(query.colour in ("", thing.colour) for thing in kinds) else "no",)
    if query.form == "background":
        return (scene.background,)
    return (str(len(scene.things if query.form == "objects" else kinds)),)


def _of_the_only(query: Query, scene: Scene, kinds: Sequence[Thing]) -> tuple[str, ...]:
    (it,) = kinds
    if query.form == "beside":
        return tuple(thing.kind for thing in scene.things if scene.stands(thing, query.relation, it))
    return (it.colour if query.form == "colour" else it.size,)


def ask(form: str, scene: Scene, level: Level, rng: random.Random, *, yes: bool) -> Query | None:
    """A random query of a form that has one answer, or None. `yes` says how "is there" is to be answered."""
    if form == "exists":
        return _present(scene, rng) if yes else _absent(scene, level, rng)
    fitting = [query for query in _possible(form, scene, level) if len(answers(query, scene)) == 1]
    if form == "count":
        return _evenly(fitting, scene, rng)
    return rng.choice(fitting) if fitting else None


def _possible(form: str, scene: Scene, level: Level) -> Iterator[Query]:
    shown = dict.fromkeys(thing.kind for thing in scene.things)
    if form in ("objects", "background"):
        yield Query(form)
    elif form == "thing":
        yield from (Query(form, colour=colour) for colour in dict.fromkeys(t.colour for t in scene.things))
    elif form == "count":
        yield from (Query(form, kind) for kind in level.kind_names)
    elif form == "beside":
        yield from (Query(form, kind, relation=relation) for kind in shown for relation in RELATIONS)
    else:
        yield from (Query(form, kind) for kind in shown)


def _evenly(fitting: Iterable[Query], scene: Scene, rng: random.Random) -> Query:
    """A query, each answer as likely as any other."""
    by_answer: dict[str, list[Query]] = defaultdict(list)
    for query in fitting:
        by_answer[answers(query, scene)[0]].append(query)
    return rng.choice(by_answer[rng.choice(sorted(by_answer))])


def _present(scene: Scene, rng: random.Random) -> Query:
    thing = rng.choice(scene.things)
    return Query("exists", thing.kind, thing.colour)


def _absent(scene: Scene, level: Level, rng: random.Random) -> Query | None:
    """Something that is not there, but its kind or its colour is; None where every such thing is there."""
    thing = rng.choice(scene.things)
    near = [(thing.kind, colour) for colour in level.colour_names]
    far = [(kind, thing.colour) for kind in level.kind_names]
    first, second = (near, far) if rng.random() < 0.5 else (far, near)
    shown = {(thing.kind, thing.colour) for thing in scene.things}
    free = [pair for pair in first if pair not in shown] or [pair for pair in second if pair not in shown]
    return Query("exists", *rng.choice(free)) if free else None


class Asked(Protocol):
    """What the two baselines know of a question, of a picture or of a clip."""

    @property
    def query(self) -> Query: ...
    @property
    def text(self) -> str: ...
    @property
    def answer(self) -> str: ...


def chance(asked: Sequence[Asked]) -> dict[str, float]:
    """The share right of who always gives the commonest answer of a question's form: by form, and of all."""
    by_form: dict[str, Counter[str]] = defaultdict(Counter)
    for question in asked:
        by_form[question.query.form][question.answer] += 1
    best = {form: max(counts.values()) for form, counts in by_form.items()}
    shares = {form: right / by_form[form].total() for form, right in best.items()}
    return shares | {"all": sum(best.values()) / max(1, len(asked))}


def guessed(known: Sequence[Asked], asked: Sequence[Asked]) -> float:
    """The share right of who sees no picture: the commonest answer to the same text in `known`.

    A text that is not known gets the commonest answer of its form there.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for question in known:
        counts[question.text][question.answer] += 1
        counts[question.query.form][question.answer] += 1
    right = 0
    for question in asked:
        seen = counts.get(question.text) or counts.get(question.query.form) or Counter({"": 1})
        right += seen.most_common(1)[0][0] == question.answer
    return right / max(1, len(asked))
