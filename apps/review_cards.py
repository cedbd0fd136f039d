"""The review as HTML: the caption in focus with its picture, the rest of the page, and how far people agree.

Everything from the ledger and from people is text: it is escaped here.
"""

from collections.abc import Mapping, Sequence
from html import escape

from apps.answers import Caption
from apps.cards import facts, match, thumbnail, wording, words
from apps.charts import icon
from apps.pictures import Picture
from apps.reviewing import Agreement, Item, Stretch
from apps.reviews import KEEP, Word, clock
from blip.capfilt import Policy

_SIDES = {True: "kept", False: "filtered"}
_EMPTY = (
    '<div class="empty" data-queue="{}"><b>This queue is empty.</b>'
    "<span>Choose another queue, clear the search, or move a threshold.</span></div>"
)


def focus(stretch: Stretch, others: Sequence[Caption], picture: Picture | None) -> str:
    """The caption in focus: its picture, its text, what the filter and people say, and the image's other captions."""
    if stretch.focus is None or picture is None:
        return _EMPTY.format(stretch.place.queue)
    item, policy = stretch.items[stretch.focus], stretch.place.policy
    own, key = item.caption, escape(item.key)
    data = f'data-row="{escape(own.row_id)}" data-version="{item.version}" data-text="{escape(_text_of(item))}"'
    data += f' data-queue="{stretch.place.queue}"'
    search = stretch.place.search
    return (
        f'<article class="focus" {data}><figure>{thumbnail(item.key, picture)}<figcaption title="{key}">{key}</figcaption></figure>'
        f'<div class="captions"><section class="caption {_side(own)}"><header><span class="origin">{escape(own.origin)} caption</span>'
        f"{_chip(own)}</header>{_read(item, search)}{match(own.score, _limit(own, policy))}{facts(own, truth=False)}</section>"
        f"{_said(item.word)}{_others(others, policy)}</div></article>"
    )


def rows(stretch: Stretch) -> str:
    """The page's captions, a row each; a click brings one into focus."""
    if not stretch.items:
        return ""
    lines = "".join(_row(item, number == stretch.focus) for number, item in enumerate(stretch.items))
    return f'<div class="queue" role="group" aria-label="Captions of this page">{lines}</div>'


def where(stretch: Stretch, reviewed: int) -> str:
    """Which caption of how many, and how many of all are reviewed."""
    at = f"<b>{stretch.number:,}</b> of <b>{stretch.captions:,}</b> captions" if stretch.captions else "<b>0</b> captions"
    page = f"page {stretch.place.page + 1:,} of {stretch.pages:,} · {reviewed:,} reviewed in all"
    return f'<p role="status">{at}<span class="quiet">{page}</span></p>'


def notice(text: str, kind: str = "quiet") -> str:
    """A sentence about the last action; kind: quiet, done or refused."""
    if not text:
        return ""
    role = "alert" if kind == "refused" else "status"
    return f'<p class="notice {kind}" role="{role}">{escape(text)}</p>'


def agreement(found: Agreement) -> str:
    """People beside the filter: a table of counts, kappas, and who reviewed how much."""
    if not found.captions and not found.edited:
        return '<p class="quiet">Once captions are reviewed, this says how far people and the filter agree.</p>'
    said = ", ".join(f"{escape(name)} {count:,}" for name, count in found.reviewers.items())
    edited = f" · {found.edited:,} with a better text" if found.edited else ""
    return f'{_counts(found.counts)}{_kappas(found)}<p class="quiet by">{said}{edited}</p>'


def _counts(counts: Mapping[tuple[bool, bool], int]) -> str:
    lines = "".join(
        f'<tr><th scope="row">people {word}</th>'
        + "".join(
            f'<td class="n{"" if person == filter else " wrong"}">{counts.get((person, filter), 0):,}</td>'
            for filter in (True, False)
        )
        + "</tr>"
        for person, word in ((True, "keep"), (False, "drop"))
    )
    head = '<tr><th scope="col"></th><th scope="col">filter keeps</th><th scope="col">filters</th></tr>'
    return f'<table class="truth"><thead>{head}</thead><tbody>{lines}</tbody></table>'


