"""How each kind of object is drawn: a painter works in [-1, 1] x [-1, 1], y down, main colour and shades."""

import math
from collections.abc import Callable, Sequence

from PIL import ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]
_WOOD, _GLASS, _INK, _LEAF = (121, 85, 58), (214, 236, 245), (45, 42, 50), (76, 140, 74)
_BEAK = (235, 160, 50)
_SCALLOPS = (0.792, 0.475, 0.158, -0.158, -0.475, -0.792)  # of an umbrella's hem, from the right
_HALF_TURN = [math.pi * step / 6 for step in range(7)]


def shade(colour: Colour, factor: float) -> Colour:
    """Darker below 1, lighter above 1 (towards white)."""
    red, green, blue = (round(c * factor if factor <= 1 else c + (255 - c) * (factor - 1)) for c in colour)
    return red, green, blue


class Painter:
    """Draws filled, outlined shapes of one object onto a picture."""

    def __init__(self, draw: ImageDraw.ImageDraw, side: int, colour: Colour) -> None:
        self.draw, self.side, self.main = draw, side, colour
        self.line = max(1, round(side * 0.028))
        self.edge, self.light = shade(colour, 0.62), shade(colour, 1.45)

    def at(self, points: Sequence[Point]) -> list[Point]:
        """Unit coordinates to pixels, with a small margin."""
        half = self.side / 2
        return [(half + x * half * 0.94, half + y * half * 0.94) for x, y in points]

    def polygon(self, points: Sequence[Point], fill: Colour | None = None) -> None:
        """A filled polygon with a dark edge."""
        fill = fill or self.main
        spots = self.at(points)
        self.draw.polygon(spots, fill=fill)
        self.draw.line([*spots, spots[0], spots[1]], fill=shade(fill, 0.62), width=self.line, joint="curve")

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: Colour | None = None) -> None:
        """A filled ellipse with a dark edge."""
        fill = fill or self.main
        box = self.at([(x - rx, y - ry), (x + rx, y + ry)])
        self.draw.ellipse([*box[0], *box[1]], fill=fill, outline=shade(fill, 0.62), width=self.line)

    def box(self, x0: float, y0: float, x1: float, y1: float, fill: Colour | None = None, round_by: float = 0.0) -> None:
        """A filled rectangle, its corners rounded by a share of the side."""
        fill = fill or self.main
        spots = self.at([(x0, y0), (x1, y1)])
        radius = round_by * self.side / 2
        self.draw.rounded_rectangle(
            [*spots[0], *spots[1]], radius=radius, fill=fill, outline=shade(fill, 0.62), width=self.line
        )

    def stroke(self, points: Sequence[Point], width: float, fill: Colour | None = None) -> None:
        """A line of a width in unit coordinates."""
        pixels = max(1, round(width * self.side / 2))
        self.draw.line(self.at(points), fill=fill or self.main, width=pixels, joint="curve")

    def arc(
        self, x: float, y: float, r: float, start: float, end: float, width: float, fill: Colour | None = None
    ) -> None:
        """A thick arc, degrees clockwise from the right."""
        box = self.at([(x - r, y - r), (x + r, y + r)])
        pixels = max(1, round(width * self.side / 2))
        self.draw.arc([*box[0], *box[1]], start, end, fill=fill or self.main, width=pixels)

    def dot(self, x: float, y: float, r: float, fill: Colour, ry: float | None = None) -> None:
        """A round spot without an edge, or an oval one."""
        ry = ry or r
        box = self.at([(x - r, y - ry), (x + r, y + ry)])
        self.draw.ellipse([*box[0], *box[1]], fill=fill)


def ball(p: Painter) -> None:
    """A disc with a spot of light."""
    p.ellipse(0, 0, 0.92, 0.92)
    p.dot(-0.32, -0.36, 0.2, p.light)


def box(p: Painter) -> None:
    """A chest with a lid and a lock."""
    p.box(-0.85, -0.85, 0.85, 0.85, round_by=0.06)
    p.stroke([(-0.82, -0.2), (0.82, -0.2)], 0.07, p.edge)
    p.box(-0.2, -0.42, 0.2, 0.02, p.light)


def star(p: Painter) -> None:
    """Five points, one of them up."""
    p.polygon([_polar(1.0 if i % 2 == 0 else 0.44, i * 36 - 90) for i in range(10)])


