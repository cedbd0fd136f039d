"""Augmentation keeps every caption true: shown on scenes, on pixels, and by reading scenes back from pixels."""

import itertools
import random
from functools import cache

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from world_scenes import covered, is_one_sentence, scenes

from blip.errors import InputError
from lab.world.augment import GRAIN, LIGHT, MOVE, Augmentation, redrawn
from lab.world.checker import check
from lab.world.draw import blank, draw
from lab.world.language import captions, partial_caption
from lab.world.levels import LEVELS, Level
from lab.world.noise import mismatched, near_miss
from lab.world.scene import RELATIONS, Scene, Thing, jittered
from lab.world.sets import World

NANO = LEVELS["nano"]
SEEDED = torch.Generator().manual_seed


def said(scene: Scene, level: Level, rng: random.Random) -> list[str]:
    """True and false captions of a scene."""
    true = [*captions(scene, level, rng, 3), partial_caption(scene, level, rng)]
    return [*true, near_miss(scene, level, rng), near_miss(scene, level, rng), mismatched(scene, level, rng)]


def batch(items: list[Scene], px: int, style: str = "flat") -> torch.Tensor:
    return torch.from_numpy(np.stack([draw(scene, px, style) for scene in items]))


# Scenes.


@pytest.mark.parametrize("name", LEVELS)
def test_a_jittered_scene_keeps_every_verdict(name):
    level, moves = LEVELS[name], 0
    for i, scene in enumerate(scenes(name, 120, "jitter")):
        rng = random.Random(i)
        other = jittered(scene, rng)
        moves += other != scene
        assert other.layout() == scene.layout()
        for text in said(scene, level, rng):
            assert check(text, other) == check(text, scene), (text, scene, other)
        for (a, b), relation in itertools.product(itertools.permutations(range(len(scene.things)), 2), RELATIONS):
            one, two = scene.things, other.things
            assert scene.stands(one[a], relation, one[b]) == other.stands(two[a], relation, two[b])
    assert moves > 100


@pytest.mark.parametrize("name", LEVELS)
def test_jittered_things_stay_whole_apart_and_near(name):
    for i, scene in enumerate(scenes(name, 200, "whole")):
        other = jittered(scene, random.Random(i))
        for before, after in zip(scene.things, other.things, strict=True):
            assert max(abs(before.x - after.x), abs(before.y - after.y)) <= 0.03 + 1e-4
            assert all(after.half - 1e-4 <= v <= 1 - after.half + 1e-4 for v in (after.x, after.y))
            assert (before.look, before.half) == (after.look, after.half)
        for a, b in itertools.combinations(other.things, 2):
            assert max(abs(a.x - b.x), abs(a.y - b.y)) > a.half + b.half - 1e-4


def test_redrawn_pictures_depend_on_seed_and_key_alone():
    items = World.of("small").web(12)
    all_of_them = redrawn(items, 64, seed=3)
    assert np.array_equal(redrawn(items[5:6], 64, seed=3)[0], all_of_them[5])
    assert not np.array_equal(redrawn(items, 64, seed=4), all_of_them)
    assert (all_of_them.shape, all_of_them.dtype) == ((12, 64, 64, 3), np.uint8)


# Pixels.


@pytest.mark.parametrize("name", ["nano", "medium"])
def test_every_pixel_is_as_two_plain_loops_make_it(name):
    """Objects moved on the background; then a light for the picture and a grain for each value."""
    level = LEVELS[name]
    shown = list(scenes(name, 6, "loops"))
    images, augment = batch(shown, level.px), Augmentation.of(level)
    new, moves = augment(images, SEEDED(5)).numpy().astype(int), augment.moves(images, SEEDED(5)).tolist()
    for scene, image, after, (down, right) in zip(shown, images.numpy(), new, moves, strict=True):
        behind = blank(scene.background, level.px).astype(int)
        expected = behind.copy()
        for y, x in itertools.product(range(level.px), repeat=2):
            if (image[y, x] != behind[y, x]).any():
                expected[y + down, x + right] = image[y, x]  # IndexError if an object left the picture
        apart = (after - expected)[(expected > 8) & (expected < 247)]  # where nothing was clamped
        assert np.ptp(apart) <= 2 * GRAIN
        assert abs(apart).max() <= LIGHT + GRAIN
        assert abs(np.median(apart)) <= LIGHT


@pytest.mark.parametrize("name", LEVELS)
def test_objects_stay_whole_and_keep_their_places_among_each_other(name):
    level = LEVELS[name]
    shown = list(scenes(name, 60, "places"))
    images, augment = batch(shown, level.px), Augmentation.of(level)
    moves = augment.moves(images, SEEDED(1)).numpy()
    assert abs(moves).max() <= MOVE * level.px
    for scene, image, (down, right) in zip(shown, images.numpy(), moves, strict=True):
        rows, columns = np.nonzero((image != blank(scene.background, level.px)).any(-1))
        for places, move in ((rows, down), (columns, right)):
            assert places.min() + move >= 0 and places.max() + move < level.px
    assert len(set(map(tuple, moves.tolist()))) > 5


def test_moves_use_all_the_free_room_on_every_side():
    image = batch([Scene("plain", (Thing("ball", "red", "big", 0.47, 0.5, 0.43),))], 64)
    augment = Augmentation.of(NANO, 64)
    mask = (image[0] != torch.from_numpy(blank("plain", 64))).any(-1)
    rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
    limit = int(MOVE * 64)
    room = [(min(limit, int(r.min())), min(limit, 63 - int(r.max()))) for r in (rows, columns)]
    moves = augment.moves(image.expand(2000, -1, -1, -1), SEEDED(0))
    for axis, (before, after) in enumerate(room):
        assert set(moves[:, axis].tolist()) == set(range(-before, after + 1))


