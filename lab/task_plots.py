"""Charts of the downstream tasks: measures beside chance and ceiling, and confusions of answers."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle

from lab.figures import FILTERED, INK, KEPT, PAPER, QUIET

_DPI = 128
_GRID = "#D0D7DE"
_BARS = ("#A9C7DD", KEPT, "#009E73")  # light, dark and green: they differ in brightness, too
_MARKS = (":", "-", "--")
_CELL, _LETTER, _HEAD, _GAP = 0.3, 0.068, 0.8, 0.24  # inches of a confusion
_RECALL = re.compile(r"\b([ti]?r)(\d+)$")
OTHER = "other"

Shares = Mapping[str, float]
"""Shares in [0, 1] by the name of what was measured."""


def compared(bars: Mapping[str, Shares], marks: Mapping[str, Shares], title: str) -> Figure:
    """Bars of up to three models for each measure, and up to three kinds of marks: chance, ceiling, another bound.

    The measures are those of the first model; a mark that is not known for one is left out.
    """
    names = list(next(iter(bars.values())))
    layout = ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.09)
    figure = Figure(figsize=(7.6, 0.95 + len(names) * (0.17 + 0.2 * len(bars))), dpi=_DPI, facecolor=PAPER, layout=layout)
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", size=11, color=INK, weight="bold", pad=8)
    tall, colours = 0.76 / len(bars), _BARS if len(bars) > 1 else (KEPT,)
    clear = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.6}  # where a mark passes
    for at, ((label, values), colour) in enumerate(zip(bars.items(), colours, strict=False)):
        places = np.arange(len(names)) + (at - (len(bars) - 1) / 2) * tall
        shares = [100 * values[name] for name in names]
        axes.barh(places, shares, height=0.88 * tall, color=colour, label=label)
        for place, share in zip(places, shares, strict=True):
            axes.text(share + 0.8, place, f"{share:.1f}", va="center", size=8, color=INK, bbox=clear)
    for (label, values), style in zip(marks.items(), _MARKS, strict=False):
        known = [at for at, name in enumerate(names) if name in values]
        heights = [100 * values[names[at]] for at in known]
        low, high = np.array(known) - 0.44, np.array(known) + 0.44
        axes.vlines(heights, low, high, color=INK, linewidth=1.4, linestyle=style, label=label)
    _percent(axes, names)
    return figure


def label_of(measure: str) -> str:
    """A measure by the name that the paper gives it: TR@1 for tr1, video R@5 for video_r5, NDCG for ndcg."""
    words = _RECALL.sub(lambda found: f"{found[1].upper()}@{found[2]}", measure.replace("_", " "))
    return words.upper() if words in ("ndcg", "mrr") else words


def _percent(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [label_of(name) for name in names])
    axes.invert_yaxis()
    axes.set(xlim=(0, 107), xticks=[0, 25, 50, 75, 100])
    axes.set_xlabel("%", color=QUIET, size=9)
    _quiet(axes)
    axes.legend(frameon=False, fontsize=8.5, labelcolor=INK, loc="upper left", bbox_to_anchor=(1, 1))


def _quiet(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_GRID)
    axes.tick_params(length=0, labelsize=9, labelcolor=INK)


def confusions(
    panels: Mapping[str, tuple[Sequence[str], Sequence[str]]], order: Sequence[str], title: str
) -> Figure:
    """A panel a group, of what is true and what was said: shares of each row, rightly in blue, wrongly in orange.

    The rows are the answers that are true somewhere in the group, in the given order; all else that was said
    is "other".
    """
    known = {name: [answer for answer in order if answer in set(truths)] for name, (truths, _) in panels.items()}
    longest = [_LETTER * max(len(label) for label in (OTHER, *rows)) + 0.12 for rows in known.values()]
    wide = [side + _CELL * (len(rows) + 1) + _GAP for side, rows in zip(longest, known.values(), strict=True)]
    tall = _HEAD + _CELL * max(map(len, known.values())) + max(longest) + 0.1
    width = max(sum(wide) + _GAP, 4.5)
    figure = Figure(figsize=(width, tall), dpi=_DPI, facecolor=PAPER)
    figure.text(0.14 / width, 1 - 0.2 / tall, title, size=11, color=INK, weight="bold", va="center")
    left = 0.14
    for (name, (truths, said)), side, own in zip(panels.items(), longest, wide, strict=True):
        rows = known[name]
        size = ((len(rows) + 1) * _CELL / width, len(rows) * _CELL / tall)
        axes = figure.add_axes(((left + side) / width, 1 - _HEAD / tall - size[1], *size))
        _confusion(axes, list(zip(truths, said, strict=True)), rows)
        right = np.mean([one == other for one, other in zip(truths, said, strict=True)])
        axes.set_title(f"{name}: {right:.1%}", loc="left", size=9, color=INK, pad=6)
        left += own
    return figure


def _confusion(axes: Axes, pairs: Sequence[tuple[str, str]], rows: Sequence[str]) -> None:
    counts = Counter((truth, said if said in rows else OTHER) for truth, said in pairs)
    columns = [*rows, OTHER]
    for y, truth in enumerate(rows):
        total = sum(counts[truth, said] for said in columns)
        for x, said in enumerate(columns):
            share = counts[truth, said] / max(1, total)
            colour = KEPT if truth == said else FILTERED
            look = {"facecolor": colour, "alpha": 0.12 + 0.68 * share} if share else {"facecolor": "#F3F5F7"}
            axes.add_patch(Rectangle((x - 0.46, y - 0.46), 0.92, 0.92, linewidth=0, **look))
            if share:
                shade = PAPER if share > 0.7 else INK
                axes.text(x, y, f"{100 * share:.0f}", ha="center", va="center", size=6.5, color=shade)
    axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    axes.set_xticks(range(len(columns)), columns, rotation=90)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0, labelsize=7.5, labelcolor=INK)
    axes.spines[:].set_visible(False)
