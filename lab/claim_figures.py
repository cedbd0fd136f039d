"""Pictures of claims: effects with intervals beside the paper's, arms seed by seed, and the threshold sweep."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from lab.arm_metrics import chosen, told_by, without
from lab.claim import Claim, OfTheRest
from lab.claim_answers import gained, value
from lab.claim_figures_parts import BAND, LOOKS, R1, Metric, dress, head, legend, not_measured, page, told_of
from lab.claim_records import Measured, counted
from lab.claims import CLAIMS
from lab.decided import Decided
from lab.figures import FILTERED, INK, KEPT, PAPER, QUIET
from lab.stats import UNDECIDED

_WIDTH, _ROW, _PANEL = 9.4, 0.42, 0.62  # inches: a page, a claim, what a panel of claims takes besides
_WRAP = 48  # characters of a claim's line
_BESIDE: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "va": "center", "linespacing": 1.1, "size": 7.5, "annotation_clip": False}
Row = tuple[Claim, Decided | None]
"""A claim with what decides it, if it is measured."""
Values = Mapping[str, Mapping[str, float]]
"""A metric by arm and seed."""


def effects(found: Sequence[Decided]) -> Figure:
    """A line a claim: effect and 95% interval over seeds, its margin as a band, the verdict in word, colour and mark.

    A hollow triangle is the paper's own effect, the mean of its COCO TR@1 and IR@1. Claims of one metric share an
    axis.
    """
    return _forests([(one.claim, one) for one in found])


def claims(shown: Sequence[Measured], title: str, only: Sequence[str] = ()) -> Figure:
    """The effects of all claims of some ablations, or of these claims only; what is not measured yet says so.

    A smoke run says nothing: beside others, what it found is not measured.
    """
    said = [one for one in shown if not one.is_smoke] or shown
    found = {one.claim.id: one for measured in said for one in measured.decided}
    names = {one.name for one in shown}
    wanted = [one for one in CLAIMS if one.ablation in names and (not only or one.id in only)]
    figure = _forests([(one, found.get(one.id)) for one in wanted])
    head(figure, title, said)
    return figure


def arms(shown: Measured, title: str, metrics: Sequence[Metric] = (R1,), among: Sequence[str] = ()) -> Figure:
    """A panel a metric: each arm's value by seed (dots, joined where the seed is equal), and its mean over the seeds
    that all arms share and that claims count; the dots of other seeds are hollow.

    among: only these arms; by default all. Arms that have no such metric have an empty line. One that a claim sets
    against others by another metric is drawn by that, and its label says so.
    """
    names = list(among or shown.arms)
    others = {metric: told_by(shown.claims, metric.path) for metric in metrics}
    size = (_WIDTH, 1.15 + 0.4 * len(names))
    figure, panels = page(title, [shown], size, len(metrics), sharey=True)
    each = [_values(shown, names, metric, others[metric]) for metric in metrics]
    for axes, metric, values in zip(panels, metrics, each, strict=True):
        dress(axes, metric.name)
        _dots(axes, names, values, counted(shown, values), metric)
        for at, name in enumerate(names):
            if name not in values:
                said = "-" if shown.arms[name] else "not measured yet"
                axes.annotate(said, (0.5, at), xycoords=("axes fraction", "data"), size=7.5, color=QUIET, style="italic", ha="center", va="center")
    named = {arm: f"{arm}\n({told_of(path)})" for other in others.values() for arm, path in other.items()}
    panels[0].set_yticks(range(len(names)), [named.get(name, name) for name in names])
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    if hollow := _hollow(shown, each):
        figure.supxlabel(f"hollow: {hollow}; not in the mean", size=7, color=QUIET)
    return figure


def sweep(found: Mapping[str, Any]) -> Figure:
    """What a threshold keeps of each kind of text, and precision against recall, from a threshold sweep."""
    figure = Figure(figsize=(7.2, 3.0), dpi=150, facecolor=PAPER, layout="constrained")
    left, right = figure.subplots(1, 2)
    dress(left, "threshold of the match probability", "share kept")
    dress(right, "share of the true captions kept", "true share of what is kept")
    for style, (name, kept) in zip(_styles(), found["kept"].items(), strict=False):
        if None not in kept:
            left.plot(found["thresholds"], kept, linewidth=1.2, label=name.replace("_", " "), **style)
    for (origin, recall), colour in zip(found["recall"].items(), (KEPT, FILTERED), strict=True):
        points = [pair for pair in zip(recall, found["precision"][origin], strict=True) if None not in pair]
        right.plot(*zip(*points, strict=True), color=colour, linewidth=1.2, marker=".", label=origin)
    for axes in (left, right):
        legend(axes)
    return figure


def _forests(rows: Sequence[Row]) -> Figure:
    groups: dict[str, list[Row]] = {}
    for claim, one in rows:
        groups.setdefault(_axis(claim), []).append((claim, one))
    heights = [_PANEL + _ROW * len(own) for own in groups.values()] or [1.0]
    layout = ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.06)
    figure = Figure(figsize=(_WIDTH, sum(heights) + 0.5), dpi=128, facecolor=PAPER, layout=layout)
    panels = figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    if not groups:
        not_measured(panels[0])
    for axes, (name, own) in zip(panels, groups.items(), strict=False):
        _forest(axes, name, own)
    return figure


def _axis(claim: Claim) -> str:
    """The name of the axis that a claim's effect stands on."""
    if not claim.in_points:
        return "correlation, the claim is to the right"
    if claim.in_recalls:
        return "effect in points of R@1 (mean of TR@1 and IR@1), the claim is to the right"
    if isinstance(claim.value, OfTheRest):
        return "effect in points of what the controls leave of R@1, the claim is to the right"
    metric = " and ".join(dict.fromkeys(told_of(path) for path in claim.value.metrics))
    return f"difference in {metric}, in points; the claim is to the right"


