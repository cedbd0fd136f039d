"""The drawn world: objects are whole, apart, told from each other, and where the scene says."""

import itertools
import random
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from world_scenes import TOUCHING, components, covered, is_one_sentence, lone, on_plain, scenes

from blip.errors import InputError
from lab.world.draw import STYLES, blank, draw
from lab.world.levels import BACKGROUNDS, COLOURS, KINDS, LEVELS, SIZES
from lab.world.scene import RELATIONS, Scene, Thing, compose, jittered

SMALLEST = 0.5 / 3 * 0.86 * SIZES["small"]  # half a side, as a small thing of the level rich
LOOKS = list(itertools.product(KINDS, COLOURS, STYLES))


def test_every_object_is_one_whole_thing_within_its_square():
    for kind, colour, style in LOOKS:
        for half, px in ((0.43, 96), (0.215, 192), (SMALLEST, 256)):
            mask = covered(lone(kind, colour, half), px, style)
            assert len(components(mask)) == 1, (kind, colour, style, half)
            rows, columns = np.nonzero(mask)
            middle, reach = (px - 1) / 2, half * px + 0.5  # squares are of whole pixels
            assert max(abs(rows - middle).max(), abs(columns - middle).max()) <= reach
            widest = max(np.ptp(rows), np.ptp(columns)) + 1
            assert widest > 1.55 * reach, "an object fills its square in one direction"


@pytest.mark.parametrize("name", LEVELS)
def test_objects_of_a_scene_are_whole_and_apart(name):
    """At the size that models see: nothing is cut off, and a free pixel lies between any two."""
    px = LEVELS[name].px
    for scene in scenes(name, 120):
        masks = [covered(Scene("plain", (thing,)), px) for thing in scene.things]
        for thing, mask in zip(scene.things, masks, strict=True):
            middle = covered(Scene("plain", (replace(thing, x=0.5, y=0.5),)), px)
            assert mask.sum() == middle.sum(), thing
        for one, other in itertools.combinations(masks, 2):
            assert not (ndimage.binary_dilation(one, TOUCHING) & other).any(), scene


@pytest.mark.parametrize(("px", "floor"), [(256, 0.15), (32, 0.12)])
def test_kinds_are_told_apart_by_their_silhouettes(px, floor):
    """Two kinds share less than 1 - floor of the pixels that either covers."""
    masks = {kind: covered(lone(kind, "blue"), px) for kind in KINDS}
    for one, other in itertools.combinations(KINDS, 2):
        apart = (masks[one] ^ masks[other]).sum() / (masks[one] | masks[other]).sum()
        assert apart >= floor, (one, other, apart)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("px", "floor"), [(256, 27), (32, 19)])
def test_colours_are_told_apart_on_every_kind(px, floor, style):
    """Mean distance over the object's pixels, in the channel that differs most; of 255."""
    for kind in KINDS:
        mask = covered(lone(kind, "blue"), px, style)
        drawn = {colour: draw(lone(kind, colour), px, style).astype(int)[mask] for colour in COLOURS}
        for one, other in itertools.combinations(COLOURS, 2):
            apart = np.abs(drawn[one] - drawn[other]).max(-1).mean()
            assert apart >= floor, (kind, one, other, apart)


@pytest.mark.parametrize(("px", "share"), [(256, 0.97), (32, 0.75)])
def test_the_second_style_differs_wherever_an_object_is(px, share):
    for kind, colour in itertools.product(KINDS, COLOURS):
        mask = covered(lone(kind, colour), px)
        flat, sketch = (draw(lone(kind, colour), px, style).astype(int)[mask] for style in STYLES)
        differs = np.abs(flat - sketch).max(-1)
        assert (differs > 0).mean() >= share, (kind, colour)
        assert differs.mean() > 5, (kind, colour)
    for background in BACKGROUNDS:
        assert (blank(background, px) != blank(background, px, "sketch")).any(-1).mean() > 0.9


def test_styles_show_the_same_objects_in_the_same_places():
    for scene in map(on_plain, scenes("rich", 40)):
        flat, sketch = covered(scene, 256), covered(scene, 256, "sketch")
        assert (flat ^ sketch).sum() < 0.2 * flat.sum()  # the rims of small objects


def test_edges_are_smooth():
    """A ball has three colours; all others on its picture are mixtures at edges, none of them beyond."""
    ball, ground = draw(lone("ball", "blue"), 64), blank("plain", 64)[0, 0].astype(int)
    colours = np.unique(ball.reshape(-1, 3), axis=0).astype(int)
    assert len(colours) > 40
    inside = components(np.abs(ball - ground).max(-1) > 200)
    assert len(inside) == 1
    ring = ndimage.binary_dilation(inside[0], TOUCHING) & ~inside[0]
    steps = np.unique(ball[ring], axis=0)
    assert len(steps) > 20, "along its rim a ball fades at many strengths"


