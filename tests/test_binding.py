"""Whose colour is whose: texts with one thing wrong, and how often the true one is preferred."""

import pytest

from blip.checkpoint import Loaded
from lab.ablation import binding
from lab.ablation.binding import WRONG, preferred, suits, texts_of
from lab.captioned import distinct
from lab.weights import shipped
from lab.world.checker import check
from lab.world.sets import World


@pytest.mark.parametrize("level", ["nano", "small"])
def test_true_texts_are_true_and_wrong_ones_false_each_in_one_part(level):
    world = World.of(level)
    scenes = [one for one in distinct(world.evaluation(60)) if suits(one.scene)]
    assert len(scenes) > 5
    for number, one in enumerate(scenes):
        for texts in texts_of(one.scene, number, world.level):
            true, *wrong = (check(text, one.scene).truth for text in texts)
            assert true == "true" and wrong == ["false"] * len(WRONG), texts
            own, swapped, colour, kind = (set(text.split()) - {"a", "an"} for text in texts)
            assert own == swapped
            assert len(own - colour) == len(own - kind) == 1
        one_order, other = texts_of(one.scene, number, world.level)
        assert [text.split(" and ")[::-1] for text in one_order] == [text.split(" and ") for text in other]


def test_scenes_that_do_not_suit_are_left_out():
    world = World.of("nano")
    scenes = [one.scene for one in distinct(world.evaluation(200))]
    left_out = [scene for scene in scenes if not suits(scene)]
    assert left_out and all(len(s.things) == 1 or len({t.kind for t in s.things}) == 1 or len({t.colour for t in s.things}) == 1 for s in left_out)


class Knowing:
    """A matcher that knows all but whose colour is whose: it counts the words that a picture's true texts have."""

    def __init__(self, loaded: Loaded, device: str) -> None:
        self.device = device

    def prepare(self, image):
        return image

    def __call__(self, pictures, texts):
        words = [set(own[0].split()) for own in texts]
        return [[(n := float(len(known & set(text.split()))), n, -n) for text in own] for known, own in zip(words, texts, strict=True)]


def test_shares_are_of_strictly_higher_scores_by_score(monkeypatch):
    monkeypatch.setattr(binding, "Matcher", Knowing)
    found = preferred(shipped("filter"), World.of("nano"), 40)
    assert found["itm"] == {"swapped": 0.0, "colour": 1.0, "kind": 1.0} and found["itc"] == dict.fromkeys(WRONG, 0.0)
    assert 5 < found["scenes"] <= 40


@pytest.mark.parametrize("name", ["filter", "pretrained"])
def test_shipped_weights_know_colours_kinds_and_whose_they_are_as_their_card_says(name):
    found = preferred(shipped(name), World.of("nano"), 100)
    assert min(found[score][wrong] for score in ("itm", "itc") for wrong in WRONG) > 0.9


def test_without_a_suitable_scene_there_is_no_share():
    assert preferred(shipped("filter"), World.of("nano"), 0) == {"scenes": 0} | {score: dict.fromkeys(WRONG) for score in ("itm", "itc")}
