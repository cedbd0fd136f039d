"""The generated world's grammar and its checker, held against each other and against examples by hand."""

import itertools
import random
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.world.checker import PARTS, check, meaning
from lab.world.language import NUMBERS, PHRASES, captions, full_caption, partial_caption, plural
from lab.world.levels import BACKGROUNDS, COLOURS, KINDS, LEVELS, SIZES
from lab.world.noise import mismatched, near_miss, truncated
from lab.world.scene import Scene, Thing, compose

SCENES = 500


def scene(*things: str, background: str = "plain") -> Scene:
    """A scene from words "kind colour x y [size]"."""
    made = []
    for words in things:
        kind, colour, x, y, *size = words.split()
        made.append(Thing(kind, colour, size[0] if size else "big", float(x), float(y), 0.1))
    return Scene(background, tuple(made))


PAIR = scene("ball red 0.25 0.5", "box blue 0.75 0.5")
GRID = scene(
    "ball red 0.2 0.25 big", "ball red 0.8 0.25 big", "ball red 0.2 0.75 small", "star blue 0.8 0.75 big",
    background="beach",
)  # fmt: skip

BY_HAND = [
    # What is there.
    (PAIR, "a red ball", "true", None, False),
    (PAIR, "a red ball and a blue box", "true", None, True),
    (PAIR, "a ball and a blue box", "true", None, False),
    (PAIR, "A Red Ball, and a blue box!", "true", None, True),
    (PAIR, "a green ball", "false", "colour", False),
    (PAIR, "a red star", "false", "kind", False),
    (PAIR, "a red box and a blue ball", "false", "several", False),
    (PAIR, "a red box and a blue box", "false", "kind", False),
    (PAIR, "a red blue ball", "false", "colour", False),
    (PAIR, "a red red ball", "true", None, False),
    # Numbers.
    (PAIR, "two red balls", "false", "count", False),
    (PAIR, "a red ball and a red ball", "false", "count", False),
    (PAIR, "a red ball and a ball", "false", "count", False),
    (PAIR, "one red ball", "true", None, False),
    (GRID, "a red ball", "true", None, False),
    (GRID, "two red balls", "false", "count", False),
    (GRID, "three red balls", "true", None, False),
    (GRID, "3 red balls", "true", None, False),
    (GRID, "three red balls and a blue star", "true", None, True),
    (GRID, "two big red balls and a small red ball and a blue star", "true", None, True),
    (GRID, "red balls", "true", None, False),
    (GRID, "blue stars", "false", "count", False),
    (GRID, "red balls and a red ball and a blue star", "true", None, True),
    (GRID, "a red ball and a red ball and a red ball", "true", None, False),
    (GRID, "a ball and a ball and a ball and a ball", "false", "count", False),
    # Sizes.
    (GRID, "a small red ball", "true", None, False),
    (GRID, "two big red balls", "true", None, False),
    (GRID, "a small blue star", "false", "size", False),
    (GRID, "a small big ball", "false", "size", False),
    # Relations; left, right, above and below need a distance.
    (PAIR, "a red ball left of a blue box", "true", None, True),
    (PAIR, "a red ball is to the left of the blue box", "true", None, True),
    (PAIR, "a blue box to the right of a red ball", "true", None, True),
    (PAIR, "a red ball right of a blue box", "false", "relation", False),
    (PAIR, "a red ball above a blue box", "false", "relation", False),
    (PAIR, "a red ball next to a blue box", "true", None, True),
    (PAIR, "a red ball left of a green box", "false", "colour", False),
    (GRID, "a small ball under a big ball", "true", None, False),
    (GRID, "a small ball over a big ball", "false", "relation", False),
    (GRID, "a ball left of a ball", "true", None, False),
    (GRID, "a star left of a ball", "false", "relation", False),
    (GRID, "two big red balls above a blue star", "true", None, False),
    (GRID, "two big red balls left of a blue star", "false", "relation", False),
    (GRID, "a big red ball above a small red ball and a blue star", "true", None, False),
    # Backgrounds.
    (GRID, "a blue star on the beach", "true", None, False),
    (GRID, "on the beach", "true", None, False),
    (GRID, "a blue star at night", "false", "background", False),
    (GRID, "a blue star on the beach at night", "false", "background", False),
    (GRID, "at night on the beach", "false", "background", False),
    # Cut off, or nothing said.
    (PAIR, "a red ball to the left of a", "true", None, False),
    (PAIR, "a red ball to the left of a green", "true", None, False),
    (PAIR, "a red ball to the", "true", None, False),
    (PAIR, "a red", "uninformative", None, False),
    (PAIR, "two", "uninformative", None, False),
    (PAIR, "left of", "uninformative", None, False),
    (PAIR, "left of a red ball", "true", None, False),
    (PAIR, "", "uninformative", None, False),
    (PAIR, "img 2041", "uninformative", None, False),
    (PAIR, "ball-room", "true", None, False),
    (PAIR, "a redball", "uninformative", None, False),
    (PAIR, "a red thing and a green box", "false", "colour", False),
]


