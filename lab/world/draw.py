"""From a scene to pixels, at any size and in two styles; models see few pixels, people 256 of the same scene."""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from blip.errors import InputError
from lab.world.kinds import PAINTERS, Painter, shade
from lab.world.levels import COLOURS
from lab.world.scene import Scene

STYLES = ("flat", "sketch")
_PAPER = (247, 243, 232)
_SKIES = {
    "plain": ((240, 240, 236), (240, 240, 236)),
    "grass": ((205, 228, 240), (172, 208, 140)),
    "beach": ((190, 225, 240), (240, 222, 170)),
    "night": ((40, 48, 86), (70, 78, 110)),
    "room": ((235, 224, 214), (196, 168, 140)),
    "snow": ((214, 226, 238), (245, 248, 252)),
}


def draw(scene: Scene, px: int, style: str = "flat") -> np.ndarray:
    """A picture (px, px, 3) uint8 of a scene. flat: the world's own style; sketch: hatched, on paper."""
    if style not in STYLES:
        raise InputError(f"There is no drawing style {style!r}; choose one of {', '.join(STYLES)}.")
    picture = _background(scene.background, px, style).copy()
    for thing in scene.things:
        side = max(4, round(2 * thing.half * px))
        sprite = _sprite(thing.kind, thing.colour, side, style)
        corner = (round(thing.x * px - side / 2), round(thing.y * px - side / 2))
        picture.paste(sprite, corner, sprite)
    return np.asarray(picture)


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
    """The object as a coloured drawing: pale wash, diagonal strokes, a strong outline."""
    side, alpha = sprite.width, sprite.getchannel("A")
    strokes = Image.new("L", sprite.size, 0)
    pen = ImageDraw.Draw(strokes)
    for start in range(-side, side, max(6, side // 14)):
        pen.line([(start, side), (start + side, 0)], fill=255, width=max(2, side // 40))
    wash = Image.new("RGB", sprite.size, shade(colour, 1.35))
    wash.paste(shade(colour, 0.9), mask=strokes)
    drawn = Image.blend(sprite.convert("RGB"), wash, 0.62)
    inner = alpha.filter(ImageFilter.MinFilter(2 * (side // 50) + 1))
    drawn.paste(shade(colour, 0.45), mask=Image.fromarray(np.asarray(alpha) - np.asarray(inner)))
    drawn.putalpha(alpha)
    return drawn


@lru_cache(maxsize=64)
def _background(name: str, px: int, style: str) -> Image.Image:
    """Sky and ground, or paper with a tint of them."""
    top, bottom = _SKIES[name]
    large = 4 * px
    picture = Image.new("RGB", (large, large), top)
    pen = ImageDraw.Draw(picture)
    pen.rectangle([0, round(0.68 * large), large, large], fill=bottom)
    if name == "night":
        for i in range(24):
            x, y = (i * 137 % 101) / 101 * large, (i * 61 % 67) / 100 * large
            pen.ellipse([x, y, x + large / 90, y + large / 90], fill=(240, 236, 200))
    if style == "sketch":
        picture = Image.blend(Image.new("RGB", picture.size, _PAPER), picture, 0.35)
    return picture.resize((px, px), Image.Resampling.LANCZOS)
