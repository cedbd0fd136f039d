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
from lab.world.scene import Scene
from lab.world.sets import World, WorldPair, as_pairs

SIDE = 256
"""Pixels of a thumbnail's longer side."""

LARGE = 512
"""Pixels of the longer side of a picture to judge a caption by."""

_REMEMBERED = 512  # pictures, about 10 kB a thumbnail


@dataclass(frozen=True)
class Picture:
    """A thumbnail as JPEG bytes, or None and the reason why there is none (one clause)."""

    jpeg: bytes | None
    reason: str = ""


@dataclass(frozen=True)
class Original:
    """An image at full size: as models read it, as people see it, and the SHA-256 of what models read.

    The two differ in the generated world alone, of which models see few pixels; `scene` is what it shows.
    """

    read: Image.Image
    shown: Image.Image
    sha256: str
    scene: Scene | None = None


class Pictures:
    """The thumbnails of a ledger.

    world: the ledger's note on how its generated scenes were drawn (level, noise, start), if it has one.
    side: pixels of the longer side.
    """

    def __init__(self, world: dict[str, Any] | None, side: int = SIDE) -> None:
        self._world, self._side = world, side
        self.of = lru_cache(maxsize=_REMEMBERED)(self._make)
        """The thumbnail of an image by its key, ref and sha256 as the ledger has them."""

    def _make(self, key: str, ref: str, sha256: str) -> Picture:
        try:
            image = _from_file(ref, sha256) if ref else self._drawn(key, sha256)
        except (BadImage, InputError, OSError) as error:
            return Picture(None, str(error))
        return shrunk(image, self._side)

    def original(self, key: str, ref: str, sha256: str) -> Original:
        """An image by its key, ref and sha256 as the ledger has them; InputError where it cannot be had."""
        if not ref:
            item, px = self._item(key, sha256)
            read, shown = (Image.fromarray(item.image(side)) for side in (px, self._side))
            return Original(read, shown, sha256, item.scene)
        try:
            image = _from_file(ref, sha256)
        except (BadImage, OSError) as error:
            raise InputError(str(error)) from None
        return Original(image, image, sha256)

    def _drawn(self, key: str, sha256: str) -> Image.Image:
        """A scene of the generated world at these pixels: models saw fewer of the same scene."""
        return Image.fromarray(self._item(key, sha256)[0].image(self._side))

    def _item(self, key: str, sha256: str) -> tuple[WorldPair, int]:
        """The web pair of a key, and the pixels at which models saw it."""
        if self._world is None:
            raise InputError("the ledger does not say where this picture lies")
        world = World.of(self._world["level"])
        number = key.removeprefix("web-")
        if not number.isdecimal():
            raise InputError("the generated web has no such picture")
        item = world.web(1, self._world["noise"], start=int(number))[0]
        if image_sha256(next(iter(as_pairs([item], world.level.px)))) != sha256:
            raise InputError("this version of the generated world draws another picture")
        return item, world.level.px


def shrunk(image: Image.Image, side: int = SIDE) -> Picture:
    """An RGB image at most so many pixels wide and high, as a JPEG; the image itself stays as it is."""
    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    jpeg = io.BytesIO()
    small.save(jpeg, format="JPEG", quality=80, subsampling=0)
    return Picture(jpeg.getvalue())


def _from_file(ref: str, sha256: str) -> Image.Image:
    place = ImageRef.parse(ref)
    try:
        data = place.read()
    except FileNotFoundError:
        raise InputError(f"{place.path} is not there") from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise InputError(f"{place.path} has changed since it was captioned")
    return decode_image(data)