def cup(p: Painter) -> None:
    """A cup with its handle at the right."""
    p.arc(0.52, 0.05, 0.4, -90, 90, 0.17)
    p.polygon([(-0.85, -0.7), (0.55, -0.7), (0.4, 0.85), (-0.7, 0.85)])
    p.ellipse(-0.15, -0.7, 0.7, 0.16, p.light)


def tree(p: Painter) -> None:
    """Two tiers of a fir on a trunk."""
    p.box(-0.15, 0.4, 0.15, 0.98, _WOOD)
    p.polygon([(0, -0.35), (0.85, 0.55), (-0.85, 0.55)])
    p.polygon([(0, -0.98), (0.66, -0.02), (-0.66, -0.02)])


def house(p: Painter) -> None:
    """A gable front with a dark roof and a door."""
    p.box(-0.72, -0.12, 0.72, 0.92)
    p.polygon([(0, -0.95), (0.95, -0.08), (-0.95, -0.08)], shade(p.main, 0.55))
    p.box(-0.2, 0.32, 0.2, 0.92, _GLASS)


def fish(p: Painter) -> None:
    """A fish that looks to the left."""
    p.polygon([(0.4, 0), (0.98, -0.55), (0.98, 0.55)])
    p.ellipse(-0.2, 0, 0.76, 0.52)
    p.dot(-0.6, -0.12, 0.1, _INK)
    p.arc(-0.75, 0, 0.5, -45, 45, 0.05)


def hat(p: Painter) -> None:
    """A top hat with a band."""
    p.box(-0.5, -0.8, 0.5, 0.5, round_by=0.08)
    p.box(-0.5, 0.1, 0.5, 0.36, p.light)
    p.ellipse(0, 0.52, 0.97, 0.2)


def car(p: Painter) -> None:
    """A car that drives to the right."""
    p.polygon([(-0.62, -0.05), (-0.36, -0.6), (0.32, -0.6), (0.66, -0.05)])
    p.polygon([(-0.46, -0.08), (-0.28, -0.47), (-0.06, -0.47), (-0.06, -0.08)], _GLASS)
    p.polygon([(0.06, -0.08), (0.06, -0.47), (0.26, -0.47), (0.48, -0.08)], _GLASS)
    p.box(-0.97, -0.1, 0.97, 0.42, round_by=0.16)
    p.dot(0.86, 0.1, 0.08, (250, 235, 170))
    for x in (-0.5, 0.5):
        p.ellipse(x, 0.45, 0.26, 0.26, _INK)
        p.dot(x, 0.45, 0.1, (200, 204, 208))


def boat(p: Painter) -> None:
    """A hull of the main colour under two pale sails."""
    p.stroke([(-0.02, -0.97), (-0.02, 0.35)], 0.09, _WOOD)
    p.polygon([(0.05, -0.9), (0.8, 0.15), (0.05, 0.15)], (246, 243, 235))
    p.polygon([(-0.09, -0.62), (-0.09, 0.15), (-0.6, 0.15)], (246, 243, 235))
    p.polygon([(-0.95, 0.3), (0.95, 0.3), (0.6, 0.85), (-0.6, 0.85)])


def flower(p: Painter) -> None:
    """Five petals on a stem with a leaf."""
    p.stroke([(0, 0), (0, 0.97)], 0.12, _LEAF)
    p.polygon([(0, 0.82), (0.18, 0.52), (0.52, 0.44), (0.36, 0.74)], _LEAF)
    for i in range(5):
        x, y = _polar(0.42, i * 72 - 90)
        p.ellipse(x, y - 0.24, 0.33, 0.33)
    p.dot(0, -0.24, 0.22, (250, 235, 170))


def key(p: Painter) -> None:
    """A key with its bit at the right."""
    p.box(0.44, 0.1, 0.62, 0.44)
    p.box(0.78, 0.1, 0.96, 0.54)
    p.box(-0.1, -0.13, 0.97, 0.13)
    p.ellipse(-0.48, 0, 0.5, 0.5)
    p.ellipse(-0.56, 0, 0.2, 0.2, _GLASS)


