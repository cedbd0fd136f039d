"""What the model sees of a picture: the published augmentation for photos, resizing, normalisation.

All randomness comes from the generator that is handed in. Keyed by (seed, epoch, sample), it makes
the augmented sample the same whatever the number of workers and wherever a run was resumed.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
PRETRAIN_SCALE = 0.2
FINETUNE_SCALE = 0.5

OPERATIONS, LEVEL, APPLY = 2, 5, 0.5
"""RandAugment as published: two draws, with replacement, of level 5 of 10, each applied or not."""

_GREY = (128, 128, 128)

Transform = Callable[[Image.Image, np.random.Generator], Tensor]
"""From an RGB picture and a generator to a normalised tensor (3,H,W)."""


def keyed_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The generator of one sample in one epoch of one run (counter-based: no shared state)."""
    key = np.array([seed, epoch], dtype=np.int64).astype(np.uint64)
    counter = np.array([0, 0, 0, index], dtype=np.int64).astype(np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def train_transform(image_size: int, scale_min: float = PRETRAIN_SCALE) -> Transform:
    """Random resized crop, flip, RandAugment, normalise; `scale_min` 0.5 in fine-tuning."""

    def apply(image: Image.Image, rng: np.random.Generator) -> Tensor:
        image = image.crop(crop_box(image.size, scale_min, rng))
        image = image.resize((image_size, image_size), Image.Resampling.BICUBIC)
        if rng.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return _to_tensor(rand_augment(image, rng))

    return apply


def eval_transform(image_size: int) -> Transform:
    """Resize straight to a square (bicubic), normalise; draws nothing."""

    def apply(image: Image.Image, rng: np.random.Generator) -> Tensor:
        return _to_tensor(image.resize((image_size, image_size), Image.Resampling.BICUBIC))

    return apply


def normalize_uint8(images: Tensor) -> Tensor:
    """Pixels (B,H,W,3) uint8 to the model's input (B,3,H,W) float32, the whole batch at once."""
    mean = torch.tensor(MEAN, device=images.device).view(3, 1, 1)
    std = torch.tensor(STD, device=images.device).view(3, 1, 1)
    pixels = images.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    return pixels.mul_(1 / (255 * std)).sub_(mean / std)


def crop_box(
    size: tuple[int, int], scale_min: float, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """A box (left, top, right, bottom) of `scale_min` to all of the area and aspect 3:4 to 4:3.

    Ten draws are tried; a picture too narrow for all of them gives its middle, as near to that
    aspect as it can be.
    """
    width, height = size
    for _ in range(10):
        area = width * height * rng.uniform(scale_min, 1.0)
        aspect = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
            return left, top, left + w, top + h
    w = min(width, max(1, round(height * 4 / 3)))
    h = min(height, max(1, round(width * 4 / 3)))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def rand_augment(
    image: Image.Image, rng: np.random.Generator, *, level: int = LEVEL
) -> Image.Image:
    """The published RandAugment: ten operations, none on colour, of which captions speak."""
    for choice in rng.integers(len(AUGMENTATIONS), size=OPERATIONS):
        if rng.random() < APPLY:
            sign = 1 if rng.random() < 0.5 else -1
            image = AUGMENTATIONS[choice](image, level / 10, sign)
    return image


def _identity(image: Image.Image, strength: float, sign: int) -> Image.Image:
    return image


def _autocontrast(image: Image.Image, strength: float, sign: int) -> Image.Image:
    return ImageOps.autocontrast(image)


def _equalize(image: Image.Image, strength: float, sign: int) -> Image.Image:
    return ImageOps.equalize(image)


# At the published level 5 brightness and sharpness change nothing: their factor is then exactly 1.
def _brightness(image: Image.Image, strength: float, sign: int) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(1.8 * strength + 0.1)


def _sharpness(image: Image.Image, strength: float, sign: int) -> Image.Image:
    return ImageEnhance.Sharpness(image).enhance(1.8 * strength + 0.1)


def _shear_x(image: Image.Image, strength: float, sign: int) -> Image.Image:
    return _affine(image, (1, -sign * 0.3 * strength, 0, 0, 1, 0))


def _shear_y(image: Image.Image, strength: float, sign: int) -> Image.Image:
    return _affine(image, (1, 0, 0, -sign * 0.3 * strength, 1, 0))


def _translate_x(image: Image.Image, strength: float, sign: int) -> Image.Image:
    return _affine(image, (1, 0, -sign * 10 * strength, 0, 1, 0))


def _translate_y(image: Image.Image, strength: float, sign: int) -> Image.Image:
    return _affine(image, (1, 0, 0, 0, 1, -sign * 10 * strength))


def _rotate(image: Image.Image, strength: float, sign: int) -> Image.Image:
    return image.rotate(sign * 30 * strength, Image.Resampling.BILINEAR, fillcolor=_GREY)


def _affine(image: Image.Image, inverse: tuple[float, ...]) -> Image.Image:
    return image.transform(
        image.size, Image.Transform.AFFINE, inverse, Image.Resampling.BILINEAR, fillcolor=_GREY
    )


AUGMENTATIONS = (
    _identity, _autocontrast, _brightness, _sharpness, _equalize,
    _shear_x, _shear_y, _translate_x, _translate_y, _rotate,
)  # fmt: skip
"""Each takes (image, strength, sign); 0.5 is shear 0.15, 5 pixels, 15 degrees, grey outside."""


def _to_tensor(image: Image.Image) -> Tensor:
    return normalize_uint8(torch.from_numpy(np.array(image))[None])[0]
