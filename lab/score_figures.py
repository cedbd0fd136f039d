"""Pictures of scores: how many captions have which score, and what an audit says of every threshold."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lab.figures import FILTERED, INK, KEPT, PAPER, QUIET

_WIDTH, _HEIGHT = 4.2, 2.6  # inches of a panel


def score_histograms(origins: Mapping[str, Mapping[str, Any]], score: str) -> Figure:
    """A panel an origin: captions by score, kept above filtered ones, with the threshold marked.

    origins: by name the range (low, high), the counts (bins,) `kept` and `filtered`, and the `threshold`.
    Kept and filtered differ by hatching too, so that they can be told apart without colour.
    """
    figure, panels = _panels(list(origins))
    for axes, own in zip(panels, origins.values(), strict=True):
        edges = np.linspace(own["low"], own["high"], len(own["kept"]) + 1)
        filtered, kept = np.array(own["filtered"]), np.array(own["kept"])
        axes.bar(edges[:-1], filtered, np.diff(edges), align="edge", color=FILTERED, hatch="///", edgecolor=PAPER, linewidth=0.3, label="filtered")
        axes.bar(edges[:-1], kept, np.diff(edges), filtered, align="edge", color=KEPT, edgecolor=PAPER, linewidth=0.3, label="kept")
        if own["low"] <= own["threshold"] <= own["high"]:
            axes.axvline(own["threshold"], color=INK, linestyle="--", linewidth=1, label=f"threshold {own['threshold']:g}")
        axes.set_xlabel(score, size=8, color=INK)
    panels[0].set_ylabel("captions", size=8, color=INK)
    _finish(figure, panels)
    return figure


def audit_curves(groups: Mapping[str, Mapping[str, Any]], thresholds: Mapping[str, float], score: str) -> Figure:
    """A panel a group: precision and recall at every threshold with their 95% intervals.

    groups: by name the curve of `lab.audit.estimate`; thresholds: the policy's, where a group has one.
    """
    figure, panels = _panels(list(groups))
    for axes, (name, own) in zip(panels, groups.items(), strict=True):
        _line(axes, own["curve"], "precision", KEPT, "-")
        _line(axes, own["curve"], "recall", FILTERED, "--")
        if name in thresholds:
            axes.axvline(thresholds[name], color=INK, linestyle=":", linewidth=1, label=f"policy {thresholds[name]:g}")
        axes.set_ylim(0, 1.02)
        axes.set_xlabel(f"threshold of {score}", size=8, color=INK)
    _finish(figure, panels)
    return figure


def two_scores(one: np.ndarray, other: np.ndarray, true: np.ndarray, names: tuple[str, str], limits: tuple[float, float]) -> Figure:
    """A dot for each of N captions by two scores (N,), filled where it is true (N,) bool; lines at both thresholds.

    names: of the scores; limits: their thresholds. Off the diagonal quarters the two decide differently.
    """
    figure = Figure(figsize=(5.2, 4.4), dpi=128, facecolor=PAPER, layout="constrained")
    axes = figure.add_subplot()
    axes.scatter(one[~true], other[~true], s=14, facecolors="none", edgecolors=FILTERED, linewidths=0.7, label="not true")
    axes.scatter(one[true], other[true], s=10, color=KEPT, alpha=0.55, linewidths=0, label="true")
    axes.axvline(limits[0], color=INK, linestyle="--", linewidth=0.8)
    axes.axhline(limits[1], color=INK, linestyle="--", linewidth=0.8)
    axes.set_xlabel(names[0], size=8, color=INK)
    axes.set_ylabel(names[1], size=8, color=INK)
    _finish(figure, [axes])
    return figure


def _line(axes: Axes, curve: Sequence[Mapping[str, Any]], name: str, colour: str, style: str) -> None:
    rows = [row for row in curve if row[name]["value"] is not None]
    at = [row["threshold"] for row in rows]
    value, low, high = ([row[name][end] for row in rows] for end in ("value", "low", "high"))
    axes.step(at, value, where="pre", color=colour, linestyle=style, linewidth=1.5, label=name)
    axes.fill_between(at, low, high, step="pre", color=colour, alpha=0.2, linewidth=0)


def _panels(names: Sequence[str]) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(_WIDTH * len(names), _HEIGHT), dpi=150, facecolor=PAPER, layout="constrained")
    panels = list(figure.subplots(1, len(names), squeeze=False)[0])
    for axes, name in zip(panels, names, strict=True):
        axes.set_title(name, size=9, color=INK, loc="left", weight="bold")
    return figure, panels


def _finish(figure: Figure, panels: Sequence[Axes]) -> None:
    for axes in panels:
        axes.tick_params(labelsize=7, colors=QUIET)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=7, frameon=False)
