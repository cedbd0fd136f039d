"""The room "Compare" as HTML: pairs of captions side by side, and what both sides keep as a table.

Everything from a ledger is text: it is escaped here or in apps/cards.py.
"""

from collections.abc import Callable
from html import escape
from itertools import groupby

from apps.cards import thumbnail, wording
from apps.charts import icon, percent
from apps.compared import QUADRANTS, Axis, Counts, Facts, Pair, PairPage
from apps.pictures import Picture

_TRUTHS = {"true": "true", "false": "false", "uninformative": "says little"}


def pair_cards(
    page: PairPage, limits: tuple[float, float], axes: tuple[Axis, Axis], picture: Callable[[Pair], Picture], compared: int
) -> str:
    """A page's pairs, those of one image in one card; picture gives the thumbnail of a pair's image.

    compared: captions that A and B have in common, whatever part of them is asked for.
    """
    if not page.pairs:
        said, more = "No caption is in this part.", "Choose another part, clear the selected area, or move a threshold."
        if not compared:
            said, more = "A and B have no caption in common.", "For A and B choose columns of the same images."
        return f'<div class="empty"><b>{said}</b><span>{more}</span></div>'
    scales = tuple(zip(limits, axes, strict=True))
    cards = (list(group) for _, group in groupby(page.pairs, key=lambda pair: (pair.key, pair.sha256)))
    return '<div class="cards wide">' + "".join(_card(own, scales, picture(own[0])) for own in cards) + "</div>"


def where_line(page: PairPage) -> str:
    """Which pairs of how many the page shows."""
    first = page.number * page.size + 1
    span = f"{first:,}–{first + len(page.pairs) - 1:,} of " if page.pairs else ""
    return (
        f'<p role="status"><b>{span}{page.selected:,}</b> captions'
        f'<span class="quiet">page {page.number + 1:,} of {page.pages:,}</span></p>'
    )


def sources_line(a: str, b: str) -> str:
    """Which column of which ledger A and B are, in small."""
    return f'<p class="quiet sources"><small>A: {escape(a)}<br>B: {escape(b)}</small></p>'


def counts_panel(counts: Counts, alone: tuple[int, int], other_bytes: int) -> str:
    """What stands beside the plot. alone: captions of either side without a counterpart; other_bytes: pairs whose
    picture is another file in B.
    """
    notes = [f"{sum(counts.found.values()):,} captions are compared."]
    notes += [
        f"{count:,} of {own} {'has' if count == 1 else 'have'} no counterpart in {other}."
        for count, own, other in zip(alone, "AB", "BA", strict=True)
        if count
    ]
    if other_bytes:
        notes.append(f"{other_bytes:,} of them stand at a picture that is another file in B.")
    hint = '<p class="quiet">Click a quadrant, or drag a box: the cards below show that part.</p>'
    return f'{quadrant_table(counts)}{rates(counts)}<p class="quiet">{" ".join(notes)}</p>{hint}'


def quadrant_table(counts: Counts) -> str:
    """Pairs by what both sides keep; of either side's captions whose truth is known, how many are true there."""
    truths = _truths(counts)
    lines = ""
    for sides, part in QUADRANTS.items():
        pairs = counts.of(*sides)
        cells = f'<td class="n">{pairs:,}</td>'
        cells += "".join(f"<td>{_share(counts.true(side, *sides), counts.known(side, *sides), pairs)}</td>" for side in truths)
        lines += f'<tr><th scope="row">{_marks(*sides)}{part}</th>{cells}</tr>'
    head = "".join(f'<th scope="col">{name}</th>' for name in ("captions", *truths.values()))
    return f'<table class="truth quadrants"><thead><tr><th></th>{head}</tr></thead><tbody>{lines}</tbody></table>'


