"""Captions of the generated world fit the length at which a decoder stops."""

import pytest

from blip.generate import Decoding
from lab.ablation.ground import WORLD
from lab.ablation.scales import SCALES, scaled
from lab.evaluate import GREEDY, with_room
from lab.sources import tokenizer_of
from lab.world.levels import LEVELS
from lab.world.sets import World


@pytest.mark.parametrize("name", [name for name in LEVELS if name != "rich"])
def test_what_people_say_at_a_level_fits_behind_the_prompt(name):
    world = World.of(name)
    human = world.human(300, captions_each=2)
    tokenizer = tokenizer_of([*world.web(600, 0.3), *human])
    decoding = with_room(GREEDY, name)
    begun = len(tokenizer.prompt(Decoding().begin))
    held_out = [text for item in world.evaluation(60, "all") for text in item.references]
    longest = max(int(tokenizer([text], 200).keep.sum()) for text in [*(one.caption for one in human), *held_out])
    assert begun + longest - 1 <= decoding.max_length  # [CLS] stands for [DEC], which the prompt counts


def test_levels_of_the_committed_records_are_decoded_as_before():
    for scale in SCALES:
        level, fitting = scaled(scale).level, WORLD.fitting(GREEDY, scaled(scale))
        assert (fitting == GREEDY) == level.startswith("nano")
