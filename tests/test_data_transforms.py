"""What the model sees: published values, torchvision as witness, draws keyed by sample."""

import math

import numpy as np
import pytest
import torch
from data_files import picture
from PIL import Image
from torchvision.transforms import v2

from blip.data import transforms
from blip.data.transforms import (
    AUGMENTATIONS,
    MEAN,
    STD,
    crop_box,
    eval_transform,
    keyed_rng,
    normalize_uint8,
    rand_augment,
    train_transform,
)

NAMES = ["identity", "autocontrast", "brightness", "sharpness", "equalize"]
NAMES += ["shear_x", "shear_y", "translate_x", "translate_y", "rotate"]
BY_NAME = dict(zip(NAMES, AUGMENTATIONS, strict=True))


def apply(name: str, image: Image.Image, strength: float = 0.5, sign: int = 1) -> np.ndarray:
    return np.asarray(BY_NAME[name](image, strength, sign))


def test_the_published_constants():
    assert MEAN == (0.48145466, 0.4578275, 0.40821073)
    assert STD == (0.26862954, 0.26130258, 0.27577711)
    assert (transforms.OPERATIONS, transforms.LEVEL, transforms.APPLY) == (2, 5, 0.5)
    assert (transforms.PRETRAIN_SCALE, transforms.FINETUNE_SCALE) == (0.2, 0.5)
    assert [function.__name__ for function in AUGMENTATIONS] == [f"_{name}" for name in NAMES]


