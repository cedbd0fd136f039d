"""Pictures of a threshold sweep: what a threshold keeps and of what truth, ROC by noise kind, calibration.

A sweep is what `lab.ablation.ledger_arms.swept` found of one ledger; with several seeds there are several.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lab.claim_figures_parts import COLOURS, LINES, MARKS, dress, legend, page
from lab.claim_records import Measured
from lab.figures import INK, QUIET
from lab.world.noise import CLEAN, KINDS

ORIGINS = {"web": "web captions", "synthetic": "synthetic captions"}
Curve = list[float | None]


def sweeps(shown: Measured) -> list[Mapping[str, Any]]:
    """The sweeps of all seeds."""
    return [one["sweep"] for own in shown.arms.values() for one in own.values()]


def at_threshold(shown: Measured, title: str, threshold: float) -> Figure:
    """Keep rate against precision of web and of synthetic captions, at every threshold; large marks at this one.

    A thin line a seed, the mark at the seeds' mean. What keeps nothing has no precision, and no place here.
    """
    figure, panels = page(title, [shown], (8.4, 3.4), 2, sharey=True)
    found = sweeps(shown)
    place = int(np.argmin([abs(one - threshold) for one in found[0]["thresholds"]]))
    for at, (axes, (origin, name)) in enumerate(zip(panels, ORIGINS.items(), strict=True)):
        dress(axes, "kept, of all captions (%)", "" if at else "true, of the kept ones (%)", name)
        for one in found:
            x, y = _points(one["kept"][origin], one["precision"][origin])
            axes.plot(x, y, color=COLOURS[at], linewidth=1.2, marker=".", markersize=4, alpha=0.7)
        here = [_points([one["kept"][origin][place]], [one["precision"][origin][place]]) for one in found]
        _mark(axes, [point for point in here if len(point[0])], found[0]["thresholds"][place], COLOURS[at])
        axes.set(xlim=(-2, 102), ylim=(-2, 104))
    return figure


def curves(shown: Measured, title: str) -> Figure:
    """Left: what share of each kind of noise a threshold lets pass, against the share of clean texts it keeps.

    Right: is the match probability calibrated? The true share of the captions in each of ten bins. Means over seeds;
    a line on the diagonal would say that probabilities are what they claim. Texts of a noise kind that happen to be
    true are left out on the left side.
    """
    figure, (left, right) = page(title, [shown], (10.2, 3.7), 2)
    found = sweeps(shown)
    dress(left, "let pass, of a noise kind (%)", "kept, of clean texts (%)", "ROC by noise kind")
    for at, kind in enumerate(KINDS):
        _roc(left, at, kind, found)
    dress(right, "match probability (mean of a bin, %)", "true captions (%)", "Calibration")
    for at, (origin, name) in enumerate(ORIGINS.items()):
        _calibration(right, at, name, [one["calibration"][origin] for one in found])
    for axes in (left, right):
        axes.plot([0, 100], [0, 100], color=QUIET, linewidth=0.9, linestyle=":", zorder=0)
        axes.set(xlim=(-2, 102), ylim=(-2, 102))
        legend(axes, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _roc(axes: Axes, at: int, kind: str, found: Sequence[Mapping[str, Any]]) -> None:
    known = [one for one in found if None not in one["kept"][kind] and None not in one["kept"][CLEAN]]
    if not known:
        return
    x, y = (100 * np.mean([one["kept"][name] for one in known], axis=0) for name in (kind, CLEAN))
    auc = np.mean([one["auc"][kind] for one in known])
    colour, line = COLOURS[at % len(COLOURS)], LINES[at % len(LINES)]
    axes.plot(x, y, color=colour, linestyle=line, linewidth=1.7, label=f"{kind.replace('_', ' ')}, AUC {auc:.3f}")


def _calibration(axes: Axes, at: int, name: str, found: Sequence[Sequence[Sequence[float | None]]]) -> None:
    """Bins [mean probability, true share, captions] of each seed, put together by their captions."""
    points = []
    for bins in zip(*found, strict=True):
        known = [one for one in bins if one[2]]
        if known:
            weights = [one[2] for one in known]
            points.append([np.average([100 * one[i] for one in known], weights=weights) for i in (0, 1)])
    if points:
        look: dict[str, Any] = {"color": COLOURS[at], "marker": MARKS[at], "linestyle": LINES[at]}
        axes.plot(*zip(*points, strict=True), linewidth=1.5, markersize=5, label=name, **look)


def _mark(axes: Axes, here: Sequence[tuple[np.ndarray, np.ndarray]], threshold: float, colour: str) -> None:
    if not here:
        said = f"a threshold of {threshold:g} keeps nothing"
        axes.text(0.5, 0.06, said, ha="center", size=8.5, color=QUIET, transform=axes.transAxes)
        return
    x, y = (float(np.mean([point[i] for point in here])) for i in (0, 1))
    axes.plot([x], [y], "o", color=colour, markersize=9, markeredgecolor=INK, zorder=3)
    said = f"threshold {threshold:g}: {x:.1f}% kept, {y:.1f}% of it true"
    axes.text(0.03, 0.06, said, size=8.5, color=INK, transform=axes.transAxes)


def _points(kept: Curve, precision: Curve) -> tuple[np.ndarray, np.ndarray]:
    pairs = [(100 * k, 100 * p) for k, p in zip(kept, precision, strict=True) if k is not None and p is not None]
    x, y = np.array(pairs).reshape(-1, 2).T
    return x, y