@pytest.mark.parametrize(("shown", "text", "truth", "wrong", "strict"), BY_HAND)
def test_examples_by_hand(shown, text, truth, wrong, strict):
    verdict = check(text, shown)
    assert (verdict.truth, verdict.wrong, verdict.strict) == (truth, wrong, strict)


def scenes(name: str, count: int = SCENES):
    """Scenes of a level, each with the generator its texts come from."""
    for i in range(count):
        rng = random.Random(f"test/{name}/{i}")
        yield compose(LEVELS[name], rng), rng


@pytest.mark.parametrize("name", LEVELS)
def test_what_the_grammar_says_is_true(name):
    level, said = LEVELS[name], set()
    for shown, rng in scenes(name):
        for text in captions(shown, level, rng, 5):
            verdict = check(text, shown)
            assert (verdict.truth, verdict.wrong, verdict.strict) == ("true", None, True), (text, shown)
            said.add(text)
        text = partial_caption(shown, level, rng)
        assert check(text, shown).truth == "true", (text, shown)
        text = truncated(shown, level, rng)
        assert check(text, shown).truth in ("true", "uninformative"), (text, shown)
    assert len(said) > 2 * SCENES


@pytest.mark.parametrize("name", LEVELS)
def test_false_texts_are_found_and_their_wrong_part_named(name):
    level, found = LEVELS[name], set()
    for shown, rng in scenes(name, 200):
        near, far = near_miss(shown, level, rng), mismatched(shown, level, rng)
        for text in (near, far):
            verdict = check(text, shown)
            assert verdict.truth == "false"
            assert verdict.wrong == first_repair(text, shown), (text, shown)
        assert check(near, shown).wrong in PARTS
        found.add(check(near, shown).wrong)
    may_be = {"relation": level.relations, "size": level.sizes, "count": level.counts}
    assert found == {"colour", "kind"} | {part for part, holds in may_be.items() if holds}


def first_repair(text: str, shown: Scene) -> str:
    """The slow truth about the wrong part: change the words of one part in every way, see if it helps."""
    for part in PARTS:
        if any(check(changed, shown).truth == "true" for changed in reworded(text, part)):
            return part
    return "several"


def reworded(text: str, part: str):
    """The text with another word for one part."""
    if part == "relation":
        phrases = sorted((p for several in PHRASES.values() for p in several), key=len, reverse=True)
        yield re.sub("|".join(rf"\b{p}\b" for p in phrases), "and", text)
    elif part == "background":
        yield re.sub("|".join(p for p in BACKGROUNDS.values() if p), "", text)
    elif part == "count":
        yield re.sub("|".join(rf"\b{n}\b" for n in NUMBERS), "a", text)
    else:
        known = {"size": [list(SIZES)], "colour": [list(COLOURS)], "kind": [list(KINDS), [plural(k) for k in KINDS]]}
        words = text.split()
        for group, at in itertools.product(known[part], range(len(words))):
            if words[at] in group:
                yield from (" ".join([*words[:at], word, *words[at + 1 :]]) for word in group)