def rates(counts: Counts) -> str:
    """Precision, recall and the share of false captions of either side, where truth is known."""
    if not counts.truth_known:
        return ""
    lines = ""
    for side, name in enumerate("AB"):
        tally = counts.tally(side)
        own = (tally.rates["precision"], tally.rates["recall"], tally.false_share)
        cells = "".join(f"<td>{percent(value)}</td>" for value in own)
        lines += f'<tr><th scope="row">What {name} keeps</th>{cells}</tr>'
    heads = (
        ("precision", "share of the kept ones that is true"),
        ("recall", "share of the true ones that is kept"),
        ("false share", "share of the kept ones that is false"),
    )
    head = "".join(f'<th scope="col" title="{title}">{name}</th>' for name, title in heads)
    return f'<table class="truth quality"><thead><tr><th></th>{head}</tr></thead><tbody>{lines}</tbody></table>'


def _card(pairs: list[Pair], scales: tuple[tuple[float, Axis], ...], picture: Picture) -> str:
    key = escape(pairs[0].key)
    return (
        f'<article class="card" data-key="{key}"><figure>{thumbnail(pairs[0].key, picture)}'
        f'<figcaption title="{key}">{key}</figcaption></figure>'
        f'<div class="captions">{"".join(_pair(pair, scales) for pair in pairs)}</div></article>'
    )


def _pair(pair: Pair, scales: tuple[tuple[float, Axis], ...]) -> str:
    sides = "".join(
        _side(name, facts, scale, text=not pair.same)
        for name, facts, scale in zip("AB", (pair.a, pair.b), scales, strict=True)
    )
    shared = wording(pair.a.caption, pair.a.better) if pair.same else ""
    origin = f'<span class="origin">{escape(pair.a.origin)}</span>' + (_badges(pair.a) if pair.same else "")
    return f'<section class="caption pair"><header>{origin}</header>{shared}<div class="sides">{sides}</div></section>'


def _side(name: str, facts: Facts, scale: tuple[float, Axis], *, text: bool) -> str:
    verdict = "kept" if facts.kept else "filtered"
    by = " by a person" if facts.by_person else ""
    head = f'<header><b class="letter">{name}</b><span class="verdict">{icon(facts.kept)}{verdict}{by}</span></header>'
    said = wording(facts.caption, facts.better) + _badges(facts) if text else ""
    return f'<div class="{verdict}">{head}{said}{_score(facts.score, *scale)}</div>'


def _score(score: float | None, limit: float, axis: Axis) -> str:
    """A score as a bar on its axis with its number; the notch is the threshold."""
    if score is None:
        return '<div class="match"><span class="none">not scored</span></div>'
    number = f"{score:.2f}".replace("-", "−")  # the typographic minus
    return (
        f'<div class="match" title="score {score:.4f}, threshold {limit:g}"><div class="bar">'
        f'<i style="width:{100 * axis.place(score):.1f}%"></i><u style="left:{100 * axis.place(limit):.1f}%"></u></div>'
        f'<b><span class="aside">score </span>{number}</b></div>'
    )


def _badges(facts: Facts) -> str:
    found = ""
    if facts.noise_kind:
        found += f'<span class="badge" title="kind of noise">{escape(facts.noise_kind.replace("_", " "))}</span>'
    if facts.truth:
        truth = escape(_TRUTHS.get(facts.truth, facts.truth))
        found += f'<span class="badge truth" title="is it true of the image?">{truth}</span>'
    return f'<span class="badges">{found}</span>' if found else ""


def _truths(counts: Counts) -> dict[int, str]:
    """The sides whose truth is shown and the head of its column; one where both have the same texts."""
    if not counts.truth_known:
        return {}
    return {0: "true"} if counts.same_truth else {0: "true in A", 1: "true in B"}


def _marks(a: bool, b: bool) -> str:
    return "".join(f'<i class="{"kept" if keeps else "filtered"}">{icon(keeps)}</i>' for keeps in (a, b))


def _share(true: int, known: int, pairs: int) -> str:
    """True captions, and their share of those whose truth is known, which are told where they are not all."""
    of = f" of {known:,}" if known < pairs else ""
    return f"{true:,}{of} <small>{percent(true / known if known else None)}</small>"
