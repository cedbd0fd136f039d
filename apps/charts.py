"""Small pictures of scores as SVG text: histograms, the keep-rate curve, and counts against the truth.

Colours come from the style sheet, so that a picture follows light and dark.
"""

from collections.abc import Mapping, Sequence
from html import escape

from apps.answers import Tally

_WIDE, _TALL = 300, 46  # of a histogram, in units of its view box
_PLOT = (44, 10, 296, 124)  # left, top, right, bottom of the curve's plot
LEGEND = (
    '<span class="legend"><svg viewBox="0 0 22 10" aria-hidden="true"><line class="curve" x2="22" y1="5" y2="5"/></svg>web'
    '<svg viewBox="0 0 22 10" aria-hidden="true"><line class="curve synthetic" x2="22" y1="5" y2="5"/></svg>synthetic</span>'
)
"""Which line of the keep-rate curve is whose."""

_TRUTHS = {"true": "true", "false": "false", "uninformative": "says little"}


def histogram(counts: Sequence[int], threshold: float, origin: str) -> str:
    """Captions by score over [0, 1], high bars for many; filtered ones left of the threshold."""
    top, width = max([1, *counts]), _WIDE / len(counts)
    at = threshold * _WIDE
    bars = ""
    for number, count in enumerate(counts):
        tall = (_TALL - 4) * count / top
        left, right = number * width, (number + 1) * width - 1
        for side, start, stop in (("filtered", left, min(right, at)), ("kept", max(left, at), right)):
            if stop > start and count:
                bars += _bar(side, start, _TALL - max(1, tall), stop - start, max(1, tall))
    label = f"Histogram of the {origin} match probabilities, threshold at {threshold:.2f}"
    line = f'<line class="limit" x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="{_TALL}"/>'
    base = f'<line class="base" x1="0" x2="{_WIDE}" y1="{_TALL}" y2="{_TALL}"/>'
    box = f'viewBox="0 0 {_WIDE} {_TALL + 1}" preserveAspectRatio="none"'
    return f'<svg class="histogram" role="img" aria-label="{label}" {box}>{bars}{base}{line}</svg>'


def keep_curve(
    curves: Mapping[str, Sequence[float]], points: Mapping[str, tuple[float, float | None]]
) -> str:
    """Share of captions kept at every threshold; a dot where each origin's (threshold, share) is now."""
    left, _, right, bottom = _PLOT
    drawn = "".join(
        f'<line class="grid" x1="{left}" x2="{right}" y1="{_y(share)}" y2="{_y(share)}"/>'
        f'<text x="{left - 6}" y="{_y(share) + 3.5}" text-anchor="end">{share:.0%}</text>'
        for share in (0, 0.5, 1)
    )
    drawn += "".join(
        f'<text x="{_x(value)}" y="{bottom + 15}" text-anchor="middle">{value:g}</text>' for value in (0, 0.5, 1)
    )
    for origin, shares in curves.items():
        path = " ".join(f"{_x(k / (len(shares) - 1))},{_y(share)}" for k, share in enumerate(shares))
        drawn += f'<polyline class="curve {origin}" points="{path}"/>' if shares else ""
    for origin, (threshold, share) in points.items():
        if share is not None:
            drawn += f'<circle class="point {origin}" cx="{_x(threshold)}" cy="{_y(share)}" r="5"/>'
    label = "Keep rate by threshold: " + ", ".join(
        f"{origin} {share:.0%} at {threshold:.2f}" for origin, (threshold, share) in points.items() if share is not None
    )
    box = f'viewBox="0 0 304 {bottom + 20}"'
    return f'<svg class="curves" role="img" aria-label="{label}" {box}>{drawn}</svg>'


def split(tally: Tally) -> str:
    """Kept and filtered counts with their words, over a bar in these proportions; an empty one where there are none."""
    total = tally.kept + tally.filtered
    bar = f'<div class="bar"><i style="width:{100 * tally.kept / total:.2f}%"></i></div>' if total else '<div class="bar none"></div>'
    return (
        f'<div class="split">{bar}'
        f'<span class="kept">{icon(True)}<b>{tally.kept:,}</b> kept</span>'
        f'<span class="filtered">{icon(False)}<b>{tally.filtered:,}</b> filtered</span></div>'
    )


def truth_table(tallies: Mapping[str, Tally]) -> str:
    """For each origin: kept and filtered by truth, then how good that is."""
    return "".join(_truth_of(origin, tally) for origin, tally in tallies.items())


def icon(kept: bool) -> str:
    """A tick or a cross, beside the word that says the same."""
    path = "M3 8.5l3.2 3.2L13 4.8" if kept else "M4 4l8 8M12 4l-8 8"
    return f'<svg class="icon" viewBox="0 0 16 16" aria-hidden="true"><path d="{path}"/></svg>'


def _truth_of(origin: str, tally: Tally) -> str:
    lines = ""
    for truth, word in _TRUTHS.items():
        kept, filtered = tally.kept_by_truth.get(truth, 0), tally.filtered_by_truth.get(truth, 0)
        right, wrong = ("", " wrong") if truth == "true" else (" wrong", "")
        lines += (
            f'<tr><th scope="row">{word}</th><td class="n{right}">{kept:,}</td><td class="n{wrong}">{filtered:,}</td></tr>'
        )
    rates = tally.rates
    values = (
        ("precision", rates["precision"], "share of the kept ones that is true"),
        ("recall", rates["recall"], "share of the true ones that is kept"),
        ("false share", tally.false_share, "share of the kept ones that is false"),
    )
    said = "".join(
        f'<div title="{title}"><dt>{name}</dt><dd>{percent(value)}</dd></div>' for name, value, title in values
    )
    head = f'<tr><th scope="col">{escape(origin)}</th><th scope="col">kept</th><th scope="col">filtered</th></tr>'
    return f'<table class="truth"><thead>{head}</thead><tbody>{lines}</tbody></table><dl class="rates">{said}</dl>'


def percent(value: float | None) -> str:
    """A share as text, a dash where there is none."""
    return "–" if value is None else f"{100 * value:.1f}%"


def _bar(side: str, x: float, y: float, width: float, height: float) -> str:
    return f'<rect class="{side}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'


def _x(value: float) -> float:
    left, _, right, _ = _PLOT
    return round(left + value * (right - left), 1)


def _y(share: float) -> float:
    _, top, _, bottom = _PLOT
    return round(bottom - share * (bottom - top), 1)