def _forest(axes: Axes, name: str, rows: Sequence[Row]) -> None:
    dress(axes, name)
    axes.grid(axis="y", visible=False)
    for at, (claim, one) in enumerate(rows):
        factor = 100 if claim.in_points else 1
        axes.barh(at, 2 * factor * claim.margin, left=-factor * claim.margin, height=1, color=BAND)
        if (published := gained(claim)) is not None:
            axes.plot(published, at, "v", color=INK, markerfacecolor="none", markersize=5)
        if one is not None:
            _effect(axes, at, one, factor)
        else:
            axes.annotate("not measured yet", (1.015, at), color=QUIET, style="italic", **_BESIDE)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.margins(x=0.06)
    axes.set_yticks(range(len(rows)), [textwrap.fill(claim.says, _WRAP) for claim, _ in rows], size=7.5, linespacing=1.05)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    keys = [Line2D([], [], linewidth=6, color=BAND, label="too small to count")]
    if any(claim.published is not None for claim, _ in rows):
        keys.append(Line2D([], [], linestyle="", marker="v", markerfacecolor="none", color=INK, markersize=5, label="the paper"))
    axes.legend(handles=keys, fontsize=7, frameon=False, labelcolor=INK, ncols=2, loc="lower right", bbox_to_anchor=(1, 1), borderpad=0)


def _effect(axes: Axes, at: int, one: Decided, factor: float) -> None:
    row, said = one.row, one.row["verdict"]
    (colour, mark), effect = LOOKS[said], factor * row["effect"]
    if None not in row["interval"]:
        low, high = (factor * bound for bound in row["interval"])
        axes.plot([low, high], [at, at], color=colour, linewidth=1.8, solid_capstyle="butt")
    inside = PAPER if said == UNDECIDED else colour
    axes.plot(effect, at, mark, color=colour, markersize=6, markerfacecolor=inside)
    seeds = f"{row['seeds']} of {row['fewest_seeds']}" if row["seeds"] < row["fewest_seeds"] else str(row["seeds"])
    told = f"{value(one.claim, row['effect'], unit=False)}  {one.short}\n{seeds} seeds, {one.where}"
    axes.annotate(told, (1.015, at), color=colour, **_BESIDE)


def _values(shown: Measured, names: Sequence[str], metric: Metric, others: Mapping[str, str]) -> Values:
    """A metric by arm and seed; of some arms another one, by its path."""
    found = shown.of(metric.path)
    found |= {arm: own for arm, path in others.items() if (own := shown.of(path).get(arm))}
    return {name: own for name, own in found.items() if name in names}


def _hollow(shown: Measured, each: Sequence[Values]) -> str:
    """Which dots are hollow, in words; "" where none is."""
    left_out = {
        seed for values in each for arm, own in values.items() for seed in without(own, counted(shown, values).get(arm, {}))
    }
    chose = {seed: what for seed, what in chosen(shown.claims).items() if seed in left_out}
    seeds = f"the {'seed' if len(chose) == 1 else 'seeds'} that chose {' and '.join(dict.fromkeys(chose.values()))}"
    more = "a seed that not every arm has"
    return " or ".join([*([seeds] if chose else []), *([more] if left_out - set(chose) else [])])


def _dots(axes: Axes, names: Sequence[str], values: Values, shared: Values, metric: Metric) -> None:
    for seed in sorted({seed for own in values.values() for seed in own}, key=int):
        rows = [n for n, name in enumerate(names) if seed in values.get(name, {})]
        found = [metric.factor * values[names[n]][seed] for n in rows]
        axes.plot(found, rows, color=QUIET, linewidth=0.6, alpha=0.6)
        inside = [QUIET if seed in shared.get(names[n], {}) else PAPER for n in rows]
        axes.scatter(found, rows, s=11, facecolors=inside, edgecolors=QUIET, linewidths=0.7, zorder=3)
    for at, name in enumerate(names):
        if name in shared:
            mean = float(np.mean(list(shared[name].values())))
            axes.plot([metric.factor * mean] * 2, [at - 0.28, at + 0.28], color=KEPT, linewidth=2.4, solid_capstyle="butt")
            axes.annotate(metric.told(mean), (metric.factor * mean, at), xytext=(5, 5), textcoords="offset points", size=7.5, color=KEPT)
    axes.margins(x=0.18)
    axes.locator_params(axis="x", nbins=4)  # of a narrow panel: more would touch


def _styles() -> list[dict[str, Any]]:
    return [{"color": colour, "linestyle": line} for line in ("-", "--", ":") for colour in (KEPT, FILTERED, INK)]
