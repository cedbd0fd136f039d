"""Pictures of arms by numbers: one metric against another, and a metric along what the arms differ by."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lab.claim_figures_parts import COLOURS, LINES, MARKS, Metric, dress, legend, not_measured, page
from lab.claim_records import Measured, counted, paired
from lab.figures import QUIET

Pairs = tuple[Metric, Metric]
"""What stands on the horizontal and on the vertical axis."""


def against(shown: Measured, title: str, pairs: Sequence[Pairs], among: Sequence[str] = ()) -> Figure:
    """A panel a pair of metrics: seeds that claims count as small marks, the mean of each arm over them as a large one.

    among: only these arms; by default all that have both metrics.
    """
    figure, panels = page(title, [shown], (1.2 + 3.5 * len(pairs), 3.3), len(pairs))
    for axes, (x, y) in zip(panels, pairs, strict=True):
        dress(axes, x.name, y.name)
        across, up = (counted(shown, shown.of(one.path)) for one in (x, y))
        names = [name for name in among or across if name in across and name in up]
        for at, name in enumerate(names):
            _cloud(axes, at, name, (across[name], up[name]), (x, y))
        if not names:
            not_measured(axes)
        axes.margins(0.12)
    if panels[-1].get_legend_handles_labels()[0]:
        legend(panels[-1], loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def along(
    shown: Measured, title: str, x: str, groups: Mapping[str, Mapping[float, str]], metrics: Sequence[Metric]
) -> Figure:
    """A panel a metric: a line a group over numbers, with the seeds as small marks; seeds that all arms share.

    groups: by name the arm that stands at each number of the horizontal axis, which is named `x`.
    """
    figure, panels = page(title, [shown], (1.2 + 3.5 * len(metrics), 3.2), len(metrics))
    wanted, seeds = {arm for arms in groups.values() for arm in arms.values()}, set[str]()
    for axes, metric in zip(panels, metrics, strict=True):
        dress(axes, x, metric.name)
        values = paired({arm: own for arm, own in shown.of(metric.path).items() if arm in wanted})
        seeds |= {seed for own in values.values() for seed in own}
        for at, (name, arms) in enumerate(groups.items()):
            _line(axes, at, name, {n: values[arm] for n, arm in arms.items() if arm in values}, metric)
        _ticked(axes, sorted({number for arms in groups.values() for number in arms}))
        if not axes.lines:
            not_measured(axes)
    if len(groups) > 1 and panels[0].lines:  # the first metric is the one that every arm has
        handles, names = panels[0].get_legend_handles_labels()
        legend(panels[-1], handles=handles, labels=names, loc="upper left", bbox_to_anchor=(1, 1))
    if seeds:
        figure.supxlabel(f"means over {_told(sorted(map(int, seeds)))}", size=7, color=QUIET)
    return figure


def _told(seeds: Sequence[int]) -> str:
    whole = list(seeds) == list(range(seeds[0], seeds[-1] + 1))
    if len(seeds) == 1:
        return f"seed {seeds[0]} alone"
    return f"seeds {seeds[0]} to {seeds[-1]}" if whole else f"seeds {', '.join(map(str, seeds))}"


def _ticked(axes: Axes, numbers: Sequence[float]) -> None:
    """A tick for each number, logarithmically where they span more than a decade."""
    if numbers and numbers[0] > 0 and numbers[-1] > 10 * numbers[0]:
        axes.set_xscale("log")
        axes.minorticks_off()
    axes.set_xticks(numbers, [f"{number:g}" for number in numbers])


def _cloud(axes: Axes, at: int, name: str, own: tuple[Mapping[str, float], ...], metrics: Pairs) -> None:
    seeds = [seed for seed in own[0] if seed in own[1]]
    x, y = (np.array([metric.factor * one[seed] for seed in seeds]) for one, metric in zip(own, metrics, strict=True))
    look: dict[str, Any] = {"marker": MARKS[at % len(MARKS)], "color": COLOURS[at % len(COLOURS)], "linestyle": ""}
    axes.plot(x, y, markersize=3.5, alpha=0.45, markeredgewidth=0, **look)
    axes.plot([x.mean()], [y.mean()], markersize=8, label=name, **look)


def _line(axes: Axes, at: int, name: str, values: Mapping[float, Mapping[str, float]], metric: Metric) -> None:
    if not values:
        return
    colour = COLOURS[at % len(COLOURS)]
    means = [metric.factor * float(np.mean(list(own.values()))) for own in values.values()]
    line, mark = LINES[at % len(LINES)], MARKS[at % len(MARKS)]
    axes.plot(list(values), means, color=colour, linewidth=1.8, linestyle=line, marker=mark, markersize=6, label=name)
    points = [(n, metric.factor * value) for n, own in values.items() for value in own.values()]
    axes.plot(*zip(*points, strict=True), mark, color=colour, markersize=3, alpha=0.4)
