"""Claims and training curves as HTML and SVG text; colours come from the style sheet."""

from collections.abc import Mapping, Sequence
from html import escape

from apps.experiments import Curve, Question, Training
from lab.claims_report import at_once, counts, wanted_seeds
from lab.decided import PAPERS_COLUMNS, Decided, published
from lab.outcomes import OUTCOMES, Outcome, leaves_out_0, told
from lab.runs import DONE, RUNNING
from lab.secondary import HOW, Outcomes
from lab.stats import EQUIVALENT, OPPOSITE, REPRODUCED, UNDECIDED, Effect

_WIDE, _TALL = 240, 26  # of a claim's line, in units of its view box
_BOX = (46, 8, 352, 108)  # left, top, right, bottom of a curve's plot
_MARKS = {
    REPRODUCED: '<circle cx="{x}" cy="13" r="5"/>',
    OPPOSITE: '<path d="M{l} 8l10 10M{l} 18l10-10"/>',
    EQUIVALENT: '<path class="solid" d="M{x} 7l6 6-6 6-6-6z"/>',
}
_READ = (
    "Each number is a difference in points, of R@1 where the claim says nothing else, or r, a correlation, counted so that the claim is positive, with its 95% "
    "interval over seeds. The band is the smallest difference that counts; a filled mark is a verdict, a hollow one is undecided. "
    f"Axes are equal within a question. Beside it the paper's own differences: {PAPERS_COLUMNS}."
)
_GROUPS = ("With a number in the paper", "Without one: the field's questions and our own", "Still open")
_UNDECIDED = '<circle class="hollow" cx="{x}" cy="13" r="5"/>'


def claims(questions: Sequence[Question]) -> str:
    """A pane a question: its claims with effect, interval and verdict, then what is not measured yet."""
    return "".join(_question(one) for one in questions)


def summary(questions: Sequence[Question]) -> str:
    """How many claims came out how, those with a number in the paper first, and how many effects remain when all are judged at once."""
    decided = [one for question in questions for one in question.decided]
    unmeasured = sum(len(question.open) for question in questions)
    found = counts(decided)
    groups = zip(_GROUPS, (found[True], found[False], {"not measured": unmeasured}), strict=True)
    tallies = "".join(f'<div><p class="quiet">{escape(name)}</p>{_tally(own)}</div>' for name, own in groups)
    return f'<div class="tallies">{tallies}</div><p class="quiet">{escape(_READ)}</p><p class="quiet">{escape(at_once(decided))}</p>'


def _tally(counts: Mapping[str, int]) -> str:
    said = "".join(f"<div><dt>{escape(name)}</dt><dd>{count}</dd></div>" for name, count in counts.items())
    return f'<dl class="tally">{said}</dl>'


def runs(trainings: Sequence[Training]) -> str:
    """The trainings as a table, or which command makes one."""
    if not trainings:
        return '<div class="empty"><b>No training yet.</b><code>lab ablate table1</code> starts some.</div>'
    head = "".join(f'<th scope="col">{name}</th>' for name in ("run", "state", "step", "samples/s", "seconds"))
    rows = "".join(
        f'<tr><th scope="row">{escape(one.id)}</th><td>{_state(one.state)}</td><td class="n">{one.step:,}</td>'
        f'<td class="n">{one.rate:,.0f}</td><td class="n">{"–" if one.seconds is None else f"{one.seconds:,.0f}"}</td></tr>'
        for one in trainings
    )
    return f'<div class="scroll" tabindex="0" role="region" aria-label="Runs"><table class="runs"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def losses(drawn: Sequence[Curve]) -> str:
    """A small plot a loss part, with its last value in words."""
    if not any(curve.points for curve in drawn):
        return '<div class="empty"><b>Nothing is logged yet.</b></div>'
    return "".join(_loss(curve) for curve in drawn if curve.points)


def _question(question: Question) -> str:
    reach = max((abs(bound) for one in question.decided for bound in _bounds(one)), default=0.0)
    rows = "".join(_claim(one, reach) for one in question.decided)
    waiting = "".join(f'<li class="quiet">{escape(says)}</li>' for says in question.open)
    more = f'<ul class="waiting">{waiting}</ul><p class="quiet">Not measured: <code>{escape(question.command)}</code></p>'
    return (
        f'<section class="pane claims"><h3>{escape(question.asks)}<span class="quiet">{escape(question.source)}</span></h3>'
        f"{rows}{_outcomes(question.outcomes)}{more if question.open else ''}</section>"
    )


def _outcomes(found: Sequence[Outcomes]) -> str:
    """The other outcomes of a question's claims, folded away; bold where the interval leaves out 0."""
    if not found:
        return ""
    head = "".join(f'<th scope="col">{escape(one.name)}</th>' for one in OUTCOMES)
    rows = "".join(
        f'<tr><th scope="row">{escape(claim.says)}</th>'
        f"{''.join(_outcome(*pair) for pair in zip(effects, OUTCOMES, strict=True))}</tr>"
        for claim, effects in found
    )
    return (
        f'<details class="outcomes"><summary>Other outcomes</summary><p class="quiet">{escape(HOW)}</p>'
        '<div class="scroll" tabindex="0" role="region" aria-label="Other outcomes"><table class="runs"><thead><tr>'
        f'<th scope="col">claim</th>{head}</tr></thead><tbody>{rows}</tbody></table></div></details>'
    )


