"""The picture of `lab bench growth`: every sweep with its measured points, its fit, and what operations foretell."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lab.bench.growth_fit import Fit
from lab.figures import FILTERED, INK, KEPT, PAPER, QUIET

_GRID = "#D0D7DE"
_AXES = {
    "batch": "pairs a step",
    "image_tokens": "image tokens",
    "text": "tokens of a text",
    "queue": "keys of a queue",
    "images": "images",
    "candidates": "captions an image",
    "workers": "processes",
    "tile": "images of a tile",
}


def figure(result: Mapping[str, Any]) -> Figure:
    """Seconds and activation memory of a step in two rows, CapFilt in the third; every axis begins at 0."""
    drawn = Figure(figsize=(11, 7.2), dpi=128, facecolor=PAPER, layout="constrained")
    panels = drawn.subplots(3, 4)
    for column, sweep in enumerate(result["steps"].values()):
        _fitted(panels[0][column], sweep, "seconds", "seconds a step" if not column else "")
        x = [point[sweep["fits"]["seconds"]["of"]] for point in sweep["points"]]
        panels[0][column].plot(x, sweep["seconds_by_operations"], color=FILTERED, linewidth=1, linestyle="--")
        _fitted(panels[1][column], sweep, "activation_mib", "activations, MiB" if not column else "")
    found = result["capfilt"]
    _fitted(panels[2][0], found["images"], "seconds", "seconds of CapFilt")
    _fitted(panels[2][1], found["captions an image"], "seconds", "")
    for column, axis in ((2, "workers"), (3, "tile")):
        points = found[axis]["points"]
        _points(panels[2][column], points, axis, [point["images_per_second"] for point in points])
        panels[2][column].set_ylabel("images a second", color=QUIET, size=8)
    title = f"Size {result['size']} on {result['device']}. Dots: medians; line: fit; dashed: by operations, from the middle point."
    drawn.suptitle(title, size=9, color=INK, x=0.01, ha="left")
    return drawn


def _fitted(axes: Axes, sweep: Mapping[str, Any], cost: str, label: str) -> None:
    fit = dict(sweep["fits"][cost])
    axis, points = fit.pop("of"), sweep["points"]
    values = [point[cost]["median"] if isinstance(point[cost], dict) else point[cost] for point in points]
    _points(axes, points, axis, values)
    line = Fit(tuple(fit["powers"]), tuple(fit["terms"]), fit["residual"])
    xs = np.linspace(0, max(point[axis] for point in points), 64)
    axes.plot(xs, [line.at(float(x)) for x in xs], color=KEPT, linewidth=1.3)
    axes.set_ylabel(label, color=QUIET, size=8)


def _points(axes: Axes, points: Sequence[Mapping[str, Any]], axis: str, values: Sequence[float]) -> None:
    axes.scatter([point[axis] for point in points], values, color=INK, s=16, zorder=3)
    axes.set_xlabel(_AXES[axis], color=QUIET, size=8)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylim(0, 1.15 * max(values))
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=0, labelsize=7.5, labelcolor=INK)
    axes.grid(axis="y", color=_GRID, linewidth=0.6)
