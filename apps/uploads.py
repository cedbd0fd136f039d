"""Images that people hand over: opened with care, refused in one sentence."""

from PIL import Image

from blip.data.images import BadImage, decode_image
from blip.errors import InputError

MAX_BYTES = 20_000_000
"""Bytes of the largest file that is opened as an image."""


def image_in(data: bytes) -> Image.Image:
    """The image in a file's bytes, RGB; InputError where it is none or too large."""
    if len(data) > MAX_BYTES:
        size = f"{len(data) / 1e6:.1f} MB, and at most {MAX_BYTES / 1e6:.0f} MB are opened"
        raise InputError(f"This file has {size}; make the image smaller.")
    try:
        return decode_image(data)
    except BadImage as error:
        raise InputError(f"This file cannot be used ({error.reason}); {error.remedy}.") from None
