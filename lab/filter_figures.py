"""What a filter does, in pictures: the match probability of each text, and the threshold moved.

Tables are those of `lab.tables.captions`, with truth known. Scores are match probabilities in [0, 1].
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from blip.capfilt.quality import Kept, auc
from lab.figures import FILTERED, INK, KEPT, PAPER, QUIET, SIGNS

_DPI = 128
_GRID, _TRACK = "#D0D7DE", "#E4E8EC"
_LEFT, _SIDE, _ROW, _HEAD, _FOOT = 2.6, 1.9, 0.56, 0.55, 0.42  # inches: picture column, picture, a text's row, title, scale
_WIDTH = 8.2
_STEPS = np.linspace(0, 1, 101)
_LINES = {  # a line style each, so that no colour is needed to tell them apart
    "kept": ("kept, of all texts", {"color": INK, "linestyle": "-"}),
    "precision": ("true, of the kept ones", {"color": KEPT, "linestyle": "--"}),
    "recall": ("kept, of the true ones", {"color": "#CC79A7", "linestyle": "-."}),
}
_ORIGINS = {"web": "web captions $T_w$", "synthetic": "synthetic captions $T_s$"}


def match_bars(
    image: np.ndarray, texts: Sequence[str], scores: Sequence[float], title: str, threshold: float = 0.5
) -> Figure:
    """An image (H, W, 3) uint8, and a bar with its verdict for the score of each text, the web's before synthetic ones."""
    height = max(len(texts) * _ROW, _SIDE) + _HEAD + _FOOT
    figure = Figure(figsize=(_WIDTH, height), dpi=_DPI, facecolor=PAPER)
    figure.text(0.14 / _WIDTH, 1 - 0.28 / height, title, size=11, color=INK, weight="bold", va="center")
    picture = figure.add_axes((0.14 / _WIDTH, 1 - (_HEAD + _SIDE) / height, _SIDE / _WIDTH, _SIDE / height))
    picture.imshow(image, interpolation="antialiased")
    picture.set(xticks=[], yticks=[])
    picture.spines[:].set(color=_GRID, linewidth=0.6)
    wide = _WIDTH - _LEFT - 1.3
    box = (_LEFT / _WIDTH, _FOOT / height, wide / _WIDTH, (height - _HEAD - _FOOT) / height)
    axes = figure.add_axes(box)
    for at, (text, score) in enumerate(zip(texts, scores, strict=True)):
        _bar(axes, at, f"{'$T_s$' if at else '$T_w$'}  {text}", score, threshold=threshold)
    axes.axvline(threshold, color=INK, linewidth=1, linestyle=":")
    axes.set(xlim=(0, 1), ylim=(len(texts) - 0.36, -0.5))
    axes.set_yticks([])
    axes.set_xticks([0, threshold, 1], ["0", f"threshold {threshold:g}", "1"])
    axes.tick_params(length=0, labelsize=8.5, labelcolor=INK)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("match probability (ITM)", color=QUIET, size=8.5)
    return figure


def _bar(axes: Axes, at: int, text: str, score: float, *, threshold: float) -> None:
    kept = score >= threshold
    colour = KEPT if kept else FILTERED
    clear = {"facecolor": PAPER, "edgecolor": "none", "pad": 1}  # where the threshold's line passes
    axes.text(0, at - 0.12, text, size=9.5, color=INK, va="bottom", bbox=clear)
    axes.barh(at + 0.09, 1, height=0.22, color=_TRACK)
    axes.barh(at + 0.09, score, height=0.22, color=colour)
    said = f"{score:.3f}  {SIGNS[kept]}"
    axes.text(1.02, at + 0.09, said, size=9, color=colour, va="center", weight="bold", clip_on=False)


