"""What lies behind the objects: pale, without anything that could be taken for an object."""

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
HORIZON = 0.68
PAPER = (247, 243, 232)
_PLAIN = (240, 240, 236)
# Sky above, sky at the horizon, ground.
_GROUNDS: dict[str, tuple[Colour, Colour, Colour]] = {
    "grass": ((186, 218, 238), (222, 236, 242), (168, 206, 136)),
    "beach": ((178, 218, 238), (222, 238, 242), (240, 222, 170)),
    "night": ((52, 62, 112), (98, 106, 152), (86, 94, 126)),
    "room": ((238, 228, 218), (232, 220, 208), (200, 172, 142)),
    "snow": ((200, 216, 234), (226, 234, 242), (246, 249, 252)),
}
Pen = ImageDraw.ImageDraw


def backdrop(name: str, px: int, style: str) -> Image.Image:
    """A background (px, px) by name; the sketch style shows it as a tint of the paper."""
    large = 4 * px
    picture = Image.new("RGB", (large, large), _PLAIN)
    if name != "plain":
        _landscape(ImageDraw.Draw(picture), large, *_GROUNDS[name])
        _DETAILS[name](ImageDraw.Draw(picture), large)
    if style == "sketch":
        picture = Image.blend(Image.new("RGB", picture.size, PAPER), picture, 0.4)
    return picture.resize((px, px), Image.Resampling.LANCZOS)


def _landscape(pen: Pen, side: int, top: Colour, low: Colour, ground: Colour) -> None:
    """A sky that pales towards the horizon, and the ground."""
    level = round(HORIZON * side)
    for y in range(level):
        share = y / level
        pen.line([0, y, side, y], fill=tuple(round(a + (b - a) * share) for a, b in zip(top, low, strict=True)))
    pen.rectangle([0, level, side, side], fill=ground)


def _grass(pen: Pen, side: int) -> None:
    _clouds(pen, side, (240, 246, 249))
    _mound(pen, side, 0.25, 0.9, (180, 214, 150))
    for x, y in _spots(30):
        x, y = x * side, (HORIZON + 0.04 + 0.28 * y) * side
        for lean in (-0.012, 0, 0.012):
            pen.line([x, y, x + lean * side, y - 0.028 * side], fill=(148, 190, 116), width=max(1, side // 160))


def _beach(pen: Pen, side: int) -> None:
    _clouds(pen, side, (238, 246, 249))
    pen.rectangle([0, 0.56 * side, side, HORIZON * side], fill=(150, 204, 222))
    for x, y in _spots(16):
        x, y = x * side, (0.58 + 0.08 * y) * side
        pen.line([x, y, x + 0.06 * side, y], fill=(186, 224, 234), width=max(1, side // 150))
    for x, y in _spots(40):
        _spot(pen, x * side, (HORIZON + 0.03 + 0.28 * y) * side, side / 260, (222, 200, 146))


def _night(pen: Pen, side: int) -> None:
    for i, (x, y) in enumerate(_spots(34)):
        _spot(pen, x * side, 0.64 * y * side, side / (150 + 60 * (i % 3)), (226, 224, 204))
    _mound(pen, side, 0.8, 1.1, (80, 90, 124))


def _room(pen: Pen, side: int) -> None:
    for i in range(1, 12, 2):
        pen.rectangle([i * side / 12, 0, (i + 1) * side / 12, HORIZON * side], fill=(232, 221, 210))
    pen.rectangle([0, 0.655 * side, side, HORIZON * side], fill=(248, 244, 238))
    for row in range(1, 4):
        y = (HORIZON + 0.085 * row) * side
        pen.line([0, y, side, y], fill=(184, 154, 124), width=max(1, side // 170))
        for x in range(3):
            at = (x + (0.25 if row % 2 else 0.7)) / 3 * side
            pen.line([at, y - 0.085 * side, at, y], fill=(184, 154, 124), width=max(1, side // 170))


def _snow(pen: Pen, side: int) -> None:
    _mound(pen, side, 0.7, 1.0, (238, 243, 249))
    for i, (x, y) in enumerate(_spots(44)):
        _spot(pen, x * side, y * side, side / (110 + 50 * (i % 3)), (250, 252, 254))


_DETAILS = {"grass": _grass, "beach": _beach, "night": _night, "room": _room, "snow": _snow}


def _spots(count: int) -> list[tuple[float, float]]:
    """Places spread evenly without a pattern (steps of an irrational length), in [0, 1) x [0, 1)."""
    return [((i * 0.7548776662) % 1, (i * 0.5698402910) % 1) for i in range(1, count + 1)]


def _spot(pen: Pen, x: float, y: float, radius: float, fill: Colour) -> None:
    pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=fill)


def _mound(pen: Pen, side: int, x: float, width: float, fill: Colour) -> None:
    """A low hill on the horizon."""
    box = [(x - width / 2) * side, (HORIZON - 0.07) * side, (x + width / 2) * side, (HORIZON + 0.07) * side]
    pen.pieslice(box, 180, 360, fill=fill)


def _clouds(pen: Pen, side: int, fill: Colour) -> None:
    for x, y in ((0.2, 0.13), (0.74, 0.22)):
        for dx, dy, r in ((-0.07, 0.015, 0.032), (0, 0, 0.05), (0.075, 0.012, 0.036)):
            pen.ellipse([(x + dx - 1.6 * r) * side, (y + dy - r) * side, (x + dx + 1.6 * r) * side, (y + dy + r) * side], fill=fill)
