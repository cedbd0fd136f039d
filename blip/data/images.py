"""From untrusted bytes to RGB: odd pictures are used rightly, bad ones raise `BadImage`."""

import io
import logging
from contextlib import suppress
from functools import cache

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from blip.data.pairs import Pair, image_bytes
from blip.errors import one_line

MAX_PIXELS = 50_000_000
"""Checked on the header, before decoding: a small file can unpack to gigabytes."""

MAX_ASPECT = 20.0
"""Longer side over shorter side. Resized to a square, a longer strip shows nothing."""

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
# Pillow knows more, and some of them start other programs (EPS runs Ghostscript): not with what the
# web sends.
_SMALLER = "make it smaller"


# What Pillow logs of a broken picture is said in its reject, not on the terminal of a run.
logging.getLogger("PIL").addHandler(logging.NullHandler())


class BadImage(ValueError):
    """The picture cannot be used; `reason` is one clause, `remedy` what helps whoever has it at hand."""

    def __init__(self, reason: str, remedy: str = "give a JPEG, PNG, WebP or GIF") -> None:
        self.reason, self.remedy = one_line(reason), remedy
        super().__init__(self.reason)


def open_image(pair: Pair) -> Image.Image:
    """The picture of a pair as 8-bit RGB, upright, first frame, over white; else `BadImage`."""
    if isinstance(pair.image, np.ndarray):
        return Image.fromarray(pair.image)
    try:
        data = image_bytes(pair)
    except OSError as error:
        raise BadImage(f"cannot be read: {error}") from error
    return decode_image(data)


def decode_image(data: bytes) -> Image.Image:
    """Encoded bytes as 8-bit RGB, upright, first frame, over white; else `BadImage`."""
    if not data:
        raise BadImage("zero bytes")
    try:
        image = Image.open(io.BytesIO(data), formats=_formats())
        _check_size(*image.size)
        image.load()
        _turn_upright(image)
        return _to_rgb(image)
    except BadImage:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImage(f"more than {MAX_PIXELS:,} pixels", _SMALLER) from error
    except UnidentifiedImageError as error:
        raise BadImage(_what_instead(data)) from error
    except Exception as error:  # Pillow's readers raise whatever malformed bytes provoke in them
        raise BadImage(f"cannot be decoded: {error or type(error).__name__}") from error


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise BadImage(f"{width} x {height} is more than {MAX_PIXELS:,} pixels", _SMALLER)
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise BadImage(f"{width} x {height} is longer than {MAX_ASPECT:g} to 1", "crop it")


def _turn_upright(image: Image.Image) -> None:
    # Broken EXIF says nothing of the pixels, which are decoded by now.
    with suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode[0] in "IF":
        image = _eight_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits by its range; Pillow's own conversion clips above 255 to white."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float64))
    sixteen = image.mode.startswith("I;16")
    full = (
        65535.0
        if sixteen
        else next((top for top in (1.0, 255.0, 65535.0) if values.max() <= top), values.max())
    )
    return Image.fromarray(np.clip(values * (255.0 / full) + 0.5, 0, 255).astype(np.uint8))


def _what_instead(data: bytes) -> str:
    start = data[:512].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<svg", b"<head", b"<body")):
        return "a web page (HTML or XML), not an image"
    return "not an image of a known format"