def by_threshold(rows: pd.DataFrame, threshold: float, title: str) -> Figure:
    """Keep rate, precision and recall of web and of synthetic captions at every threshold; dots at this one."""
    layout = ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.09)
    figure = Figure(figsize=(9.4, 3.7), dpi=_DPI, facecolor=PAPER, layout=layout)
    figure.suptitle(title, x=0.01, ha="left", size=11, color=INK, weight="bold")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (origin, name) in zip(panels, _ORIGINS.items(), strict=True):
        own = rows[(rows["origin"] == "synthetic") == (origin == "synthetic")]
        score, true = own["score"].to_numpy(float), (own["truth"] == "true").to_numpy()
        curves, here = shares(score, true, _STEPS), shares(score, true, np.array([threshold]))
        for key, (label, look) in _LINES.items():
            value = 100 * here[key][0]
            said = "-" if np.isnan(value) else f"{value:.1f}%"
            axes.plot(_STEPS, 100 * curves[key], linewidth=2, label=f"{label}: {said}", **look)
            axes.plot([threshold], [value], "o", color=look["color"], markersize=6, clip_on=False, zorder=3)
        _dress(axes, name)
        axes.axvline(threshold, color=QUIET, linewidth=1, linestyle=":", zorder=0)
        axes.set(xlim=(0, 1), ylim=(0, 103), yticks=[0, 25, 50, 75, 100])
        axes.set_xlabel(f"threshold of the match probability (dots: {threshold:g})", color=QUIET, size=9)
        clear = {"facecolor": PAPER, "edgecolor": "none", "framealpha": 1}  # the line at the threshold passes behind
        axes.legend(fontsize=8.5, labelcolor=INK, loc="lower left", handlelength=2.8, **clear)
    panels[0].set_ylabel("%", color=QUIET, size=9)
    return figure


def shares(score: np.ndarray, true: np.ndarray, thresholds: np.ndarray) -> dict[str, np.ndarray]:
    """kept, precision and recall (T,) in [0, 1] of captions (N,) at T thresholds; NaN where there is none."""
    limits = thresholds.astype(np.float32)  # a ledger's own precision: 0.7 is kept at 0.7
    kept = score.astype(np.float32)[None, :] >= limits[:, None]
    rates = [Kept.of(row, true) for row in kept]
    precision, recall = (
        np.array([getattr(one, name) for one in rates], dtype=float) for name in ("precision", "recall")
    )
    return {"kept": kept.mean(axis=1), "precision": precision, "recall": recall}


def precision_recall(rows: pd.DataFrame, threshold: float, title: str) -> Figure:
    """For each noise kind of the web: the filter's precision and recall on clean text and that kind alone.

    A positive is clean text, a negative untrue text of the kind; noise that happens to be true is left out.
    """
    web = rows[rows["origin"] != "synthetic"]
    kinds = sorted(set(web["noise_kind"]) - {"clean"})
    layout = ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.09)
    figure = Figure(figsize=(9.4, 2.55 * -(-len(kinds) // 3) + 0.5), dpi=_DPI, facecolor=PAPER, layout=layout)
    figure.suptitle(title, x=0.01, ha="left", size=11, color=INK, weight="bold")
    panels = figure.subplots(-(-len(kinds) // 3), 3, sharex=True, sharey=True, squeeze=False)
    for axes, kind in zip(panels.flat, kinds, strict=False):
        chosen = web[(web["noise_kind"] == "clean") | ((web["noise_kind"] == kind) & (web["truth"] != "true"))]
        score, clean = chosen["score"].to_numpy(float), (chosen["noise_kind"] == "clean").to_numpy()
        _curve(axes, score, clean, threshold)
        _dress(axes, f"{kind.replace('_', ' ')}, AUC {auc(score[clean], score[~clean]):.3f}")
    for axes in panels[-1]:
        axes.set_xlabel("recall: kept, of clean text (%)", color=QUIET, size=8.5)
    for axes in panels[:, 0]:
        axes.set_ylabel("precision: clean,\nof the kept (%)", color=QUIET, size=8.5)
    return figure


def _curve(axes: Axes, score: np.ndarray, clean: np.ndarray, threshold: float) -> None:
    found = shares(score, clean, _STEPS)
    here = shares(score, clean, np.array([threshold]))
    x, y = (100 * here[name][0] for name in ("recall", "precision"))
    axes.plot(100 * found["recall"], 100 * found["precision"], color=KEPT, linewidth=2)
    axes.axhline(100 * clean.mean(), color=QUIET, linewidth=1, linestyle=":")
    axes.plot([x], [y], "o", color=INK, markersize=6, zorder=3)
    axes.text(3, 100 * clean.mean() + 0.4, "all kept", size=8, color=QUIET, va="bottom")
    clear = {"facecolor": PAPER, "edgecolor": "none", "pad": 1}
    axes.annotate(f"{y:.1f} at {x:.1f}", (x, y), xytext=(-7, -15), textcoords="offset points", size=8.5, color=INK, bbox=clear, ha="right")
    axes.set(xlim=(0, 102), ylim=(min(75, 100 * clean.mean() - 3), 101))


def _dress(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", size=9.5, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_GRID)
    axes.grid(color=_TRACK, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, pad=6, labelsize=8.5, labelcolor=INK)