@pytest.mark.parametrize("size", [(24, 16), (7, 90), (300, 200), (1, 1)])
def test_eval_transform_agrees_with_torchvision(size):
    steps = [
        v2.Resize((32, 32), interpolation=v2.InterpolationMode.BICUBIC),
        v2.PILToTensor(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(MEAN, STD),
    ]
    image = picture(1, size)
    found = eval_transform(32)(image, keyed_rng(0, 0, 0))
    assert found.shape == (3, 32, 32) and found.is_contiguous()
    torch.testing.assert_close(found, v2.Compose(steps)(image), atol=2e-6, rtol=0)


def test_normalisation_of_a_batch_is_that_of_each_value():
    images = torch.arange(2 * 4 * 4 * 3).reshape(2, 4, 4, 3).to(torch.uint8)
    found = normalize_uint8(images)
    for b, y, x, c in [(0, 0, 0, 0), (1, 3, 2, 1), (1, 0, 3, 2)]:
        truth = (int(images[b, y, x, c]) / 255 - MEAN[c]) / STD[c]
        assert float(found[b, c, y, x]) == pytest.approx(truth, abs=2e-6)
    assert found.is_contiguous() and found.dtype == torch.float32


def test_level_five_leaves_brightness_and_sharpness_alone():
    image = picture(2)
    for name in ("identity", "brightness", "sharpness"):
        assert np.array_equal(apply(name, image), np.asarray(image))
        assert np.array_equal(apply(name, image, 1.0), np.asarray(image)) == (name == "identity")
    brighter = np.minimum(np.asarray(image).astype(float) * 1.9, 255)
    assert np.abs(apply("brightness", image, 1.0) - brighter).max() <= 1


@pytest.mark.parametrize("sign", [1, -1])
def test_translation_is_five_pixels_and_leaves_grey(sign):
    image = picture(3, (24, 20))
    pixels = np.asarray(image)
    across, down = apply("translate_x", image, sign=sign), apply("translate_y", image, sign=sign)
    if sign == 1:
        assert np.array_equal(across[:, 5:], pixels[:, :-5]) and (across[:, :5] == 128).all()
        assert np.array_equal(down[5:], pixels[:-5]) and (down[:5] == 128).all()
    else:
        assert np.array_equal(across[:, :-5], pixels[:, 5:]) and (across[:, -5:] == 128).all()
        assert np.array_equal(down[:-5], pixels[5:]) and (down[-5:] == 128).all()


def centre_of_dot(pixels: np.ndarray) -> tuple[float, float]:
    weight = pixels[..., 0].astype(float)
    weight[pixels[..., 0] == 128] = 0  # what came from outside
    ys, xs = np.mgrid[: weight.shape[0], : weight.shape[1]] + 0.5
    return float((weight * xs).sum() / weight.sum()), float((weight * ys).sum() / weight.sum())


@pytest.mark.parametrize("sign", [1, -1])
def test_shear_is_fifteen_hundredths_and_rotation_fifteen_degrees(sign):
    dot = Image.new("RGB", (101, 101))
    dot.paste((255, 255, 255), (39, 79, 42, 82))  # centre (40.5, 80.5)
    x, y = centre_of_dot(apply("shear_x", dot, sign=sign))
    assert (x, y) == pytest.approx((40.5 + sign * 0.15 * 80.5, 80.5), abs=0.15)
    x, y = centre_of_dot(apply("shear_y", dot, sign=sign))
    assert (x, y) == pytest.approx((40.5, 80.5 + sign * 0.15 * 40.5), abs=0.15)
    angle = math.radians(-15 * sign)  # the y axis points down
    dx, dy = 40.5 - 50.5, 80.5 - 50.5
    truth = (50.5 + dx * math.cos(angle) - dy * math.sin(angle),
             50.5 + dx * math.sin(angle) + dy * math.cos(angle))  # fmt: skip
    turned = apply("rotate", dot, sign=sign)
    assert centre_of_dot(turned) == pytest.approx(truth, abs=0.15)
    assert (turned[0, 0] == 128).all()


def test_autocontrast_stretches_each_channel_to_the_whole_range():
    pixels = (np.asarray(picture(4)) // 3 + (10, 50, 90)).astype(np.uint8)
    found = apply("autocontrast", Image.fromarray(pixels)).astype(float)
    low, high = pixels.min((0, 1)).astype(float), pixels.max((0, 1)).astype(float)
    assert np.abs(found - (pixels - low) * 255 / (high - low)).max() <= 1


def test_equalize_makes_the_histogram_flat():
    skewed = (np.asarray(picture(5, (64, 64))).astype(float) ** 2 / 255).astype(np.uint8)
    found = apply("equalize", Image.fromarray(skewed))
    for channel in range(3):
        shares = np.histogram(found[..., channel], bins=4, range=(0, 256))[0] / found[..., 0].size
        assert np.abs(shares - 0.25).max() < 0.05
        assert (
            np.abs(
                np.histogram(skewed[..., channel], bins=4, range=(0, 256))[0] / 4096 - 0.25
            ).max()
            > 0.2
        )


def test_operations_are_drawn_evenly_and_applied_half_the_time(monkeypatch):
    seen: list[tuple[int, float, int]] = []
    spies = [
        lambda image, strength, sign, number=number: seen.append((number, strength, sign)) or image
        for number in range(10)
    ]
    monkeypatch.setattr(transforms, "AUGMENTATIONS", spies)
    image, samples = picture(), 4000
    for index in range(samples):
        rand_augment(image, keyed_rng(0, 0, index))
    numbers, strengths, signs = zip(*seen, strict=True)
    assert set(strengths) == {0.5}
    assert len(seen) / (2 * samples) == pytest.approx(0.5, abs=0.03)  # 5 standard errors
    assert np.bincount(numbers, minlength=10) / len(seen) == pytest.approx(
        np.full(10, 0.1), abs=0.025
    )
    assert np.mean(signs) == pytest.approx(0, abs=0.08)


@pytest.mark.parametrize("scale_min", [0.2, 0.5])
def test_crops_are_distributed_as_torchvisions(scale_min):
    size, count = (200, 150), 3000
    mine = np.array([crop_box(size, scale_min, keyed_rng(1, 0, index)) for index in range(count)])
    torch.manual_seed(0)
    image = Image.new("RGB", size)
    crop = v2.RandomResizedCrop(8, scale=(scale_min, 1.0))
    drawn = [crop.make_params([image]) for _ in range(count)]
    theirs = np.array(
        [(p["left"], p["top"], p["left"] + p["width"], p["top"] + p["height"]) for p in drawn]
    )

    def numbers(box: np.ndarray) -> np.ndarray:
        width, height = box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]
        return np.stack([width * height / 30_000, np.log(width / height), box[:, 0], box[:, 1]], 1)

    a, b = numbers(mine), numbers(theirs)
    assert (mine[:, :2] >= 0).all() and (mine[:, 2] <= 200).all() and (mine[:, 3] <= 150).all()
    assert a[:, 0].min() >= scale_min - 0.01 and a[:, 0].max() <= 1
    error = np.sqrt((a.var(0) + b.var(0)) / count)
    assert (np.abs(a.mean(0) - b.mean(0)) < 5 * error).all()
    assert a.std(0) == pytest.approx(b.std(0), rel=0.1)


@pytest.mark.parametrize(("size", "box"), [
    ((1000, 10), (493, 0, 506, 10)), ((10, 1000), (0, 493, 10, 506)), ((1, 1), (0, 0, 1, 1)),
])  # fmt: skip
def test_a_strip_gives_its_middle(size, box):
    assert crop_box(size, 0.9, keyed_rng(0, 0, 0)) == pytest.approx(box, abs=1)


def test_half_of_the_samples_are_flipped(monkeypatch):
    monkeypatch.setattr(transforms, "rand_augment", lambda image, rng: image)
    ramp = Image.fromarray(np.tile(np.arange(0, 250, 5, dtype=np.uint8)[None, :, None], (50, 1, 3)))
    transform = train_transform(16, 0.99)
    flipped = [
        bool((sample := transform(ramp, keyed_rng(0, 0, index)))[0, 8, 0] > sample[0, 8, -1])
        for index in range(600)
    ]
    assert np.mean(flipped) == pytest.approx(0.5, abs=0.1)


def test_a_sample_depends_on_its_key_alone():
    transform, image = train_transform(16), picture(6, (60, 40))
    first = transform(image, keyed_rng(3, 1, 7))
    np.random.seed(0)
    torch.manual_seed(9)
    assert torch.equal(transform(image, keyed_rng(3, 1, 7)), first)
    others = [
        transform(image, keyed_rng(*key)) for key in [(4, 1, 7), (3, 2, 7), (3, 1, 8), (-3, 1, 7)]
    ]
    assert not any(torch.equal(other, first) for other in others)
    assert first.shape == (3, 16, 16) and first.dtype == torch.float32
