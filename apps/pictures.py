"""Thumbnails for people: from the file that the ledger names, or drawn again from the generated world."""

import hashlib
import io
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from PIL import Image

from blip.data.images import BadImage, decode_image
from blip.data.pairs import ImageRef, image_sha256
from blip.errors import InputError
from lab.world.sets import World, as_pairs

SIDE = 256
"""Pixels of a thumbnail's longer side."""

_REMEMBERED = 512  # thumbnails, about 10 kB each


@dataclass(frozen=True)
class Picture:
    """A thumbnail as JPEG bytes, or None and the reason why there is none (one clause)."""

    jpeg: bytes | None
    reason: str = ""


class Pictures:
    """The thumbnails of a ledger.

    world: the ledger's note on how its generated scenes were drawn (level, noise, start), if it has one.
    """

    def __init__(self, world: dict[str, Any] | None) -> None:
        self._world = world
        self.of = lru_cache(maxsize=_REMEMBERED)(self._make)
        """The thumbnail of an image by its key, ref and sha256 as the ledger has them."""

    def _make(self, key: str, ref: str, sha256: str) -> Picture:
        try:
            image = _from_file(ref, sha256) if ref else self._drawn(key, sha256)
        except (BadImage, InputError, OSError) as error:
            return Picture(None, str(error))
        image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        jpeg = io.BytesIO()
        image.save(jpeg, format="JPEG", quality=88, subsampling=0)
        return Picture(jpeg.getvalue())

    def _drawn(self, key: str, sha256: str) -> Image.Image:
        """A scene of the generated world at SIDE pixels: models saw fewer of the same scene."""
        if self._world is None:
            raise InputError("the ledger does not say where this picture lies")
        world = World.of(self._world["level"])
        number = key.removeprefix("web-")
        if not number.isdecimal():
            raise InputError("the generated web has no such picture")
        item = world.web(1, self._world["noise"], start=int(number))[0]
        if image_sha256(next(iter(as_pairs([item], world.level.px)))) != sha256:
            raise InputError("this version of the generated world draws another picture")
        return Image.fromarray(item.image(SIDE))


def _from_file(ref: str, sha256: str) -> Image.Image:
    place = ImageRef.parse(ref)
    try:
        data = place.read()
    except FileNotFoundError:
        raise InputError(f"{place.path} is not there") from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise InputError(f"{place.path} has changed since it was captioned")
    return decode_image(data)
