"""Two scores of the same captions as a picture: their density, both thresholds, the selected box, as SVG text.

Every bin is a square, the larger the more captions it holds. Colours come from the style sheet: that of kept
where both sides keep, that of filtered where neither does, ink where they differ.
"""

import math
from collections.abc import Iterable, Sequence
from html import escape

from apps.compared import BOTH, NEITHER, ONLY_A, ONLY_B, QUADRANTS, Axis, Box, Counts

_LEFT, _TOP, _SIDE = 56, 44, 360  # of the plot, in units of the view box
_STRIP, _GAP = 34, 6  # of the histograms along its edges
_RIGHT, _BOTTOM = _LEFT + _SIDE, _TOP + _SIDE
_CLASSES = {BOTH: "kept", NEITHER: "filtered", ONLY_A: "only", ONLY_B: "only"}
_CORNERS = {
    BOTH: (_RIGHT - 10, _TOP + 22, "end"),
    ONLY_A: (_RIGHT - 10, _BOTTOM - 28, "end"),
    ONLY_B: (_LEFT + 10, _TOP + 22, "start"),
    NEITHER: (_LEFT + 10, _BOTTOM - 28, "start"),
}

Bins = Sequence[tuple[int, int, int]]


def scatter(
    bins: Bins, size: int, axes: tuple[Axis, Axis], limits: tuple[float, float], counts: Counts, box: Box | None
) -> str:
    """The picture. bins (x, y, captions) are `size` along each axis; A's score goes right, B's goes up."""
    shares = tuple(axis.place(limit) for axis, limit in zip(axes, limits, strict=True))
    said = ", ".join(f"{part.lower()} {counts.of(*sides):,}" for sides, part in QUADRANTS.items())
    label = f"Scores of A and B with thresholds {limits[0]:g} and {limits[1]:g}: {said}"
    drawn = _grounds(shares) + _axes(axes) + _cells(bins, size, shares) + _histograms(bins, size, shares)
    drawn += _thresholds(shares) + _names(counts) + _box(axes, box)
    area = f'viewBox="0 0 {_RIGHT + _GAP + _STRIP + 2} {_BOTTOM + 44}"'
    return f'<svg class="scatter" role="img" aria-label="{escape(label)}" {area}>{drawn}</svg>'


def _grounds(shares: tuple[float, ...]) -> str:
    """The four quadrants, and over them the ground that the pointer is measured by."""
    x, y = _x(shares[0]), _y(shares[1])
    parts = (
        ("kept", x, _TOP, _RIGHT - x, y - _TOP),
        ("filtered", _LEFT, y, x - _LEFT, _BOTTOM - y),
        ("only", x, y, _RIGHT - x, _BOTTOM - y),
        ("only", _LEFT, _TOP, x - _LEFT, y - _TOP),
    )
    rects = "".join(
        f'<rect class="quadrant {name}" x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{tall:.1f}"/>'
        for name, left, top, wide, tall in parts
    )
    return rects + f'<rect class="ground" x="{_LEFT}" y="{_TOP}" width="{_SIDE}" height="{_SIDE}"/>'


def _axes(axes: tuple[Axis, Axis]) -> str:
    drawn = ""
    for score in axes[0].ticks:
        x = _x(axes[0].place(score))
        drawn += f'<text x="{x}" y="{_BOTTOM + 17}" text-anchor="middle">{_number(score)}</text>'
    for score in axes[1].ticks:
        y = _y(axes[1].place(score))
        drawn += f'<text x="{_LEFT - 7}" y="{y + 4}" text-anchor="end">{_number(score)}</text>'
    middle = _TOP + _SIDE / 2
    drawn += f'<text class="name" x="{_x(0.5)}" y="{_BOTTOM + 38}" text-anchor="middle">score of A →</text>'
    turned = f'transform="rotate(-90 13 {middle})"'
    return drawn + f'<text class="name" x="13" y="{middle}" text-anchor="middle" {turned}>score of B →</text>'