def kite(p: Painter) -> None:
    """A kite with two bows on its tail."""
    p.stroke([(0, 0.5), (0.16, 0.68), (-0.08, 0.82), (0.1, 0.97)], 0.05, _INK)
    for x, y in ((0.15, 0.67), (-0.07, 0.83)):
        p.polygon([(x - 0.17, y - 0.09), (x + 0.17, y + 0.09), (x + 0.17, y - 0.09), (x - 0.17, y + 0.09)])
    p.polygon([(0, -0.97), (0.66, -0.3), (0, 0.56), (-0.66, -0.3)])
    p.stroke([(0, -0.95), (0, 0.54)], 0.05, p.edge)
    p.stroke([(-0.64, -0.3), (0.64, -0.3)], 0.05, p.edge)


def lamp(p: Painter) -> None:
    """A table lamp; the shade has the main colour."""
    p.dot(0, 0.14, 0.17, (250, 235, 170))
    p.stroke([(0, 0.1), (0, 0.85)], 0.12, _INK)
    p.ellipse(0, 0.86, 0.5, 0.12, _INK)
    p.polygon([(-0.4, -0.9), (0.4, -0.9), (0.8, 0.12), (-0.8, 0.12)])


def bird(p: Painter) -> None:
    """A bird that looks to the right."""
    for x in (-0.08, 0.16):
        p.stroke([(x, 0.55), (x, 0.92), (x + 0.16, 0.92)], 0.06, _BEAK)
    p.polygon([(0.7, -0.52), (0.98, -0.38), (0.7, -0.26)], _BEAK)
    p.polygon([(-0.45, 0.05), (-0.98, -0.3), (-0.88, 0.3)])
    p.ellipse(0, 0.15, 0.66, 0.5)
    p.ellipse(0.45, -0.38, 0.36, 0.36)
    p.dot(0.54, -0.46, 0.08, _INK)
    wing = [(-0.1 + 0.36 * math.cos(a / 8), 0.06 + 0.36 * math.sin(a / 8)) for a in range(26)]
    p.polygon([(-0.56, -0.02), (0.3, 0.0), *wing[1:]], shade(p.main, 0.72))


def apple(p: Painter) -> None:
    """An apple with stalk and leaf."""
    p.stroke([(0.02, -0.3), (0.1, -0.95)], 0.1, _WOOD)
    p.polygon([(0.12, -0.7), (0.34, -0.92), (0.66, -0.84), (0.42, -0.62)], _LEAF)
    for x in (-0.31, 0.31):
        p.ellipse(x, 0.17, 0.59, 0.74)
    for x in (-0.31, 0.31):
        p.dot(x, 0.17, 0.53, p.main, 0.68)
    p.dot(-0.46, -0.14, 0.14, p.light)


def umbrella(p: Painter) -> None:
    """An open umbrella with a scalloped hem."""
    p.stroke([(0, -0.97), (0, 0.75)], 0.09, _WOOD)
    p.arc(-0.17, 0.74, 0.215, 0, 180, 0.09, _WOOD)
    dome = [_polar(0.95, a) for a in range(180, 361, 6)]
    hem = [(x + 0.158 * math.cos(a), 0.09 - 0.1 * math.sin(a)) for x in _SCALLOPS for a in _HALF_TURN]
    p.polygon([(x, 0.09 + 0.96 * y) for x, y in dome] + hem)
    for x in (-0.32, 0.32):
        p.stroke([(0, -0.8), (0.62 * x, -0.42), (x, 0.07)], 0.04, p.edge)


def moon(p: Painter) -> None:
    """A crescent, open to the right, with craters."""
    outer = [_polar(0.95, a) for a in range(52, 309, 8)]
    # The inner edge is the arc through the same two tips of a circle to the right.
    inner = [(x + 0.45, y) for x, y in (_polar(0.76, a) for a in range(280, 79, -8))]
    p.polygon(outer + inner)
    for x, y, r in ((-0.62, -0.2, 0.1), (-0.5, 0.36, 0.13), (-0.7, 0.1, 0.06)):
        p.dot(x, y, r, shade(p.main, 0.85))


def _polar(radius: float, degrees: float) -> Point:
    return radius * math.cos(math.radians(degrees)), radius * math.sin(math.radians(degrees))


PAINTERS: dict[str, Callable[[Painter], None]] = {
    f.__name__: f
    for f in (ball, box, star, cup, tree, house, fish, hat, car, boat, flower, key, kite, lamp, bird, apple, umbrella, moon)
}