def _kappas(found: Agreement) -> str:
    parts = [("people, filter", found.people_filter, f"on {found.captions:,} captions")]
    if found.truth:
        on = f"on the {found.truth:,} whose truth is known"
        parts += [("people, truth", found.people_truth, on), ("filter, truth", found.filter_truth, on)]
    said = "".join(
        f'<div title="{title}"><dt>{name}</dt><dd>{_decimal(value)}</dd></div>' for name, value, title in parts
    )
    return f'<p class="quiet kappa">Cohen’s kappa, 1 for perfect agreement</p><dl class="rates">{said}</dl>'


def _decimal(value: float | None) -> str:
    return "–" if value is None else f"{value:z.2f}".replace("-", "−")


def _row(item: Item, focused: bool) -> str:
    current = ' aria-current="true"' if focused else ""
    word = item.word
    mark = "open"
    if word and word.word:
        mark = "edited" if word.caption is not None else word.word
    return (
        f'<button type="button" class="line {_side(item.caption)}" data-send="#review-goto"{current}'
        f' data-words="{escape(item.caption.row_id)}"><span class="mark {mark}">{_MARKS[mark]}</span>'
        f'<span class="origin">{escape(item.caption.origin)}</span><span class="sentence">{escape(_text_of(item))}</span>'
        f"{_chip(item.caption)}<b>{_decimal(item.caption.score)}</b></button>"
    )


_MARKS = {"open": "open", KEEP: f"{icon(True)}keep", "drop": f"{icon(False)}drop", "edited": f"{icon(True)}new text"}


def _chip(caption: Caption) -> str:
    by = " by a person" if caption.by_person else ""
    return f'<span class="verdict">{icon(caption.kept)}{_side(caption)}{by}</span>'


def _side(caption: Caption) -> str:
    return _SIDES[caption.kept]


def _limit(caption: Caption, policy: Policy) -> float:
    return policy.synthetic if caption.origin == "synthetic" else policy.web


def _text_of(item: Item) -> str:
    """The text as people want it: the better one where there is one."""
    if item.word is None:
        return item.caption.text if item.caption.better is None else item.caption.better
    return item.caption.text if item.word.caption is None else item.word.caption


def _read(item: Item, search: str) -> str:
    """The text that the filter has read; a better one that nobody wrote here stands above it."""
    return words(item.caption.text, search) if item.word else wording(item.caption.text, item.caption.better, search)


def _said(word: Word | None) -> str:
    if word is None:
        return '<p class="word open">Nobody has reviewed this caption yet.</p>'
    if word.word is None:
        return f'<p class="word open">{escape(word.reviewer)} took the verdict back, {clock(word)}.</p>'
    kept = word.word == KEEP
    better = f'<p class="text better" dir="auto">{escape(word.caption)}</p>' if word.caption is not None else ""
    does = "keeps it with this text" if better else ("keeps it" if kept else "drops it")
    again = f"; <b>{escape(word.undone_by)}</b> took a later verdict back" if word.undone_by else ""
    return f'<div class="word {"kept" if kept else "filtered"}"><p>{icon(kept)}<span><b>{escape(word.reviewer)}</b> {does}{again}, {clock(word)}</span></p>{better}</div>'


def _others(others: Sequence[Caption], policy: Policy) -> str:
    if not others:
        return ""
    said = "".join(
        f'<section class="caption {_side(own)}"><header><span class="origin">{escape(own.origin)}</span>{_chip(own)}</header>'
        f"{wording(own.text, own.better)}{match(own.score, _limit(own, policy))}</section>"
        for own in others
    )
    return f'<div class="others"><h4>Other captions of this image</h4>{said}</div>'