PARAPHRASES = [
    ["a red ball", "there is a red ball", "just a red ball", "one red ball", "Here is a red ball.", "a red ball on its own"],
    ["a ball", "the ball", "we see a ball"],
    ["two red balls", "there are two red balls", "2 red balls"],
    ["red balls", "here are red balls"],
    ["a red ball and a red ball"],
    ["a red ball and a blue box", "a blue box with a red ball", "a blue box next to a red ball"],
    ["a red box and a blue ball"],
    ["a red ball left of a blue box", "a blue box right of a red ball", "a blue box to the right of a red ball"],
    ["a blue box left of a red ball", "there is a red ball to the right of a blue box"],
    ["a red ball above a blue box", "a blue box under a red ball", "a red ball over a blue box", "a blue box below a red ball"],
    ["a red ball on the grass", "there is a red ball on the grass"],
    ["a red ball on the beach"],
    ["on the beach"],
    ["a big red ball", "a red big ball"],
    ["a small red ball"],
    ["img 12", "IMG 12"],
    ["img 13"],
    ["so cute"],
]  # fmt: skip


def test_paraphrases_mean_the_same_and_different_claims_do_not():
    for several in PARAPHRASES:
        assert len({meaning(text) for text in several}) == 1, several
    assert len({meaning(several[0]) for several in PARAPHRASES}) == len(PARAPHRASES)


@pytest.mark.parametrize("name", LEVELS)
def test_equal_meaning_gives_equal_truth_in_every_scene(name):
    """And a different meaning of two texts without relation shows in some scene: here, in their own."""
    level = LEVELS[name]
    shown = [one for one, _ in scenes(name, 60)]
    rng = random.Random(f"equal/{name}")
    texts = [text for one in shown for text in (*captions(one, level, rng, 4), partial_caption(one, level, rng))]
    truths: dict = {}
    for text in texts:
        truth = tuple(check(text, one).truth for one in shown)
        assert truths.setdefault(meaning(text), truth) == truth, text
    assert len(truths) < len(set(texts))


def test_a_scene_is_said_in_several_ways():
    rng, related = random.Random(0), replace(LEVELS["nano"], relations=True)
    said = captions(PAIR, related, rng, 12)
    assert len(set(said)) == len(said) == 12
    # Two orders of four ways to join, two phrases of a relation said in two ways from either side.
    assert len({full_caption(PAIR, related, rng) for _ in range(2000)}) == 16
    assert len({full_caption(PAIR, LEVELS["nano"], rng) for _ in range(2000)}) == 8


def test_several_things_are_said_in_the_plural():
    rng = random.Random(0)
    said = {full_caption(GRID, LEVELS["medium"], rng) for _ in range(400)}
    assert not [text for text in said if re.search(r"there is (two|three|four|five|six)", text)]
    assert [text for text in said if text.startswith("there are two")]


GRAMMAR = st.sampled_from(
    [*KINDS, *map(plural, KINDS), *COLOURS, *SIZES, *NUMBERS, "a", "an", "the", "is", "and", "with", "to"]
    + [phrase for several in PHRASES.values() for phrase in several]
    + [phrase for phrase in BACKGROUNDS.values() if phrase]
)
ANY_SCENE = st.builds(
    lambda name, seed: compose(LEVELS[name], random.Random(seed)), st.sampled_from(list(LEVELS)), st.integers(0, 999)
)
ANY_TEXT = st.one_of(st.text(), st.lists(st.one_of(GRAMMAR, GRAMMAR, st.text(max_size=5)), max_size=24).map(" ".join))


@settings(max_examples=600, deadline=None, derandomize=True)
@given(text=ANY_TEXT, shown=ANY_SCENE)
def test_the_checker_never_fails_on_any_text(text, shown):
    verdict = check(text, shown)
    assert verdict.truth in ("true", "false", "uninformative")
    assert (verdict.wrong is not None) == (verdict.truth == "false")
    assert verdict.wrong in (None, "several", *PARTS)
    assert not verdict.strict or verdict.truth == "true"
    assert hash(meaning(text)) == hash(meaning(text))
    loud = f" {text.upper()} !" if text.isascii() else text
    assert check(loud, shown) == verdict


@settings(max_examples=200, deadline=None, derandomize=True)
@given(first=ANY_TEXT, second=ANY_TEXT, shown=ANY_SCENE)
def test_saying_more_never_makes_a_false_text_true(first, second, shown):
    """Claims only add up: a text that is false stays false whatever follows after a full stop in words."""
    if check(first, shown).truth == "false" and meaning(f"{first} zuka") == meaning(first):
        assert check(f"{first} zuka {second}", shown).truth == "false"


def test_a_very_long_text_is_judged_at_once():
    assert check("a red ball and " * 5000, GRID).wrong == "count"
    assert check("a red ball left of " * 5000, GRID).truth == "false"
