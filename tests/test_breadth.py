"""Other tasks of a student: which kinds it tells without their colours, dialogs and questions after fine-tuning."""

from dataclasses import replace

import numpy as np
import pytest

from lab.ablation import breadth
from lab.ablation.arms import Lab
from lab.ablation.breadth import SAID, SCORES, SHOWN, preferred, texts_of
from lab.ablation.scales import scaled
from lab.ablation.table import NONE
from lab.captioned import distinct
from lab.runs import Home
from lab.weights import shipped
from lab.world.checker import check
from lab.world.sets import World


@pytest.mark.parametrize("level", ["nano", "small"])
def test_texts_name_every_kind_alone_and_in_every_colour(level):
    world, texts = World.of(level), texts_of(World.of(level))
    kinds, colours = world.level.kind_names, world.level.colour_names
    assert len(set(texts)) == len(texts) == len(kinds) * (1 + len(colours))
    assert [text.split()[1:] for text in texts[: len(kinds)]] == [[kind] for kind in kinds]
    assert texts[len(kinds)].split()[1:] == [colours[0], kinds[0]]


def knowing(truth):
    """In place of a model: a text has the score that `truth` gives it about a scene."""

    def scores(loaded, scenes, texts, px, device):
        found = np.array([[truth(text, one.scene) for text in texts] for one in scenes], float)
        return dict.fromkeys(SCORES, found)

    return scores


@pytest.mark.parametrize("level", ["nano", "small"])
def test_who_knows_the_truth_is_always_right_and_who_knows_only_colours_never(monkeypatch, level):
    world = World.of(level)
    monkeypatch.setattr(breadth, "_scores", knowing(lambda text, scene: check(text, scene).truth == "true"))
    found = preferred(None, world, 40)
    assert found == {"scenes": len(distinct(world.evaluation(40)))} | {score: dict.fromkeys((*SAID, *SHOWN), 1.0) for score in SCORES}
    monkeypatch.setattr(breadth, "_scores", knowing(lambda text, scene: any(thing.colour in text.split() for thing in scene.things)))
    assert preferred(None, world, 40)["lm"] == dict.fromkeys((*SAID, *SHOWN), 0.0)


def test_who_knows_kinds_only_with_a_colour_is_right_of_those_alone(monkeypatch):
    monkeypatch.setattr(breadth, "_scores", knowing(lambda text, scene: len(text.split()) == 3 and check(text, scene).truth == "true"))
    assert preferred(None, World.of("nano"), 40)["itm"] == {"alone": 0.0, "coloured": 1.0, "one": 0.0, "more": 0.0}


def test_pictures_of_one_object_and_of_more_are_told_apart(monkeypatch):
    world, lone = World.of("nano"), lambda text, scene: len(scene.things) == 1 and check(text, scene).truth == "true"
    monkeypatch.setattr(breadth, "_scores", knowing(lone))
    found = preferred(None, world, 40)["itm"]
    assert (found["one"], found["more"]) == (1.0, 0.0) and 0 < found["alone"] < 0.5
    monkeypatch.setattr(World, "evaluation", lambda self, count: [one for one in World.of("nano").human(30) if len(one.scene.things) > 1])
    assert preferred(None, world, 40)["itm"] == {"alone": 0.0, "coloured": 0.0, "one": None, "more": 0.0}


def test_shipped_weights_tell_kinds_by_every_score():
    found = preferred(shipped("pretrained"), World.of("nano"), 60)
    assert found["scenes"] > 30
    assert min(found[score][said] for score in SCORES for said in SAID) > 0.85


def test_a_student_is_measured_in_every_task_and_each_is_kept(tmp_path):
    arm = replace(NONE, measures=(breadth.kinds, breadth.dialog, breadth.questions))
    lab = Lab(Home(tmp_path), scaled("smoke"), 0)
    found = {name: run.result for name, run in arm.runs(lab).items()}
    assert 0 < found["dialog"]["ndcg"] <= 1 and 0 <= found["questions"]["accuracy"] <= 1
    assert 0 <= found["kinds"]["lm"]["alone"] <= 1
    ids = {name: run.id for name, run in arm.runs(lab).items()}
    assert ids == {name: run.id for name, run in arm.runs(lab).items()} and len(set(ids.values())) == 3
