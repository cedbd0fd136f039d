"""Fuzz targets: images and clips."""

import io
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from blip.data.images import MAX_PIXELS, BadImage, decode_image
from blip.data.video import sample_frames
from lab.bench.fuzz_case import Seed, Tally, Target

_SIDE = (24, 16)


def picture(number: int, mode: str = "RGB") -> Image.Image:
    """A random picture, the same for the same number."""
    pixels = np.random.default_rng(number).integers(0, 256, (_SIDE[1], _SIDE[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    """An image file's bytes."""
    out = io.BytesIO()
    image.save(out, format=form, **options)
    return out.getvalue()


@cache
def images() -> tuple[Seed, ...]:
    """An image of every form and mode that pairs may have, one a seed."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "turned"
    grey = Image.fromarray(np.asarray(picture(1, "L")).astype(np.uint16) * 257)
    frames = {"save_all": True, "append_images": [picture(2), picture(3)], "duration": 20}
    made = {
        "rgb.jpg": encoded(picture(0), "JPEG", exif=exif),
        "progressive.jpg": encoded(picture(0), "JPEG", progressive=True, icc_profile=b"none" * 40),
        "cmyk.jpg": encoded(picture(0, "CMYK"), "JPEG"),
        "rgb.png": encoded(picture(1), "PNG", exif=exif),
        "palette.png": encoded(picture(1, "P"), "PNG", transparency=3),
        "sixteen.png": encoded(grey, "PNG"),
        "alpha.png": encoded(picture(1, "RGBA"), "PNG"),
        "bits.png": encoded(picture(1, "1"), "PNG"),
        "animated.png": encoded(picture(1), "PNG", **frames),
        "animated.gif": encoded(picture(1), "GIF", **frames),
        "animated.webp": encoded(picture(1), "WEBP", **frames),
        "still.webp": encoded(picture(1, "RGBA"), "WEBP", lossless=True),
        "plain.bmp": encoded(picture(1), "BMP"),
        "lzw.tif": encoded(picture(1), "TIFF", compression="tiff_lzw"),
        "float.tif": encoded(picture(1, "F"), "TIFF"),
        "cmyk.tif": encoded(picture(1, "CMYK"), "TIFF"),
        "plain.ppm": encoded(picture(1), "PPM"),
        "plain.jp2": encoded(picture(1), "JPEG2000"),
        "bomb.png": encoded(Image.new("1", (9_000, 6_000)), "PNG"),
    }
    with suppress(KeyError, OSError):  # this Pillow may be built without it
        made["plain.avif"] = encoded(picture(1), "AVIF")
    return tuple(Seed({name: data}, (name,)) for name, data in made.items())


def _read_images(tally: Tally) -> None:
    for path in sorted(path for path in tally.folder.iterdir() if path.is_file()):
        try:
            image = decode_image(path.read_bytes())
        except BadImage as error:
            tally.rejected += 1
            tally.require("\n" not in error.reason and error.reason != "", f"a reason that is no clause: {error.reason!r}")
        else:
            tally.require(image.mode == "RGB", f"a picture of mode {image.mode}")
            tally.require(image.width * image.height <= MAX_PIXELS, f"a picture of {image.size}")


@cache
def _clips() -> tuple[Seed, ...]:
    files = {f"clip/frame_{n}.png": encoded(picture(n), "PNG") for n in range(4)}
    return (Seed(files, tuple(files)),)


def _read_clip(tally: Tally) -> None:
    tally.attempt(lambda: sample_frames(str(tally.folder / "clip"), 3))


TARGETS = (
    Target("images", images, _read_images),
    Target("clips", _clips, _read_clip),
)
