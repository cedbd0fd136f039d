"""What people say of a scene: a small grammar with paraphrases, in lower case.

A caption is made from mentions (a group of equal things, or one of them), at most one relation and
at most one background phrase. `checker` reads the same grammar back.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lab.world.levels import BACKGROUNDS, Level
from lab.world.scene import INVERSE, Scene, Thing

NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6}
PHRASES = {
    "left": ("left of", "to the left of"),
    "right": ("right of", "to the right of"),
    "above": ("above", "over"),
    "below": ("below", "under"),
}
_ALONE = ("{}", "there is {}", "here is {}", "just {}", "{} on its own", "we see {}")
_SEVERAL = ("{}", "there are {}", "here are {}", "we see {}")
_JOINED = ("{} and {}", "{} with {}", "there is {} and {}", "{} next to {}")
_RELATED = ("{} {} {}", "there is {} {} {}", "{} {} {}")


@dataclass(frozen=True)
class Mention:
    """Things said together: how many, of which size and colour, of which kind; None is not said."""

    kind: str
    colour: str | None = None
    size: str | None = None
    count: int = 1
    at_least: bool = False
    """Whether more would do as well: what a plural without a number says."""

    def words(self) -> str:
        """The noun phrase."""
        described = " ".join(word for word in (self.size, self.colour, self.kind) if word)
        if self.count == 1:
            return f"{'an' if described[0] in 'aeiou' else 'a'} {described}"
        number = next(word for word, n in NUMBERS.items() if n == self.count)
        return f"{number} {plural(described)}"


def plural(noun: str) -> str:
    """More than one of a kind."""
    return noun + ("es" if noun.endswith(("x", "sh")) else "s")


def groups(scene: Scene, level: Level) -> list[tuple[Mention, Thing]]:
    """Each group of equal things as a full mention, with one of its things."""
    counts = Counter((t.kind, t.colour, t.size) for t in scene.things)
    first = {(t.kind, t.colour, t.size): t for t in reversed(scene.things)}
    return [
        (Mention(kind, colour, size if level.sizes else None, number), first[kind, colour, size])
        for (kind, colour, size), number in counts.items()
    ]


def full_caption(scene: Scene, level: Level, rng: random.Random) -> str:
    """A true caption that names every object with its colour."""
    parts = groups(scene, level)
    rng.shuffle(parts)
    return _say(scene, level, parts, rng)


def partial_caption(scene: Scene, level: Level, rng: random.Random) -> str:
    """A true caption of only some of the scene, as much of the web's alt text is."""
    parts = groups(scene, level)
    kept = rng.sample(parts, rng.randint(1, max(1, len(parts) - 1)))
    if rng.random() < 0.3:
        kept = [(Mention(m.kind), t) for m, t in kept[:1]]
    return _say(scene, level, kept, rng)


def captions(scene: Scene, level: Level, rng: random.Random, count: int) -> tuple[str, ...]:
    """Several full captions, different where the grammar has as many."""
    said: list[str] = []
    for _ in range(10 * count):
        text = full_caption(scene, level, rng)
        if text not in said:
            said.append(text)
        if len(said) == count:
            break
    return tuple(said)


def _say(
    scene: Scene, level: Level, parts: Sequence[tuple[Mention, Thing]], rng: random.Random
) -> str:
    (first, one), rest = parts[0], list(parts[1:])
    if not rest:
        text = rng.choice(_ALONE if first.count == 1 else _SEVERAL).format(first.words())
    else:
        second, other = rest.pop(0)
        text = _pair(scene, level, (first, one), (second, other), rng)
    for mention, _ in rest:
        text += f" and {mention.words()}"
    where = BACKGROUNDS[scene.background]
    return f"{text} {where}" if where and rng.random() < 0.5 else text


def _pair(
    scene: Scene, level: Level, first: tuple[Mention, Thing], second: tuple[Mention, Thing], rng: random.Random
) -> str:
    (a, one), (b, other) = first, second
    true = [r for r in PHRASES if level.relations and scene.stands(one, r, other)]
    # A relation between groups of several things would be ambiguous, so it is said of single ones.
    if true and a.count == b.count == 1 and rng.random() < 0.6:
        relation = rng.choice(true)
        if rng.random() < 0.5:
            a, b, relation = b, a, INVERSE[relation]
        return rng.choice(_RELATED).format(a.words(), rng.choice(PHRASES[relation]), b.words())
    text = rng.choice(_JOINED).format(a.words(), b.words())
    return text.replace("there is", "there are", 1) if a.count > 1 else text