def test_the_generator_decides_everything_and_nothing_given_is_changed():
    images = batch(list(scenes("nano", 16)), 32)
    given, augment = images.clone(), Augmentation.of(NANO)
    first = augment(images, SEEDED(1))
    assert torch.equal(images, given)
    assert torch.equal(augment(images, SEEDED(1)), first)
    assert not torch.equal(augment(images, SEEDED(2)), first)
    assert (first.shape, first.dtype) == (images.shape, torch.uint8)


def test_light_never_brings_one_colour_near_another():
    """The largest change is far below half of what tells the two closest colours apart at 32 pixels."""
    assert LIGHT + GRAIN < 19 / 2


def test_the_second_style_is_augmented_with_its_own_backgrounds():
    level = LEVELS["small"]
    shown = list(scenes("small", 20, "sketch"))
    images, augment = batch(shown, 64, "sketch"), Augmentation.of(level, style="sketch")
    moves = augment.moves(images, SEEDED(0))
    assert (moves != 0).any(1).sum() > 10
    strange = Augmentation.of(level).moves(images, SEEDED(0))
    assert not strange.any(), "pictures of another style are covered all over and do not move"


@pytest.mark.parametrize("images", [torch.zeros(2, 31, 31, 3, dtype=torch.uint8), torch.zeros(2, 32, 32, 3)])
def test_pictures_that_do_not_belong_here_are_refused(images):
    with pytest.raises(InputError) as caught:
        Augmentation.of(NANO)(images, SEEDED(0))
    assert "32 x 32 x 3" in str(caught.value) and is_one_sentence(str(caught.value))


# From pixels back to scenes: what a picture shows is found without the code that moved it.


@pytest.mark.parametrize("style", ["flat", "sketch"])
def test_a_scene_read_back_from_pixels_gives_the_same_verdicts(style):
    shown = list(scenes("nano", 40, f"back/{style}"))
    images = batch(shown, NANO.px, style)
    new = Augmentation.of(NANO, style=style)(images, SEEDED(3)).numpy()
    verdicts = set()
    for i, (scene, before, after) in enumerate(zip(shown, images.numpy(), new, strict=True)):
        was, is_now = read_back(before, style), read_back(after, style)
        for text in said(scene, NANO, random.Random(i)):
            truth = check(text, scene).truth
            assert check(text, was).truth == check(text, is_now).truth == truth, (text, scene, was, is_now)
            verdicts.add(truth)
    assert verdicts == {"true", "false"}


def test_a_flip_is_seen_by_the_reader():
    """The property above can fail: mirrored pictures change verdicts of left and right."""
    changed = 0
    for i, scene in enumerate(scenes("nano", 30, "flip")):
        mirrored = read_back(draw(scene, NANO.px)[:, ::-1].copy(), "flat")
        texts = said(scene, NANO, random.Random(i))
        changed += any(check(text, mirrored).truth != check(text, scene).truth for text in texts)
    assert changed > 5


def read_back(image: np.ndarray, style: str) -> Scene:
    """The nano scene whose drawing is nearest to a picture: one big thing, or two small ones."""
    alone = _with(image, [], 0.43, style)
    first = _with(image, [], 0.215, style)
    both = _with(image, list(first.things), 0.215, style)
    return min((alone, both), key=lambda scene: np.abs(draw(scene, NANO.px, style).astype(int) - image).sum())


def _with(image: np.ndarray, known: list[Thing], half: float, style: str) -> Scene:
    """The known things, and the one of this size that fits the rest of the picture best."""
    looks, sprites = _sprites(half, style)
    side = sprites.shape[1]
    rest = image.astype(np.float32) - blank("plain", NANO.px, style)
    for thing in known:
        rest[covered(Scene("plain", (thing,)), NANO.px, style)] = 0
    windows = sliding_window_view(rest, (side, side), (0, 1)).transpose(0, 1, 3, 4, 2)
    places = windows.reshape(-1, side * side * 3)
    flat = sprites.reshape(len(sprites), -1)
    # Of the squared distance to the whole picture, only this part depends on sprite and place.
    cost = (flat**2).sum(1)[:, None] - 2 * flat @ places.T
    best, at = np.unravel_index(cost.argmin(), cost.shape)
    y, x = divmod(int(at), windows.shape[1])
    centre = ((x + side / 2) / NANO.px, (y + side / 2) / NANO.px)
    return Scene("plain", (*known, Thing(*looks[best], "big", *centre, half)))


@cache
def _sprites(half: float, style: str) -> tuple[list[tuple[str, str]], np.ndarray]:
    """Every look of the level with its difference to the background, cut to its square."""
    looks = list(itertools.product(NANO.kind_names, NANO.colour_names))
    side = round(2 * half * NANO.px)
    at = (NANO.px - side) // 2
    centre = (at + side / 2) / NANO.px
    drawn = [draw(Scene("plain", (Thing(*look, "big", centre, centre, half),)), NANO.px, style) for look in looks]
    apart = np.stack(drawn).astype(np.float32) - blank("plain", NANO.px, style)
    return looks, apart[:, at : at + side, at : at + side]