def _cells(bins: Bins, size: int, shares: tuple[float, ...]) -> str:
    """One path a colour, so that thousands of squares stay small; area grows with the logarithm of the count."""
    most = math.log1p(max((n for _, _, n in bins), default=1))
    unit = _SIDE / size
    paths = {"kept": "", "filtered": "", "only": ""}
    for x, y, n in bins:
        side = unit * (0.3 + 0.65 * math.log1p(n) / most)
        left, top = _LEFT + (x + 0.5) * unit - side / 2, _BOTTOM - (y + 0.5) * unit - side / 2
        part = QUADRANTS[(x + 0.5) / size >= shares[0], (y + 0.5) / size >= shares[1]]
        paths[_CLASSES[part]] += f"M{left:.1f} {top:.1f}h{side:.1f}v{side:.1f}h-{side:.1f}z"
    return "".join(f'<path class="cells {name}" d="{path}"/>' for name, path in paths.items() if path)


def _histograms(bins: Bins, size: int, shares: tuple[float, ...]) -> str:
    """The scores of each side alone, along the edges."""
    drawn = ""
    for side, share in enumerate(shares):
        counts = _sums(((own[side], own[2]) for own in bins), size)
        top, unit = max([1, *counts]), _SIDE / size
        paths = {"kept": "", "filtered": ""}
        for place, count in enumerate(counts):
            tall = _STRIP * count / top
            if not count:
                continue
            start = place * unit + 0.5
            bar = (
                f"M{_LEFT + start:.1f} {_TOP - _GAP - tall:.1f}h{unit - 1:.1f}v{tall:.1f}h-{unit - 1:.1f}z"
                if side == 0
                else f"M{_RIGHT + _GAP:.1f} {_BOTTOM - start - unit + 1:.1f}h{tall:.1f}v{unit - 1:.1f}h-{tall:.1f}z"
            )
            paths["kept" if (place + 0.5) / size >= share else "filtered"] += bar
        drawn += "".join(f'<path class="edge {name}" d="{path}"/>' for name, path in paths.items() if path)
    return drawn


def _sums(found: Iterable[tuple[int, int]], size: int) -> list[int]:
    total = [0] * size
    for place, count in found:
        total[place] += count
    return total


def _thresholds(shares: tuple[float, ...]) -> str:
    x, y = _x(shares[0]), _y(shares[1])
    across = f'<line class="limit" x1="{x}" x2="{x}" y1="{_TOP - _GAP - _STRIP}" y2="{_BOTTOM}"/>'
    return across + f'<line class="limit" x1="{_LEFT}" x2="{_RIGHT + _GAP + _STRIP}" y1="{y}" y2="{y}"/>'


def _names(counts: Counts) -> str:
    drawn = ""
    for sides, part in QUADRANTS.items():
        x, y, anchor = _CORNERS[part]
        drawn += (
            f'<g class="corner" text-anchor="{anchor}"><text class="count" x="{x}" y="{y}">{counts.of(*sides):,}</text>'
            f'<text x="{x}" y="{y + 17}">{part}</text></g>'
        )
    return drawn


def _box(axes: tuple[Axis, Axis], box: Box | None) -> str:
    if box is None:
        return ""
    left, right = _x(axes[0].place(box[0])), _x(axes[0].place(box[2]))
    top, bottom = _y(axes[1].place(box[3])), _y(axes[1].place(box[1]))
    return f'<rect class="box" x="{left}" y="{top}" width="{right - left:.1f}" height="{bottom - top:.1f}"/>'


def _number(value: float) -> str:
    return f"{value:g}".replace("-", "−")  # the typographic minus


def _x(share: float) -> float:
    return round(_LEFT + share * _SIDE, 1)


def _y(share: float) -> float:
    return round(_BOTTOM - share * _SIDE, 1)
