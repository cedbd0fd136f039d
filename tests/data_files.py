"""Small files of true formats, written by the tests of `blip.data`."""

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image


def picture(seed: int = 0, size: tuple[int, int] = (24, 16), mode: str = "RGB") -> Image.Image:
    """A random picture, the same for the same seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def encoded(image: Image.Image | None = None, form: str = "JPEG", **options) -> bytes:
    """An image file in memory."""
    out = io.BytesIO()
    (image or picture()).save(out, format=form, **options)
    return out.getvalue()


def write_tar(path: Path, members: dict[str, bytes] | list[tuple[str, bytes]], form=None) -> Path:
    """A tar with these members, in order (a list may repeat a name)."""
    pairs = members.items() if isinstance(members, dict) else members
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT if form is None else form) as tar:
        for name, data in pairs:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path
