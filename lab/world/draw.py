"""From a scene to pixels, at any size and in two styles; models see few pixels, people 256 of the same scene."""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw
from scipy.ndimage import minimum_filter

from blip.errors import InputError
from lab.world.backdrops import PAPER, backdrop
from lab.world.kinds import PAINTERS, Painter, shade
from lab.world.levels import COLOURS
from lab.world.scene import Scene

STYLES = ("flat", "sketch")
MIN_PX = 8
PEOPLE_PX = 256  # models see few pixels, people see this many of the same scene


def draw(scene: Scene, px: int, style: str = "flat") -> np.ndarray:
    """A picture (px, px, 3) uint8 of a scene. flat: the world's own style; sketch: hatched, on paper."""
    check_style(style)
    if px < MIN_PX:
        raise InputError(f"A picture of {px} pixels shows nothing; give at least {MIN_PX}.")
    picture = _background(scene.background, px, style).copy()
    for thing in scene.things:
        side = max(4, round(2 * thing.half * px))
        sprite = _sprite(thing.kind, thing.colour, side, style)
        corner = (round(thing.x * px - side / 2), round(thing.y * px - side / 2))
        picture.paste(sprite, corner, sprite)
    return np.array(picture)


def blank(background: str, px: int, style: str = "flat") -> np.ndarray:
    """The background alone (px, px, 3) uint8."""
    check_style(style)
    return np.array(_background(background, px, style))


def check_style(style: str) -> None:
    """Raise InputError for a style that is none."""
    if style not in STYLES:
        raise InputError(f"There is no drawing style {style!r}; choose one of {', '.join(STYLES)}.")


@lru_cache(maxsize=4096)
def _sprite(kind: str, colour: str, side: int, style: str) -> Image.Image:
    """One object as RGBA, drawn large and scaled down so that edges are smooth."""
    large = max(256, 4 * side)
    sprite = Image.new("RGBA", (large, large), (0, 0, 0, 0))
    PAINTERS[kind](Painter(ImageDraw.Draw(sprite), large, COLOURS[colour]))
    if style == "sketch":
        sprite = _hatched(sprite, COLOURS[colour])
    return sprite.resize((side, side), Image.Resampling.LANCZOS)


def _hatched(sprite: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    """The object as a coloured drawing: strokes over a pale wash, details in crayon, a strong outline."""
    side, alpha, flat = sprite.width, sprite.getchannel("A"), sprite.convert("RGB")
    strokes = Image.new("L", sprite.size, 0)
    pen = ImageDraw.Draw(strokes)
    for start in range(-side, side, max(6, side // 14)):
        pen.line([(start, side), (start + side, 0)], fill=255, width=max(2, side // 40))
    wash = Image.new("RGB", sprite.size, shade(colour, 1.35))
    wash.paste(shade(colour, 0.9), mask=strokes)
    drawn = Image.blend(flat, wash, 0.62)
    drawn.paste(Image.blend(flat, Image.new("RGB", flat.size, PAPER), 0.2), mask=_details(flat, colour))
    inner = Image.fromarray(minimum_filter(np.asarray(alpha), 2 * (side // 50) + 1, mode="nearest"))
    drawn.paste(shade(colour, 0.45), mask=ImageChops.subtract(alpha, inner))
    drawn.putalpha(alpha)
    return drawn


def _details(flat: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    """Where an object is not of its main colour: edges, windows, wood."""
    apart = ImageChops.difference(flat, Image.new("RGB", flat.size, colour)).split()
    most = ImageChops.lighter(ImageChops.lighter(apart[0], apart[1]), apart[2])
    return most.point([255 if value > 24 else 0 for value in range(256)])


@lru_cache(maxsize=64)
def _background(name: str, px: int, style: str) -> Image.Image:
    return backdrop(name, px, style)