def _outcome(effect: Effect | None, outcome: Outcome) -> str:
    if effect is None:
        return "<td>–</td>"
    mean, bounds = told(effect, outcome)
    return f"<td>{f'<b>{mean}</b>' if leaves_out_0(effect) else mean}<span>{bounds}</span></td>"


def _claim(one: Decided, reach: float) -> str:
    row, verdict = one.row, one.row["verdict"]
    effect = one.claim.told(row["effect"], named=True)
    low, high = row["interval"]
    none = "one seed, no interval" if row["seeds"] == 1 else "the same at all seeds, no interval"
    interval = none if low is None else f"{one.claim.told(low)} to {one.claim.told(high)}"
    paper = published(one.claim)
    beside = "" if paper == "-" else f"<span>paper {escape(paper)}</span>"
    beside += _wanting(one) if verdict == UNDECIDED and low is not None else ""
    note = f'<span class="note">{escape(one.note)}</span>' if one.note else ""
    return (
        f'<article class="claim"><p>{escape(one.claim.says)}{note}</p>{_line(one, reach)}'
        f'<p class="found"><b>{effect}</b> <span>{interval}</span></p>'
        f'<p class="judged"><b>{escape(one.judged)}</b><span>{row["seeds"]} seeds, {escape(one.where)}</span>{beside}</p></article>'
    )


def _wanting(one: Decided) -> str:
    """How many seeds would decide an undecided claim, if mean and spread stayed what they are."""
    wanted = wanted_seeds(one)
    return f"<span>{f'{wanted} seeds' if wanted else 'over 100 seeds'} would decide</span>"


def _line(one: Decided, reach: float) -> str:
    """Effect and interval on an axis through 0, with the margin as a band; equal axes within a question."""
    at = lambda value: round(_WIDE / 2 + value / reach * (_WIDE / 2 - 8), 1) if reach else _WIDE / 2
    row, margin = one.row, min(one.row["margin"], reach)
    low, high = row["interval"]
    bounds = "" if low is None else f'<line class="interval" x1="{at(low)}" x2="{at(high)}" y1="13" y2="13"/>'
    x = at(row["effect"])
    mark = _MARKS.get(row["verdict"], _UNDECIDED).format(x=x, l=x - 5)
    band = f'<rect class="margin" x="{at(-margin)}" width="{at(margin) - at(-margin):.1f}" y="3" height="20"/>'
    zero = f'<line class="zero" x1="{at(0)}" x2="{at(0)}" y1="0" y2="{_TALL}"/>'
    unit = " points" if one.claim.in_points else ", a correlation"
    label = f"effect {one.claim.told(row['effect'])}{unit}, {one.judged}"
    return f'<svg class="forest" role="img" aria-label="{escape(label)}" viewBox="0 0 {_WIDE} {_TALL}">{band}{zero}{bounds}{mark}</svg>'


def _bounds(one: Decided) -> list[float]:
    return [one.row["effect"], *(bound for bound in one.row["interval"] if bound is not None)]


def _loss(curve: Curve) -> str:
    left, top, right, bottom = _BOX
    steps, values = zip(*curve.points, strict=True)
    lowest, highest = min(values), max(values)
    x = lambda step: round(left + (right - left) * step / max(steps[-1], 1), 1)
    y = lambda value: round(bottom - (bottom - top) * (value - lowest) / max(highest - lowest, 1e-9), 1)
    grid = "".join(
        f'<line class="grid" x1="{left}" x2="{right}" y1="{y(value)}" y2="{y(value)}"/>'
        f'<text x="{left - 6}" y="{y(value) + 4}" text-anchor="end">{value:.2f}</text>'
        for value in dict.fromkeys((lowest, highest))
    )
    path = " ".join(f"{x(step)},{y(value)}" for step, value in curve.points)
    ends = f'<text x="{right}" y="{bottom + 16}" text-anchor="end">step {steps[-1]:,.0f}</text>'
    name, last = escape(curve.name.upper()), f"{values[-1]:.3f}"
    label = f"{name} over steps, now {last}"
    return (
        f'<figure class="loss"><figcaption><b>{name}</b><span class="quiet">{last}</span></figcaption>'
        f'<svg class="curves" role="img" aria-label="{label}" viewBox="0 0 356 {bottom + 22}">{grid}'
        f'<polyline class="curve" points="{path}"/>{ends}</svg></figure>'
    )


def _state(state: str) -> str:
    mark = {RUNNING: "●", DONE: "✓"}.get(state, "‖")
    return f'<span aria-hidden="true">{mark}</span> {escape(state)}'
