"""Figures of the generated world: pairs as cards, what the web's texts are worth, what people covered."""

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import FancyBboxPatch, Rectangle

from lab.figures import FILTERED, INK, KEPT, PAPER, QUIET
from lab.world.checker import check
from lab.world.draw import PEOPLE_PX
from lab.world.levels import COLOURS, Level
from lab.world.noise import CLEAN, KINDS
from lab.world.sets import World, WorldPair

TRUTHS = {
    "true": ("✓ true", KEPT),
    "false": ("✗ false", FILTERED),
    "uninformative": ("○ uninformative", QUIET),
}
_DPI = 128
# Inches, all of whole pixels: then a picture for people is on the page as it was drawn.
_SIDE, _PAD, _GAP, _BELOW = (pixels / _DPI for pixels in (PEOPLE_PX, 16, 16, 12))
_LINE, _NOTE, _HEAD, _LABEL = (pixels / _DPI for pixels in (19, 23, 80, 148))
_WIDTH = _SIDE + 2 * _PAD
_WRAP, _MOST_LINES = 36, 7
_FRAME, _CARD = "#D0D7DE", "#FAFBFC"
_NEVER = {"facecolor": _CARD, "edgecolor": _FRAME, "hatch": "////"}


@dataclass(frozen=True)
class Tile:
    """A picture (H, W, 3) uint8 with a note and the truth under it, and then its text."""

    image: np.ndarray
    text: str = ""
    note: str = ""
    truth: str | None = None


def tile(item: WorldPair, px: int = PEOPLE_PX) -> Tile:
    """A pair as a tile: its noise kind where it comes from the web, else its origin."""
    note = item.noise_kind if item.origin == "web" else item.origin
    return Tile(item.image(px), item.caption, note.replace("_", " "), item.truth)


def asked(item: WorldPair, text: str, px: int = PEOPLE_PX) -> Tile:
    """A pair's picture with any text, what the checker says of it, and which part of it is wrong."""
    verdict = check(text, item.scene)
    return Tile(item.image(px), text, f"wrong: {verdict.wrong}" if verdict.wrong else "", verdict.truth)


def flipped(item: WorldPair, px: int = PEOPLE_PX) -> Tile:
    """A pair as a random flip would make it: the picture mirrored, its text, and what is true of them now."""
    things = tuple(replace(thing, x=1 - thing.x) for thing in item.scene.things)
    mirrored = replace(item, scene=replace(item.scene, things=things))
    return replace(asked(mirrored, item.caption), image=item.image(px)[:, ::-1])


def examples(items: Iterable[WorldPair], each: int) -> dict[str, list[WorldPair]]:
    """The first so many pairs of clean text and of each noise kind, as far as there are any."""
    found: dict[str, list[WorldPair]] = {kind: [] for kind in (CLEAN, *KINDS)}
    for item in items:
        if len(found[item.noise_kind]) < each:
            found[item.noise_kind].append(item)
    return found


