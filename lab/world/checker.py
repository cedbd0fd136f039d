"""The truth about a caption: reads any text, finds what it claims, and holds that against a scene.

A text is *false* when any of its claims is wrong, *true* when it claims something and all of it
holds, *uninformative* when it claims nothing (boilerplate, vague words, gibberish).

"a red ball" claims that there is one, more may stand beside it; "two red balls" claims exactly two,
"red balls" at least two. Two mentions are two things: "a red ball and a red ball" needs two. Words
outside the grammar, and adjectives whose noun was cut off, claim nothing. "next to", "with" and "and"
claim only presence. A contradiction ("a red blue ball", two backgrounds) is false of every scene.
"""

import re
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from typing import Any

from lab.world.language import NUMBERS, PHRASES, Mention, plural
from lab.world.levels import BACKGROUNDS, COLOURS, KINDS, SIZES
from lab.world.scene import INVERSE, Scene

_KIND_OF = {kind: (kind, False) for kind in KINDS} | {plural(kind): (kind, True) for kind in KINDS}
_RELATION_WORDS = sorted(
    ((tuple(phrase.split()), relation) for relation, several in PHRASES.items() for phrase in several),
    key=lambda entry: -len(entry[0]),
)
_PLACES = [(tuple(phrase.split()), name) for name, phrase in BACKGROUNDS.items() if phrase]
_PUNCTUATION = re.compile(r"[^\w\s]+")
_COUNTS = {"a": 1, "an": 1, "one": 1} | NUMBERS | {str(n): n for n in range(1, 10)}
PARTS = ("relation", "background", "count", "size", "colour", "kind")


@dataclass(frozen=True)
class Claims:
    """What a text says: mentions in order, (i, relation, i + 1) among them, backgrounds."""

    mentions: tuple[Mention, ...]
    relations: tuple[tuple[int, str, int], ...] = ()
    backgrounds: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.mentions or self.backgrounds)


@dataclass(frozen=True)
class Verdict:
    """truth: true, false or uninformative; wrong: the part that would have to change; strict: see `check`."""

    truth: str
    wrong: str | None = None
    strict: bool = False


def check(caption: str, scene: Scene) -> Verdict:
    """Whether a caption is true of a scene; strict if it also names every object with its colour."""
    claims = read(caption)
    if not claims:
        return Verdict("uninformative")
    matched = _match(claims, scene)
    if matched is None:
        return Verdict("false", wrong=_wrong_part(claims, scene))
    coloured = all(mention.colour for mention in claims.mentions)
    return Verdict("true", strict=coloured and len(matched) == len(scene.things))


def meaning(caption: str) -> Hashable:
    """What a text claims in a form that paraphrases share; a text without claims means its own words."""
    claims = read(caption)
    if not claims:
        return " ".join(caption.lower().split())
    relations = set()
    for i, relation, j in claims.relations:
        a, b = claims.mentions[i], claims.mentions[j]
        relations.add((a, relation, b) if relation in ("left", "above") else (b, INVERSE[relation], a))
    return frozenset(_numbered(claims.mentions)), frozenset(relations), claims.backgrounds


def _numbered(mentions: tuple[Mention, ...]) -> Iterator[tuple[Mention, int]]:
    """Each mention with how often it occurred before, so that a set keeps repeats."""
    seen: dict[Mention, int] = {}
    for mention in mentions:
        yield mention, seen.setdefault(mention, 0)
        seen[mention] += 1


@lru_cache(maxsize=65536)
def read(caption: str) -> Claims:
    """The claims of any text; never fails."""
    words = _PUNCTUATION.sub(" ", caption.lower()).split()
    mentions: list[Mention] = []
    relations: list[tuple[int, str, int]] = []
    backgrounds: set[str] = set()
    described: dict[str, Any] = {}
    waiting, at = None, 0
    while at < len(words):
        word = words[at]
        step = 1
        if phrase := _phrase(words, at, _RELATION_WORDS):
            step, relation = phrase
            waiting, described = (relation if mentions else None), {}
        elif phrase := _phrase(words, at, _PLACES):
            step, background = phrase
            backgrounds.add(background)
            waiting, described = None, {}
        elif word in _KIND_OF:
            kind, many = _KIND_OF[word]
            mentions.append(_mention(kind, many, described))
            if waiting is not None:
                relations.append((len(mentions) - 2, waiting, len(mentions) - 1))
            waiting, described = None, {}
        elif word in COLOURS:
            _describe(described, "colour", word)
        elif word in SIZES:
            _describe(described, "size", word)
        elif word in _COUNTS:
            described = {"count": _COUNTS[word]}
        else:
            described = {}
            waiting = waiting if word in ("the", "is") else None
        at += step
    return Claims(tuple(mentions), tuple(relations), frozenset(backgrounds))