@pytest.mark.parametrize("name", LEVELS)
def test_what_a_scene_says_holds_in_its_pixels(name):
    """Components of the picture are the things of the scene: as many, there, related, and as large."""
    for scene in map(on_plain, scenes(name, 40, "pixels")):
        found = components(covered(scene, 256))
        assert len(found) == len(scene.things)
        spots = {thing: box_centre(nearest(thing, found)) for thing in scene.things}
        for thing, (x, y) in spots.items():
            assert max(abs(x - thing.x), abs(y - thing.y)) < 0.2 * thing.half + 0.01, thing
        for a, b in itertools.permutations(scene.things, 2):
            for relation, (dx, dy) in RELATIONS.items():
                if scene.stands(a, relation, b):
                    assert dx * (spots[a][0] - spots[b][0]) + dy * (spots[a][1] - spots[b][1]) > 0.1


def test_a_small_thing_covers_about_a_third_of_a_big_one():
    level, areas = LEVELS["rich"], {}
    for scene in map(on_plain, scenes("rich", 150, "sizes")):
        if len(scene.things) > 4:  # here big things are as large as they are beside small ones
            for thing in scene.things:
                areas[thing.look] = covered(Scene("plain", (thing,)), 256).sum()
    both = [(areas[k, c, "small"], areas[k, c, "big"]) for k in KINDS for c in COLOURS if {(k, c, "small"), (k, c, "big")} <= set(areas)]
    assert len(both) > 40 and level.sizes
    assert all(0.3 < small / big < 0.45 for small, big in both)


def nearest(thing: Thing, found: list[np.ndarray]) -> np.ndarray:
    return min(found, key=lambda mask: np.hypot(*np.subtract(box_centre(mask), (thing.x, thing.y))))


def box_centre(mask: np.ndarray) -> tuple[float, float]:
    """The middle of what a mask covers, as shares of the side."""
    rows, columns = np.nonzero(mask)
    side = 2 * len(mask)
    return (columns.min() + columns.max() + 1) / side, (rows.min() + rows.max() + 1) / side


@pytest.mark.parametrize("name", LEVELS)
def test_a_level_shows_all_it_has_and_no_more(name):
    level, seen = LEVELS[name], list(scenes(name, 600, "all"))
    things = [thing for scene in seen for thing in scene.things]
    assert {thing.kind for thing in things} == set(level.kind_names)
    assert {thing.colour for thing in things} == set(level.colour_names)
    assert {thing.size for thing in things} == (set(SIZES) if level.sizes else {"big"})
    assert {scene.background for scene in seen} == set(level.background_names)
    assert {len(scene.things) for scene in seen} == set(range(1, level.most + 1))
    counted = any(len({thing.look for thing in scene.things}) < len(scene.things) for scene in seen)
    assert counted == level.counts


def test_a_scene_is_the_same_after_a_trip_through_json():
    for scene in scenes("rich", 50):
        assert Scene.from_json(scene.to_json()) == scene


def test_the_same_scene_gives_the_same_pixels_and_its_own_array():
    scene = compose(LEVELS["rich"], random.Random(3))
    first = draw(scene, 128)
    first[:] = 0
    again = draw(scene, 128)
    assert again.any() and np.array_equal(again, draw(scene, 128))
    assert (again.shape, again.dtype) == ((128, 128, 3), np.uint8)


def test_a_jittered_scene_is_drawn_elsewhere():
    scene = next(scenes("nano", 1))
    moved = jittered(scene, random.Random(0))
    assert not np.array_equal(draw(scene, 256), draw(moved, 256))


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: draw(lone("ball", "red"), 7), "7"),
        (lambda: draw(lone("ball", "red"), 32, "oil"), "oil"),
        (lambda: blank("plain", 32, "oil"), "oil"),
        (lambda: replace(LEVELS["nano"], kinds=19), "kinds=19"),
        (lambda: replace(LEVELS["nano"], colours=1), "colours=1"),
        (lambda: replace(LEVELS["nano"], px=4), "px=4"),
        (lambda: replace(LEVELS["nano"], backgrounds=0), "backgrounds=0"),
        (lambda: replace(LEVELS["nano"], kinds=2, colours=3, most=6), "2 kinds in 3 colours"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_one_sentence(call, word):
    with pytest.raises(InputError) as caught:
        call()
    assert word in str(caught.value) and is_one_sentence(str(caught.value))
