"""Recipes: the rules they keep, and strict overrides."""

import pytest

from blip.errors import InputError
from lab.recipes import CELL, RECIPES, SHIPPED, overridden, recipe


@pytest.mark.parametrize("chosen", RECIPES.values(), ids=list(RECIPES))
def test_every_recipe_keeps_the_papers_proportions(chosen):
    assert chosen.human <= 0.09 * chosen.web  # 1.34M of 15.3M human pairs
    assert chosen.objectives.queue <= chosen.web / 10
    assert recipe(chosen.name) == chosen


def test_overrides_change_the_named_field_only():
    changed = overridden(CELL, ["pretrain.batch=64", "objectives.momentum=none", "objectives.queue=0", "dropout=0.1"])
    assert (changed.pretrain.batch, changed.objectives.momentum, changed.dropout) == (64, None, 0.1)
    assert changed.captioner == CELL.captioner
    assert overridden(SHIPPED, []) == SHIPPED


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("pretrain.batch", "write it as field=value"),
        ("pretrain.bach=64", "did you mean batch?"),
        ("pretrain=64", "pretrain has fields of its own"),
        ("dropout.rate=1", "dropout has no fields"),
        ("web=many", "'many' is no int"),
        ("objectives.queue=9000", "more than a tenth"),
        ("filter.batch=0", "batch=0 cannot be"),
        ("human=0", "human=0 cannot be"),
    ],
)
def test_wrong_overrides_are_one_sentence(change, said):
    with pytest.raises(InputError, match=said):
        overridden(CELL, [change])


def test_an_unknown_recipe_names_the_known_ones():
    with pytest.raises(InputError, match="choose one of smoke, cell, shipped"):
        recipe("huge")
