"""The cards of a page as HTML: a picture, its captions, and why each was kept or filtered.

Everything from the ledger is text: it is escaped here, and nowhere handed to the browser as markup.
"""

import base64
import re
from collections.abc import Callable
from html import escape

from apps.answers import Caption, Card, Page
from apps.charts import icon
from apps.pictures import Picture
from blip.capfilt import Policy

_LONG = 260
"""Characters of a caption that is never folded."""

_TRUTHS = {"true": "true", "false": "false", "uninformative": "says little"}
_MISSING = (
    '<svg viewBox="0 0 48 48" aria-hidden="true"><rect x="6" y="10" width="36" height="28" rx="3"/>'
    '<circle cx="17" cy="20" r="3.5"/><path d="M9 35l11-10 7 6 5-4 8 8"/></svg>'
)


def cards(page: Page, policy: Policy, picture: Callable[[int], Picture], search: str, unusable: str = "") -> str:
    """A page's cards; picture gives an image's thumbnail by number, search is marked in the captions.

    unusable: why no image of the ledger could be used, where that is so.
    """
    if not page.cards:
        said, more = "No image matches.", "Clear the search, choose another view, or move a threshold."
        if unusable:
            said, more = "No image of this ledger could be used.", f"Why: {unusable}."
        return f'<div class="empty"><b>{said}</b><span>{escape(more)}</span></div>'
    return '<div class="cards">' + "".join(article(card, policy, picture(card.number), search) for card in page.cards) + "</div>"


def article(card: Card, policy: Policy, picture: Picture, search: str = "", note: str = "") -> str:
    """One card. note: HTML that stands above its captions."""
    limits = {"synthetic": policy.synthetic}
    said = "".join(_caption(own, limits.get(own.origin, policy.web), search) for own in card.captions)
    key = escape(card.key)
    return (
        f'<article class="card" data-key="{key}"><figure>{thumbnail(card.key, picture)}'
        f'<figcaption title="{key}">{key}</figcaption></figure><div class="captions">{note}{said}</div></article>'
    )


def thumbnail(key: str, picture: Picture) -> str:
    """The picture as HTML, or a sign that there is none, with the reason."""
    if picture.jpeg is None:
        reason = escape(picture.reason)
        return f'<div class="missing" role="img" aria-label="No picture: {reason}" title="{reason}">{_MISSING}<span>no picture</span></div>'
    data = base64.b64encode(picture.jpeg).decode()
    return f'<img src="data:image/jpeg;base64,{data}" alt="Image {escape(key)}" decoding="sync">'


def _caption(caption: Caption, limit: float, search: str) -> str:
    side = "kept" if caption.kept else "filtered"
    by = " by a person" if caption.by_person else ""
    return (
        f'<section class="caption {side}"><header><span class="origin">{escape(caption.origin)}</span>'
        f'<span class="verdict">{icon(caption.kept)}{side}{by}</span></header>'
        f"{wording(caption.text, caption.better, search)}{match(caption.score, limit)}{facts(caption)}</section>"
    )


def wording(text: str, better: str | None, search: str = "") -> str:
    """What a caption says as HTML; below the better text that a person wrote, the one that it replaces."""
    if better is None:
        return words(text, search)
    old = f'<del>{_marked(text, search)}</del>'
    return f'{words(better, search)}<p class="text old" dir="auto"><span class="aside">in place of </span>{old}</p>'


def words(text: str, search: str = "") -> str:
    """A caption as HTML, escaped; a long one is folded. Every occurrence of the search is marked."""
    marked = _marked(text, search) or "<i>(empty)</i>"
    if len(text) <= _LONG:
        return f'<p class="text" dir="auto">{marked}</p>'
    # The whole text is the summary: the style sheet folds it after some lines until it is opened.
    return (
        f'<details class="text"><summary><span class="fold" dir="auto">{marked}</span>'
        '<span class="more">show all</span></summary></details>'
    )


def match(score: float | None, limit: float) -> str:
    """The match probability as a bar with its number; the notch is the threshold."""
    if score is None:
        return '<div class="match"><span class="none">not scored</span></div>'
    return (
        f'<div class="match" title="match probability {score:.4f}, threshold {limit:.2f}"><div class="bar">'
        f'<i style="width:{100 * score:.1f}%"></i><u style="left:{100 * limit:.1f}%"></u></div>'
        f'<b><span class="aside">match probability </span>{score:.2f}</b></div>'
    )


def facts(caption: Caption, *, truth: bool = True) -> str:
    """What else the ledger knows of a caption; without `truth` nothing that tells whether it is true."""
    said = ""
    if caption.borderline:
        said += '<span class="badge" title="another device or precision may decide otherwise">borderline</span>'
    if caption.itc is not None:
        said += f'<span title="cosine of image and text features">ITC {_signed(caption.itc)}</span>'
    if caption.mean_logprob is not None:
        value = _signed(caption.mean_logprob)
        said += f'<span title="mean log-probability of a token, by the captioner">log p {value}</span>'
    if truth and caption.noise_kind:
        said += f'<span class="badge" title="kind of noise">{escape(caption.noise_kind.replace("_", " "))}</span>'
    if truth and caption.truth:
        known = escape(_TRUTHS.get(caption.truth, caption.truth))
        said += f'<span class="badge truth" title="is it true of the image?">{known}</span>'
    return f'<footer>{said}</footer>' if said else ""


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")  # the typographic minus


def _marked(text: str, search: str) -> str:
    """The text, escaped, with every occurrence of the search marked."""
    if not search:
        return escape(text)
    parts = re.split(f"({re.escape(search)})", text, flags=re.IGNORECASE)
    return "".join(f"<mark>{escape(part)}</mark>" if at % 2 else escape(part) for at, part in enumerate(parts))