def sheet(tiles: Sequence[Tile], title: str, columns: int = 6) -> Figure:
    """Tiles in a grid, as a page to look through."""
    columns = max(1, min(columns, len(tiles)))
    rows = [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
    return _page(rows, [""] * len(rows), title, left=0.0)


def strips(rows: Mapping[str, Sequence[Tile]], title: str) -> Figure:
    """Tiles in named rows, to compare one row with another."""
    return _page(list(rows.values()), [name.replace("_", " ") for name in rows], title, left=_LABEL)


def text_worth(items: Sequence[WorldPair], title: str) -> Figure:
    """The share of clean text and of each noise kind, and how much of it is true, false, uninformative."""
    names = (CLEAN, *KINDS)
    counts = Counter((item.noise_kind, item.truth) for item in items)
    figure = _figure(7.2, 3.4)
    axes = _plain_axes(figure, title)
    start = np.zeros(len(names))
    for truth, (label, colour) in TRUTHS.items():
        shares = np.array([100 * counts[name, truth] / max(1, len(items)) for name in names])
        axes.barh(range(len(names)), shares, left=start, color=colour, height=0.68, label=label)
        start += shares
    for y, share in enumerate(start):
        axes.text(share + 0.8, y, f"{share:.1f}", va="center", size=8.5, color=INK)
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.invert_yaxis()
    axes.set_xlim(0, max(start) + 7)
    axes.set_xlabel("% of all texts", color=QUIET, size=9)
    axes.legend(frameon=False, fontsize=9, labelcolor=INK, loc="lower right")
    return figure


def worth_by_rate(world: World, rates: Sequence[float], count: int, title: str) -> Figure:
    """How much of `count` texts is true, false and uninformative at each rate of noise in [0, 1]."""
    figure = _figure(7.2, 3.2)
    axes = _plain_axes(figure, title)
    worth = [Counter(item.truth for item in world.web(count, rate)) for rate in rates]
    start = np.zeros(len(rates))
    for truth, (label, colour) in TRUTHS.items():
        shares = np.array([100 * counts[truth] / max(1, count) for counts in worth])
        axes.bar(range(len(rates)), shares, bottom=start, color=colour, width=0.72, label=label)
        for x, (share, below) in enumerate(zip(shares, start, strict=True)):
            if share > 5:
                middle = below + share / 2
                axes.text(x, middle, f"{share:.0f}", ha="center", va="center", size=8.5, color=PAPER)
        start += shares
    axes.set_xticks(range(len(rates)), [f"{rate:.0%}" for rate in rates])
    axes.set_xlabel("share of the texts that are noise", color=QUIET, size=9)
    axes.set_ylabel("% of all texts", color=QUIET, size=9)
    axes.legend(frameon=False, fontsize=9, labelcolor=INK, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def coverage(sets: Mapping[str, Sequence[WorldPair]], level: Level, title: str) -> Figure:
    """How often each set shows each kind in each colour; a cell that it never shows is hatched."""
    width = 0.62 * len(level.colour_names) + 1.3
    figure = _figure(width * len(sets), 0.34 * len(level.kind_names) + 1.35)
    figure.suptitle(title, x=0.008, ha="left", size=11, color=INK, weight="bold")
    panels = figure.subplots(1, len(sets), squeeze=False)[0]
    for axes, (name, items) in zip(panels, sets.items(), strict=True):
        _grid(axes, items, level)
        axes.set_title(name, loc="left", size=9.5, color=INK, pad=12)
    return figure


def _grid(axes: Axes, items: Sequence[WorldPair], level: Level) -> None:
    counts = Counter((thing.kind, thing.colour) for item in items for thing in item.scene.things)
    most = max(counts.values(), default=1)
    for y, kind in enumerate(level.kind_names):
        for x, colour in enumerate(level.colour_names):
            count = counts[kind, colour]
            look = {"facecolor": KEPT, "alpha": 0.15 + 0.6 * count / most} if count else _NEVER
            axes.add_patch(Rectangle((x - 0.47, y - 0.45), 0.94, 0.9, linewidth=0, **look))
            if count:
                axes.text(x, y, f"{count:,}", ha="center", va="center", size=7.5, color=INK)
    for x, colour in enumerate(level.colour_names):
        value = tuple(part / 255 for part in COLOURS[colour])
        axes.add_patch(Rectangle((x - 0.47, -0.95), 0.94, 0.3, facecolor=value, edgecolor=_FRAME, linewidth=0.6, clip_on=False))
    axes.set(xlim=(-0.5, len(level.colour_names) - 0.5), ylim=(len(level.kind_names) - 0.5, -0.5))
    axes.set_xticks(range(len(level.colour_names)), level.colour_names)
    axes.set_yticks(range(len(level.kind_names)), level.kind_names)
    axes.tick_params(length=0, labelsize=8.5, labelcolor=INK, labeltop=True, labelbottom=False)
    axes.tick_params(axis="x", pad=15)
    axes.spines[:].set_visible(False)


def _figure(width: float, height: float) -> Figure:
    """A figure (inches) whose panels are laid out by what stands in them."""
    layout = ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.09)
    return Figure(figsize=(width, height), dpi=_DPI, facecolor=PAPER, layout=layout)


def _plain_axes(figure: Figure, title: str) -> Axes:
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", size=11, color=INK, weight="bold", pad=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_FRAME)
    axes.tick_params(length=0, labelsize=9, labelcolor=INK)
    return axes


def _page(rows: Sequence[Sequence[Tile]], labels: Sequence[str], title: str, left: float) -> Figure:
    """Rows of cards below a title, all cards of a row as high as its longest text needs."""
    heights = [_height(row) for row in rows]
    width = left + max((len(row) for row in rows), default=1) * (_WIDTH + _GAP) + _GAP
    height = _HEAD + sum(heights) + _GAP * len(rows)
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor=PAPER)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    axes.text(_GAP + 0.02, _HEAD / 2, title, size=12, color=INK, weight="bold", va="center")
    top = _HEAD
    for row, label, tall in zip(rows, labels, heights, strict=True):
        axes.text(_GAP + 0.02, top + _PAD, label, size=9.5, color=INK, va="top", linespacing=1.35)
        for i, shown in enumerate(row):
            _card(axes, left + _GAP + i * (_WIDTH + _GAP), top, tall, shown)
        top += tall + _GAP
    return figure


def _height(row: Sequence[Tile]) -> float:
    lines = max((len(_lines(shown.text)) for shown in row), default=0)
    noted = any(shown.note or shown.truth for shown in row)
    below = _NOTE * noted + _LINE * lines
    return _PAD + _SIDE + (below + _BELOW if below else 0) + _PAD


def _lines(text: str) -> list[str]:
    """A text in lines that fit a card; its own line breaks stay."""
    parts = (textwrap.wrap(part, _WRAP, max_lines=_MOST_LINES, placeholder=" …") for part in text.split("\n"))
    return [line for lines in parts for line in lines]


def _card(axes: Axes, x: float, y: float, height: float, shown: Tile) -> None:
    style = "round,pad=0,rounding_size=0.07"
    axes.add_patch(FancyBboxPatch((x, y), _WIDTH, height, boxstyle=style, edgecolor=_FRAME, facecolor=_CARD, linewidth=0.8))
    picture = axes.inset_axes((x + _PAD, y + _PAD, _SIDE, _SIDE), transform=axes.transData)
    picture.imshow(shown.image, interpolation="antialiased", aspect="auto")
    picture.set(xticks=[], yticks=[])
    picture.spines[:].set(color=_FRAME, linewidth=0.6)
    below = y + _PAD + _SIDE + _BELOW
    if shown.note or shown.truth:
        axes.text(x + _PAD, below, shown.note, size=7, color=QUIET, va="top")
        if shown.truth:
            label, colour = TRUTHS[shown.truth]
            right = x + _PAD + _SIDE
            axes.text(right, below, label, size=7, color=colour, va="top", ha="right", weight="bold")
        below += _NOTE
    axes.text(x + _PAD, below, "\n".join(_lines(shown.text)), size=7.5, color=INK, va="top", linespacing=1.25)
