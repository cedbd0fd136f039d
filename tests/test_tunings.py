"""A filter fine-tuned on partial captions: what it reads, with which negatives, and what of the web's texts it keeps."""

import numpy as np
import pytest

from blip.capfilt import Ledger, decide
from lab import stages
from lab.ablation import breadth
from lab.ablation.arms import Lab
from lab.ablation.beyond import BREADTH, OBJECTIVES
from lab.ablation.scales import scaled
from lab.ablation.tunings import PARTLY, leaving_out, on_parts
from lab.rounds import LEDGER, Steps
from lab.runs import Home
from lab.world.checker import check
from lab.world.sets import World


@pytest.mark.parametrize("level", ["nano", "small"])
def test_about_half_of_the_captions_may_leave_something_out_and_all_are_true(level):
    world = World.of(level)
    before = world.human(600, captions_each=2)
    after = leaving_out(before, world.level)
    assert [one.key for one in after] == [one.key for one in before] and after == leaving_out(before, world.level)
    verdicts = [check(one.caption, one.scene) for one in after]
    assert {one.truth for one in verdicts} == {"true"}
    several = [not found.strict for one, found in zip(after, verdicts, strict=True) if len(one.scene.things) > 1]
    assert np.mean(several) == pytest.approx(PARTLY, abs=0.06)
    alone = [not found.strict for one, found in zip(after, verdicts, strict=True) if len(one.scene.things) == 1]
    assert 0 < np.mean(alone) < 0.3  # of an only object its colour alone can be left out


def test_filters_of_partial_captions_differ_by_their_negatives_and_begin_at_the_same_model(tmp_path, monkeypatch):
    asked, plain = [], stages.tune_filter
    monkeypatch.setattr(stages, "tune_filter", lambda *args, **named: asked.append(named.get("negatives")) or plain(*args, **named))
    steps = Steps(Home(tmp_path), scaled("smoke"), 0)
    model = steps.pretrain()
    _, usual = steps.tune(model)
    hard, soft = (on_parts(steps, model, negatives) for negatives in ("online", "random"))
    assert asked == [None, "online", "random"] and len({one.result["model"] for one in (usual, hard, soft)}) == 3
    assert on_parts(steps, model, "random") == soft and len(asked) == 3  # done once


def test_what_a_filter_keeps_is_counted_by_what_texts_say(tmp_path):
    arm, lab = BREADTH.arm("both, partial captions, random negatives"), Lab(Home(tmp_path), scaled("smoke"), 0)
    trained = arm._trained(lab)
    found = breadth.kept(trained).result
    texts = {one.key: (check(one.caption, one.scene), one) for one in trained.student.web}
    strict = {key for key, (verdict, _) in texts.items() if verdict.strict}
    rows = [row for row in decide(Ledger.open(trained.makers[2].folder / LEDGER)).to_pylist() if row["origin"] == "web"]
    assert found["whole"] == {"texts": len(strict), "kept": np.mean([row["kept"] for row in rows if row["image_key"] in strict])}
    assert sum(own["texts"] for own in found.values()) == sum(verdict.truth != "uninformative" for verdict, _ in texts.values())
    assert found["false"]["texts"] == sum(verdict.truth == "false" for verdict, _ in texts.values()) > 0


def test_arms_that_differ_in_objectives_are_measured_after_the_same_fine_tuning(tmp_path, monkeypatch):
    """The filter's queue was that of the pre-training where that is shorter; such runs are told from those of now."""
    told, rules = [], []
    monkeypatch.setattr(stages, "_run", lambda name, task, *args, **named: told.append(name) or rules.append(getattr(task, "config", None)))
    names = []
    for arm in ("ITC + ITM + LM", "no momentum"):
        steps = Steps(Home(tmp_path / arm), OBJECTIVES.arm(arm).recipe_of(scaled("smoke")), 0)
        names.append(steps._step("filter", [], **stages.of_filter(steps.recipe)).config.get("queue and alpha"))
        steps.tune(steps.pretrain())
    assert told == ["pretrain", "captioner", "filter"] * 2 and rules[2] == rules[5] and rules[0] != rules[3]
    assert names == [None, "of retrieval"]
