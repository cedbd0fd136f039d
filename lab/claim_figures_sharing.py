"""Pictures of sharing: which parts text encoder and decoder share, and the crossed design of confirmation bias."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import FancyBboxPatch, Rectangle

from blip.config import SHARING, named
from blip.model import count_parameters
from lab import paper
from lab.claim_figures_parts import head
from lab.claim_records import Measured
from lab.figures import FILTERED, INK, KEPT, PAPER, QUIET

PARTS = {"embeddings": "embeddings", "self_attention": "self-attention", "cross_attention": "cross-attention", "mlp": "feed-forward"}
DEGREES = ("shared", "twins", "same pre-training, no prompt", "same pre-training", "separate")
"""From one model to two pre-trainings; the first three have no prompt."""
_VOCABULARY = 30_524  # BERT's, with [DEC] and [ENC]
_FRAME, _MODEL, _BOX = "#8C959F", "#FFF3D6", "#F6F8FA"


def base_parameters() -> dict[str, int]:
    """The exact number of parameters at base size by way of sharing (paper Table 3), the queue and teacher not counted."""
    return {name: count_parameters(named("base", vocab_size=_VOCABULARY, shared=SHARING[name])) for name in paper.TABLE3}


def shared_parts(title: str) -> Figure:
    """A row a way of sharing: one box where a part is shared, two where encoder and decoder have their own.

    Beside it the exact parameters at base size, and what the paper says (Table 3).
    """
    figure = Figure(figsize=(9.4, 2.6), dpi=128, facecolor=PAPER)
    head(figure, title, ())
    axes = figure.add_axes((0, 0, 1, 0.9))
    axes.set(xlim=(0, 9.4), ylim=(4.6, 0))
    axes.axis("off")
    counts = base_parameters()
    for column, part in enumerate(PARTS.values()):
        axes.text(1.75 + 1.25 * column, 0.45, part, size=8.5, color=QUIET, ha="center")
    axes.text(7.75, 0.45, "parameters, base size", size=8.5, color=QUIET, ha="right")
    axes.text(9.2, 0.45, "in the paper", size=8.5, color=QUIET, ha="right")
    for row, (name, count) in enumerate(counts.items()):
        y = 1.1 + row
        axes.text(0.14, y, name, size=9.5, color=INK, weight="bold", va="center")
        for column, part in enumerate(PARTS):
            _part(axes, 1.75 + 1.25 * column, y, part in SHARING[name])
        axes.text(7.75, y, f"{count:,}", size=9, color=INK, ha="right", va="center")
        axes.text(9.2, y, f"{paper.PARAMETERS[name] / 1e6:.0f}M", size=9, color=QUIET, ha="right", va="center")
    return figure


def degrees(title: str) -> Figure:
    """Degrees of sharing between a captioner and its filter, from one model to two pre-trainings."""
    figure = Figure(figsize=(12.4, 2.5), dpi=128, facecolor=PAPER)
    head(figure, title, ())
    rows = (
        ("shared", "one model", (1.5,), "captioner = filter", ""),
        ("twins", "one pre-trained model, twice\nfine-tuned as at the left", (1.5,), "captioner", "filter"),
        ("same pre-training", "one pre-trained model, each\nby its own losses", (1.5,), "captioner", "filter"),
        ("separate", "two pre-trained models,\neach fine-tuned once", (0.8, 2.2), "captioner", "filter"),
    )
    for at, (name, about, trunks, first, second) in enumerate(rows):
        axes = figure.add_axes((at / len(rows), 0, 1 / len(rows), 0.9))
        axes.set(xlim=(0, 3.1), ylim=(2.25, 0))
        axes.axis("off")
        axes.text(0.14, 0.14, name, size=9.5, color=INK, weight="bold", va="center")
        axes.text(0.14, 0.32, about, size=7.5, color=QUIET, va="top", linespacing=1.15)
        for x in trunks:
            _box(axes, x, 0.95, "pre-trained", _MODEL)
        for x, label in ((0.8, first), (2.2, second)) if second else ((1.5, first),):
            trunk = x if len(trunks) > 1 else trunks[0]
            arrow = {"arrowstyle": "-|>", "color": QUIET, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
            axes.annotate("", (x, 1.62), (trunk, 1.14), arrowprops=arrow)
            _box(axes, x, 1.83, label, _BOX)
    return figure


def crossed(shown: Measured, title: str, only: Sequence[str]) -> Figure:
    """The crossed design, and for each of these degrees of sharing the share of false captions that each filter lets pass.

    Two captioners and two filters of two seeds, a and b; thresholds are matched at 90% recall. On the diagonal a
    filter judges its own captioner. The bias is what it lets pass there more than of the other's (means over seeds).
    """
    layout = ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.12)
    arms, count = {name: shown.arms[name] for name in only}, 1 + len(only)
    figure = Figure(figsize=(2.35 * count, 3.1), dpi=128, facecolor=PAPER, layout=layout)
    head(figure, title, [shown])
    panels = figure.subplots(1, count)
    _design(panels[0])
    for axes, (name, own) in zip(panels[1:], arms.items(), strict=True):
        passed = [one["bias"]["pass"] for one in own.values() if one["bias"]["pass"]]
        bias = [one["bias"]["bias"] for one in own.values() if one["bias"]["bias"] is not None]
        _grid(axes, name)
        _rates(axes, np.mean(passed, axis=0) if passed else None)
        said = f"bias {100 * np.mean(bias):+.1f} points" if bias else "not measured yet"
        axes.set_xlabel(said, size=9, color=INK if bias else QUIET, weight="bold", labelpad=6)
    return figure


def _part(axes: Axes, x: float, y: float, shared: bool) -> None:
    if shared:
        axes.add_patch(Rectangle((x - 0.5, y - 0.25), 1.0, 0.5, facecolor=KEPT, linewidth=0))
        axes.text(x, y, "shared", size=7.5, color=PAPER, ha="center", va="center")
        return
    for left, name in ((x - 0.5, "enc"), (x + 0.03, "dec")):
        axes.add_patch(Rectangle((left, y - 0.25), 0.47, 0.5, facecolor=PAPER, edgecolor=FILTERED, linewidth=1.2))
        axes.text(left + 0.235, y, name, size=7.5, color=FILTERED, ha="center", va="center")


def _box(axes: Axes, x: float, y: float, label: str, colour: str) -> None:
    wide = 0.62 if len(label) < 14 else 0.85
    style = "round,pad=0,rounding_size=0.06"
    axes.add_patch(FancyBboxPatch((x - wide, y - 0.19), 2 * wide, 0.38, boxstyle=style, facecolor=colour, edgecolor=_FRAME, linewidth=1))
    axes.text(x, y, label, size=8.5, color=INK, ha="center", va="center")


def _design(axes: Axes) -> None:
    _grid(axes, "the design")
    for f in (0, 1):
        for c in (0, 1):
            own = f == c
            axes.text(c, f, "its own\ncaptioner" if own else "the\nother's", size=8, color=KEPT if own else QUIET, ha="center", va="center")
    axes.set_xlabel("bias = own - other's", size=9, color=QUIET, labelpad=6)


def _grid(axes: Axes, name: str) -> None:
    axes.set_title(name, loc="left", size=9.5 if len(name) < 20 else 8.5, color=INK, weight="bold")
    axes.set(xlim=(-0.5, 1.5), ylim=(1.5, -0.5), aspect="equal")
    axes.set_xticks([0, 1], ["captioner a", "captioner b"])
    axes.set_yticks([0, 1], ["filter a", "filter b"], rotation=90, va="center")
    axes.tick_params(length=0, labelsize=8, labelcolor=INK, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
    for f in (0, 1):
        for c in (0, 1):
            colour = "#DCEBF5" if f == c else "#F3F5F7"
            axes.add_patch(Rectangle((c - 0.47, f - 0.47), 0.94, 0.94, linewidth=0, facecolor=colour))


def _rates(axes: Axes, passed: Sequence[Sequence[float]] | None) -> None:
    for f in (0, 1):
        for c in (0, 1):
            said = "-" if passed is None else f"{100 * passed[f][c]:.1f}%"
            axes.text(c, f, said, size=11, color=KEPT if f == c else INK, ha="center", va="center")