def _phrase(words: list[str], at: int, phrases: list[tuple[tuple[str, ...], str]]) -> tuple[int, str] | None:
    for phrase, name in phrases:
        if tuple(words[at : at + len(phrase)]) == phrase:
            return len(phrase), name
    return None


def _describe(described: dict, part: str, word: str) -> None:
    """Note an adjective; two that differ become one that nothing has."""
    known = described.get(part, word)
    described[part] = word if known == word else f"{known} {word}"


def _mention(kind: str, many: bool, described: dict) -> Mention:
    bare = many and "count" not in described
    count = 2 if bare else described.get("count", 1)
    return Mention(kind, described.get("colour"), described.get("size"), count, at_least=bare)


def _match(claims: Claims, scene: Scene) -> set[int] | None:
    """Indices of the things the mentions stand for, if they can stand for different ones; else None."""
    if not claims.backgrounds <= {scene.background} or len(claims.mentions) > len(scene.things):
        return None
    choices = [list(_choices(mention, scene)) for mention in claims.mentions]
    every = _assignments(choices, frozenset(), ())
    chosen = next((choice for choice in every if _related(claims, choice, scene)), None)
    return None if chosen is None else {index for group in chosen for index in group}


def _assignments(
    choices: list[list[tuple[int, ...]]], taken: frozenset[int], chosen: tuple[tuple[int, ...], ...]
) -> Iterator[tuple[tuple[int, ...], ...]]:
    """Every way to give each mention things of its own."""
    if len(chosen) == len(choices):
        yield chosen
        return
    for group in choices[len(chosen)]:
        if taken.isdisjoint(group):
            yield from _assignments(choices, taken | set(group), (*chosen, group))


def _choices(mention: Mention, scene: Scene) -> Iterator[tuple[int, ...]]:
    """The groups of things a mention can stand for: any one, exactly as many as said, or any of enough."""
    fitting = _fitting(mention, scene)
    if mention.count == 1:
        yield from ((i,) for i in fitting)
    elif mention.at_least:
        for size in range(len(fitting), mention.count - 1, -1):
            yield from combinations(fitting, size)
    elif len(fitting) == mention.count:
        yield tuple(fitting)


def _fitting(mention: Mention, scene: Scene) -> list[int]:
    return [
        i
        for i, t in enumerate(scene.things)
        if t.kind == mention.kind
        and mention.colour in (None, t.colour)
        and mention.size in (None, t.size)
    ]


def _related(claims: Claims, choice: tuple[tuple[int, ...], ...], scene: Scene) -> bool:
    return all(
        scene.stands(scene.things[a], relation, scene.things[b])
        for i, relation, j in claims.relations
        for a in choice[i]
        for b in choice[j]
    )


def _wrong_part(claims: Claims, scene: Scene) -> str:
    """The one part whose change alone would make the claims true; "several" if none would."""
    for part in PARTS:
        if _would_hold(part, claims, scene):
            return part
    return "several"


def _would_hold(part: str, claims: Claims, scene: Scene) -> bool:
    if part == "relation":
        return _match(replace(claims, relations=()), scene) is not None
    if part == "background":
        return _match(replace(claims, backgrounds=frozenset()), scene) is not None
    if part == "count":
        return _holds_of_any_number(claims, scene)
    return any(_match(changed, scene) is not None for changed in _changed(part, claims, scene))


def _holds_of_any_number(claims: Claims, scene: Scene) -> bool:
    """Whether the claims hold if numbers are not counted and two mentions may be one thing.

    A relation joins a mention to the one before it, so one walk along the mentions finds out.
    """
    if not claims.backgrounds <= {scene.background}:
        return False
    joined = {j: relation for _, relation, j in claims.relations}
    before: list[int] = []
    for j, mention in enumerate(claims.mentions):
        here = _fitting(mention, scene)
        if j in joined:
            things, relation = scene.things, joined[j]
            here = [b for b in here if any(scene.stands(things[a], relation, things[b]) for a in before)]
        if not here:
            return False
        before = here
    return True


def _changed(part: str, claims: Claims, scene: Scene) -> Iterator[Claims]:
    """The claims with one mention's size, colour or kind put right, in every way the scene offers."""
    for i, mention in enumerate(claims.mentions):
        for thing in scene.things:
            new = replace(mention, **{part: getattr(thing, part)})
            yield replace(claims, mentions=(*claims.mentions[:i], new, *claims.mentions[i + 1 :]))
