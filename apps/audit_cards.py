"""The blind audit as HTML: a caption without anything that could lead, and what the answers say of the filter."""

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from apps.blind import Draw, Question
from apps.cards import thumbnail
from apps.pictures import Picture
from apps.reviews import clock
from lab.commands.ledger_audit import interval

_PLOT = (38, 10, 314, 150)  # left, top, right, bottom in units of the view box
_LEGEND = (
    '<span class="legend"><svg viewBox="0 0 22 10" aria-hidden="true"><line class="curve" x2="22" y1="5" y2="5"/></svg>precision'
    '<svg viewBox="0 0 22 10" aria-hidden="true"><line class="curve synthetic" x2="22" y1="5" y2="5"/></svg>recall</span>'
)


def question(which: Draw, asked: Question, picture: Picture) -> str:
    """Picture and text alone, and the last answer. What the page sends back names the draw, too."""
    word = asked.word
    said = '<p class="word open">Does this caption match the picture?</p>'
    if word and word.word:
        again = f"; <b>{escape(word.undone_by)}</b> took a later answer back" if word.undone_by else ""
        said = f'<p class="word"><span><b>{escape(word.reviewer)}</b> said {escape(word.word)}{again}, {clock(word)}</span></p>'
    draw = " ".join(map(repr, (which.web, which.synthetic, which.size, which.seed)))
    data = f'data-row="{escape(asked.row_id)}" data-version="{asked.version}" data-number="{asked.number}" data-draw="{draw}"'
    return (
        f'<article class="focus blind" {data}><figure>{thumbnail("to judge", picture)}</figure>'
        f'<div class="captions"><p class="text" dir="auto">{escape(asked.text) or "<i>(empty)</i>"}</p>{said}</div></article>'
    )


def progress(asked: Question, captions: int, answers: Counter[str]) -> str:
    """Which caption of how many, and how many have an answer."""
    done = captions - answers[""]
    said = ", ".join(f"{answers[word]:,} {word}" for word in ("yes", "no", "unsure"))
    return (
        f'<p role="status"><b>{asked.number + 1:,}</b> of <b>{captions:,}</b> captions drawn'
        f'<span class="quiet">{done:,} answered: {said}</span></p>'
    )


def result(found: Mapping[str, Any], which: Draw) -> str:
    """The estimates of an audit: shares with intervals by origin, and precision and recall at every threshold."""
    limits = {"web": which.web, "synthetic": which.synthetic}
    groups = {name: own["unsure_as_no"] for name, own in found["groups"].items()}
    charts = "".join(
        f'<figure class="chart"><h4>{name}</h4>{_curve(name, groups[name]["curve"], limits[name])}</figure>'
        for name in limits
        if name in groups
    )
    left = f" {found['unanswered']:,} captions have no answer yet and are left out." if found["unanswered"] else ""
    return (
        f"<h3>What the answers say of the whole ledger{_LEGEND}</h3>{_table(groups)}"
        f'<div class="charts">{charts}</div><p class="quiet">95% intervals; unsure counts as no; verdicts of '
        f"{escape(found['policy'])}.{left}</p>"
    )


def _table(groups: Mapping[str, Mapping[str, Any]]) -> str:
    lines = ""
    for name, own in groups.items():
        shares = (own["matching"], own["policy"]["precision"], own["policy"]["recall"])
        best = own["suggested"]
        suggested = f'<td title="{escape(best["rule"])}">{best["threshold"]:g}</td>' if best else "<td>–</td>"
        cells = "".join(_cell(share) for share in shares)
        lines += f'<tr><th scope="row">{name}</th>{cells}{suggested}</tr>'
    head = "".join(f'<th scope="col">{word}</th>' for word in ("%", "match", "precision", "recall", "suggested threshold"))
    return f'<table class="truth estimates"><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>'


def _cell(share: Mapping[str, float | None]) -> str:
    value, _, between = interval(share).partition(" ")
    return f"<td>{value} <small>{between}</small></td>" if between else "<td>–</td>"


def _curve(name: str, curve: Sequence[Mapping[str, Any]], limit: float) -> str:
    left, top, right, bottom = _PLOT
    drawn = "".join(
        f'<line class="grid" x1="{left}" x2="{right}" y1="{_y(share)}" y2="{_y(share)}"/>'
        f'<text x="{left - 6}" y="{_y(share) + 4}" text-anchor="end">{share:.0%}</text>'
        for share in (0, 0.5, 1)
    )
    drawn += "".join(f'<text x="{_x(at)}" y="{bottom + 16}" text-anchor="middle">{at:g}</text>' for at in (0, 0.5, 1))
    for part, style in (("precision", ""), ("recall", " synthetic")):
        rows = [row for row in curve if row[part]["value"] is not None]
        drawn += f'<polygon class="band" points="{_band(rows, part)}"/>' if rows else ""
        drawn += f'<polyline class="curve{style}" points="{_steps(rows, part, "value")}"/>' if rows else ""
    drawn += f'<line class="limit" x1="{_x(limit)}" x2="{_x(limit)}" y1="{top}" y2="{bottom}"/>'
    label = f"Precision and recall of {name} captions by threshold, threshold at {limit:.2f}"
    return f'<svg class="curves" role="img" aria-label="{label}" viewBox="0 0 {right + 8} {bottom + 22}">{drawn}</svg>'


def _steps(rows: Sequence[Mapping[str, Any]], part: str, end: str) -> str:
    """A share holds from the sampled score below a threshold up to that threshold."""
    points, before = [], 0.0
    for row in rows:
        at = min(max(row["threshold"], 0), 1)
        points += [f"{_x(before)},{_y(row[part][end])}", f"{_x(at)},{_y(row[part][end])}"]
        before = at
    return " ".join(points)


def _band(rows: Sequence[Mapping[str, Any]], part: str) -> str:
    back = " ".join(reversed(_steps(rows, part, "low").split()))
    return f"{_steps(rows, part, 'high')} {back}"


def _x(value: float) -> float:
    left, _, right, _ = _PLOT
    return round(left + value * (right - left), 1)


def _y(share: float) -> float:
    _, top, _, bottom = _PLOT
    return round(bottom - share * (bottom - top), 1)
