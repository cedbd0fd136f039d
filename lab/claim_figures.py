"""Pictures of claims: effects with intervals beside the paper's, arms seed by seed, and the threshold sweep."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lab.claim import R1, value_at
from lab.claims_report import Decided
from lab.figures import FILTERED, INK, KEPT, PAPER, QUIET
from lab.stats import EQUIVALENT, OPPOSITE, REPRODUCED, UNDECIDED

_COLOURS = {REPRODUCED: KEPT, OPPOSITE: FILTERED, EQUIVALENT: INK, UNDECIDED: QUIET}
_MARKS = {REPRODUCED: "o", OPPOSITE: "X", EQUIVALENT: "D", UNDECIDED: "o"}
_WIDTH = 7.2  # inches


def effects(found: Sequence[Decided]) -> Figure:
    """A line a claim: effect and 95% interval in points, its margin as a band, the verdict in word, colour and mark.

    A hollow triangle is the paper's own effect, the mean of its COCO TR@1 and IR@1.
    """
    height = 0.9 + 0.34 * len(found)
    figure = Figure(figsize=(_WIDTH, height), dpi=150, facecolor=PAPER, layout="constrained")
    axes = figure.add_subplot()
    for at, one in enumerate(found):
        _effect(axes, at, one)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(found)), [f"{one.claim.id} ({one.scale})" for one in found], size=7)
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_xlabel("effect in points, the claim is to the right", size=8, color=INK)
    _finish(axes)
    return figure


def arms(record: Mapping[str, Any]) -> Figure:
    """Each arm's R@1 by seed, lines joining equal seeds, and the mean; arms that were not measured so are left out."""
    own = record["result"]["arms"]
    names = [name for name, arm in own.items() if any("worth" in one for one in arm["seeds"].values())]
    figure = Figure(figsize=(max(3.6, 0.9 * len(names)), 3.2), dpi=150, facecolor=PAPER, layout="constrained")
    axes = figure.add_subplot()
    values = {name: {seed: value_at(one, R1) for seed, one in own[name]["seeds"].items()} for name in names}
    for seed in sorted({seed for one in values.values() for seed in one}):
        at = [n for n, name in enumerate(names) if seed in values[name]]
        axes.plot(at, [values[names[n]][seed] for n in at], color=QUIET, linewidth=0.6, marker="o", markersize=3)
    for at, name in enumerate(names):
        axes.plot([at - 0.25, at + 0.25], [np.mean(list(values[name].values()))] * 2, color=KEPT, linewidth=2)
    axes.set_xticks(range(len(names)), names, size=7, rotation=25, ha="right")
    axes.set_ylabel("mean of TR@1 and IR@1", size=8, color=INK)
    _finish(axes)
    return figure


def sweep(found: Mapping[str, Any]) -> Figure:
    """What a threshold keeps of each kind of text, and precision against recall, from a threshold sweep."""
    figure = Figure(figsize=(_WIDTH, 3.0), dpi=150, facecolor=PAPER, layout="constrained")
    left, right = figure.subplots(1, 2)
    for style, (name, kept) in zip(_styles(), found["kept"].items(), strict=False):
        if None not in kept:
            left.plot(found["thresholds"], kept, linewidth=1.2, label=name.replace("_", " "), **style)
    left.set_xlabel("threshold of the match probability", size=8, color=INK)
    left.set_ylabel("share kept", size=8, color=INK)
    for (origin, recall), colour in zip(found["recall"].items(), (KEPT, FILTERED), strict=True):
        points = [pair for pair in zip(recall, found["precision"][origin], strict=True) if None not in pair]
        right.plot(*zip(*points, strict=True), color=colour, linewidth=1.2, marker=".", label=origin)
    right.set_xlabel("share of the true captions kept", size=8, color=INK)
    right.set_ylabel("true share of what is kept", size=8, color=INK)
    for axes in (left, right):
        axes.legend(fontsize=6, frameon=False)
        _finish(axes)
    return figure


def _effect(axes: Axes, at: int, one: Decided) -> None:
    row, said = one.row, one.row["verdict"]
    colour, effect = _COLOURS[said], 100 * row["effect"]
    axes.barh(at, 200 * row["margin"], left=-100 * row["margin"], height=0.8, color="#EEF1F4")
    if None not in row["interval"]:
        low, high = (100 * bound for bound in row["interval"])
        axes.plot([low, high], [at, at], color=colour, linewidth=1.6, solid_capstyle="butt")
    axes.plot(effect, at, _MARKS[said], color=colour, markersize=5)
    if one.claim.published is not None:
        axes.plot(sum(one.claim.published[:2]) / 2, at, "v", color=INK, markerfacecolor="none", markersize=5)
    axes.annotate(said, (1.01, at), xycoords=("axes fraction", "data"), size=7, color=colour, va="center")


def _styles() -> list[dict[str, str]]:
    return [{"color": colour, "linestyle": line} for line in ("-", "--", ":") for colour in (KEPT, FILTERED, INK)]


def _finish(axes: Axes) -> None:
    axes.tick_params(labelsize=7, colors=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
