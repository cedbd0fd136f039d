"""A picture of secondary outcomes: the effects of claims in every measure of their students."""

import math
import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from lab.claim import Claim
from lab.claim_figures_parts import BAND, dress, not_measured, page
from lab.claim_records import Measured
from lab.figures import FILTERED, INK, KEPT, QUIET
from lab.outcomes import OUTCOMES, Outcome, leaves_out_0
from lab.secondary import secondary
from lab.stats import Effect

_WIDTH, _ROW = 12.6, 0.5  # inches: the figure, a claim
_WRAP = 34  # characters of a claim's line and of an outcome's name


def outcomes(shown: Sequence[Measured], title: str) -> Figure:
    """A line a claim and a panel an outcome: effect and 95% interval over seeds, coloured where it leaves out 0.

    The first panel, on a band, is what decides; the others were not stated before and give no verdict.
    """
    rows = [row for one in shown for row in secondary(one)]
    columns = len(OUTCOMES) if rows else 1
    figure, panels = page(title, shown, (_WIDTH, 1.15 + _ROW * max(1, len(rows))), columns, sharey=True)
    if not rows:
        not_measured(panels[0])
        return figure
    panels[0].set_facecolor(BAND)
    for at, (axes, outcome) in enumerate(zip(panels, OUTCOMES, strict=True)):
        _panel(axes, outcome, [(claim, effects[at]) for claim, effects in rows])
    says = [textwrap.fill(claim.says, _WRAP) for claim, _ in rows]
    panels[0].set_yticks(range(len(rows)), says, size=7.5, linespacing=1.05)
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    return figure


def _panel(axes: Axes, outcome: Outcome, rows: Sequence[tuple[Claim, Effect | None]]) -> None:
    dress(axes, textwrap.fill(f"{outcome.name}, {outcome.unit.strip() or 'points'}", 20))
    axes.grid(axis="y", visible=False)
    axes.axvline(0, color=INK, linewidth=0.8)
    for at, (_, effect) in enumerate(rows):
        if effect is None:
            axes.annotate("-", (0.5, at), xycoords=("axes fraction", "data"), color=QUIET, ha="center", va="center")
            continue
        mean, low, high = (outcome.factor * one for one in (effect.interval.mean, effect.interval.low, effect.interval.high))
        colour = (KEPT if mean > 0 else FILTERED) if leaves_out_0(effect) else QUIET
        if math.isfinite(low):
            axes.plot([low, high], [at, at], color=colour, linewidth=1.6, solid_capstyle="butt")
        axes.plot(mean, at, "o", color=colour, markersize=5)
        said = axes.annotate(f"{mean:+.1f}", (mean, at), xytext=(0, 6), textcoords="offset points", ha="center", size=7, color=colour)
        said.set_path_effects([withStroke(linewidth=2.5, foreground=axes.get_facecolor())])  # read above the line at 0
    axes.margins(x=0.15)
    axes.locator_params(axis="x", nbins=4)  # of a narrow panel: more would touch
