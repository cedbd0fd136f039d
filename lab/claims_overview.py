"""One picture of all claims that the records decide, for README: effects on one axis, the paper's beside ours.

The picture knows from which effects it was drawn, so that a test can hold it up to date without comparing pixels.
"""

import io
import json
from collections.abc import Sequence
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lab.claim_answers import gained, value
from lab.claim_figures_parts import BAND, LOOKS, dress
from lab.claims import CLAIMS
from lab.decided import HOLDS, Decided
from lab.figures import INK, PAPER, png
from lab.stats import REPRODUCED, UNDECIDED

_WIDTH, _ROW, _AROUND = 12.2, 0.235, 1.1  # inches: the picture, a line, what stands above and below
_TICKS = (-30, -10, -3, -1, 0, 1, 3, 10, 30)
_LEFT, _RIGHT = 0.546, 0.829  # of the width: the claims' words stand before, the verdicts behind
_WORDS = {REPRODUCED: f"{REPRODUCED}, {HOLDS}"}
_KEY = "Claims"  # of the PNG's own text


def overview(found: Sequence[Decided]) -> Figure:
    """A line a claim under its table: effect and 95% interval in points, the verdict in mark and colour.

    The axis is linear up to a point and logarithmic beyond, since effects reach from tenths to tens. A hollow triangle
    is the paper's own effect, the mean of its COCO TR@1 and IR@1; a star says that the claim has a note. Correlations
    have no points and are left out.
    """
    shown = [one for one in found if one.claim.in_points]
    place = {claim.id: at for at, claim in enumerate(CLAIMS)}
    shown.sort(key=lambda one: place.get(one.claim.id, len(place)))
    order = list(dict.fromkeys(one.claim.source for one in shown))
    shown.sort(key=lambda one: order.index(one.claim.source))
    lines = [line for source, own in groupby(shown, lambda one: one.claim.source) for line in (source, *own)]
    height = _AROUND + _ROW * max(1, len(lines))
    figure = Figure(figsize=(_WIDTH, height), dpi=128, facecolor=PAPER)
    axes = figure.add_axes((_LEFT, 0.55 / height, _RIGHT - _LEFT, 1 - _AROUND / height))
    dress(axes, "effect in points, the claim is to the right; linear within a point, logarithmic beyond")
    axes.grid(axis="y", visible=False)
    axes.set_xscale("symlog", linthresh=1, linscale=0.7)
    axes.axvline(0, color=INK, linewidth=0.8)
    for at, line in enumerate(lines):
        _draw(axes, at, line)
    axes.set(xlim=(-100, 100), ylim=(len(lines) - 0.4, -0.6), yticks=[])
    axes.set_xticks(_TICKS, [f"{tick:+d}" if tick else "0" for tick in _TICKS])
    axes.minorticks_off()
    figure.legend(handles=_keys(), loc="upper right", ncols=7, fontsize=8, frameon=False, labelcolor=INK, borderaxespad=0.6)
    return figure


def drawn(found: Sequence[Decided]) -> bytes:
    """The picture as PNG, which says from which effects it was drawn."""
    about, out = PngInfo(), io.BytesIO()
    about.add_text(_KEY, _fingerprint(found))
    Image.open(io.BytesIO(png(overview(found)))).save(out, format="PNG", optimize=True, pnginfo=about)
    return out.getvalue()


def is_drawn_from(path: Path, found: Sequence[Decided]) -> bool:
    """Whether a picture is there and was drawn from these effects."""
    if not path.is_file():
        return False
    with Image.open(path) as picture:
        return picture.info.get(_KEY) == _fingerprint(found)


def _fingerprint(found: Sequence[Decided]) -> str:
    told = [(one.claim.says, one.claim.published, bool(one.note), one.short, one.scale, one.row) for one in found]
    return sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _draw(axes: Axes, at: int, line: str | Decided) -> None:
    words: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "va": "center", "annotation_clip": False}
    if isinstance(line, str):
        axes.annotate(line, (-0.015, at), size=8.5, weight="bold", color=INK, ha="right", **words)
        return
    row = line.row
    colour, mark = LOOKS[row["verdict"]]
    margin, effect = 100 * row["margin"], 100 * row["effect"]
    axes.barh(at, 2 * margin, left=-margin, height=1, color=BAND)
    if (published := gained(line.claim)) is not None:
        axes.plot(published, at, "v", color=INK, markerfacecolor="none", markersize=4.5)
    if None not in row["interval"]:
        axes.plot([100 * bound for bound in row["interval"]], [at, at], color=colour, linewidth=1.6, solid_capstyle="butt")
    axes.plot(effect, at, mark, color=colour, markersize=5, markerfacecolor=PAPER if row["verdict"] == UNDECIDED else colour)
    axes.annotate(line.claim.says, (-0.015, at), size=7.5, color=INK, ha="right", **words)
    few = f", {row['seeds']} of {row['fewest_seeds']} seeds" if row["seeds"] < row["fewest_seeds"] else ""
    told = f"{value(line.claim, row['effect'], unit=False)}  {line.short}{few}{' *' if line.note else ''}"
    axes.annotate(told, (1.015, at), size=7.5, color=colour, **words)


def _keys() -> list[Line2D]:
    marks = [
        Line2D([], [], linestyle="", marker=mark, color=colour, markerfacecolor=PAPER if name == UNDECIDED else colour, markersize=5, label=_WORDS.get(name, name))
        for name, (colour, mark) in LOOKS.items()
    ]
    paper = Line2D([], [], linestyle="", marker="v", color=INK, markerfacecolor="none", markersize=4.5, label="the paper (mean of TR@1 and IR@1)")
    band = Line2D([], [], linewidth=6, color=BAND, label="too small to count")
    return [*marks, paper, band, Line2D([], [], linestyle="", marker="$*$", color=INK, markersize=5, label="has a note")]
