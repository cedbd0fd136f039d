"""Pairs that are kept out of pre-training: the last images that open, with all their captions, and no more is read for it."""

import pytest
from data_files import encoded, picture

import lab.held_out
from blip.data.pairs import Pair
from blip.data.pairset import PairSet
from blip.errors import InputError
from lab.held_out import split_held_out


def pairs(images=20, broken=()):
    """Two captions an image, the second ones in a second pass."""
    pixels = {n: b"no picture" if n in broken else encoded(picture(n)) for n in range(images)}
    return PairSet.of(Pair(str(n), f"caption {turn} of {n}", pixels[n]) for turn in range(2) for n in range(images))


def test_the_last_images_that_open_are_held_out_with_all_their_captions(monkeypatch):
    opened, opens = [], lab.held_out.open_image
    monkeypatch.setattr(lab.held_out, "open_image", lambda pair: opened.append(pair.key) or opens(pair))
    training, held = split_held_out(pairs(broken=(18, 3)), 3)
    assert [(pair.key, pair.caption) for pair in held] == [(str(n), f"caption 1 of {n}") for n in (19, 17, 16)]
    assert opened == ["19", "18", "17", "16"]
    assert {pair.key for pair in training} == {str(n) for n in range(20)} - {"19", "17", "16"}
    assert len(training) == 2 * 17


@pytest.mark.parametrize(("images", "count"), [(20, 0), (20, 1), (3, 4), (4, 4)])
def test_too_few_are_refused(images, count):
    with pytest.raises(InputError, match=f"{2 * images} pairs are too few to hold {count} out"):
        split_held_out(pairs(images), count)
