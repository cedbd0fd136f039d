"""The room "Search" as HTML: found images, found texts, and images to choose from.

Everything from a ledger, and what a person typed, is text: it is escaped here or in apps/cards.py.
"""

from collections.abc import Callable, Sequence
from html import escape

from apps.cards import article, thumbnail, words
from apps.charts import icon
from apps.index_command import UNKNOWN
from apps.pictures import Picture
from apps.searching import FoundImage, FoundText
from blip.capfilt import Policy

PICK = "#search-pick"
"""The input that gets the number of a chosen image: apps/studio.js writes it there."""


def found_images(found: Sequence[FoundImage], policy: Policy, picture: Callable[[int], Picture], text: str) -> str:
    """Images in their order, with their captions; picture gives a thumbnail by number, text is marked."""
    cards = "".join(
        article(one.card, policy, picture(one.card.number), text, _lead(place, one))
        for place, one in enumerate(found, 1)
    )
    return f'<div class="cards ranked">{cards}</div>'


def found_texts(found: Sequence[FoundText], picture: Callable[[int], Picture]) -> str:
    """Texts in their order, with what the ledger keeps of them."""
    return f'<ol class="ranked-texts">{"".join(_text(place, one, picture) for place, one in enumerate(found, 1))}</ol>'


def picks(images: Sequence[tuple[int, Picture]]) -> str:
    """Images to choose from, by number."""
    tiles = "".join(
        f'<button type="button" data-send="{PICK}" data-words="{number}" aria-label="Captions for image {number}">'
        f"{thumbnail(str(number), picture)}</button>"
        for number, picture in images
    )
    return f'<p class="quiet">Or choose an image, and see which captions of the ledger fit it.</p><div class="picks">{tiles}</div>'


def said(text: str, command: str = "") -> str:
    """A sentence in place of results, and the command that helps, if there is one."""
    help = f"<span>This command makes it; then open this room again:</span><code>{escape(command)}</code>" if command else ""
    help += "<span>For WEIGHTS give those of the filter, or of any model with ITC and ITM.</span>" if UNKNOWN in command.split() else ""
    return f'<div class="empty" role="status"><b>{escape(text)}</b>{help}</div>'


def portrait(picture: Picture) -> str:
    """The image that was asked for."""
    return f'<figure class="asked">{thumbnail("that was asked for", picture)}</figure>'


def _text(place: int, one: FoundText, picture: Callable[[int], Picture]) -> str:
    counts = ((one.kept, True, "kept"), (one.filtered, False, "filtered"))
    verdicts = "".join(
        f'<span class="{side}"><span class="verdict">{icon(kept)}{count:,} {side}</span></span>' for count, kept, side in counts if count
    )
    own = '<span class="badge">of this image</span>' if one.own else ""
    which = "the first image that keeps this text" if one.kept else "the first image with this text"
    return (
        f'<li>{_scores(place, one.itc, one.itm)}<div class="told">{words(one.text)}'
        f'<p class="tallies">{verdicts}{own}</p></div>'
        f'<button type="button" data-send="{PICK}" data-words="{one.image}" title="{which}" '
        f'aria-label="Captions for {which}">{thumbnail(str(one.image), picture(one.image))}</button></li>'
    )


def _scores(place: int, itc: float, itm: float | None) -> str:
    match = "–" if itm is None else f"{itm:.2f}"
    cosine = f"{itc:.2f}".replace("-", "−")  # the typographic minus
    return (
        f'<p class="scores"><b class="place">{place}</b>'
        f'<span title="match probability of the filter">ITM <b>{match}</b></span>'
        f'<span title="cosine of image and text features">ITC <b>{cosine}</b></span></p>'
    )


def _lead(place: int, one: FoundImage) -> str:
    asking = f'data-send="{PICK}" data-words="{one.card.number}"'
    button = f'<button type="button" class="ask" {asking}>Captions for this image</button>'
    return f'<div class="lead">{_scores(place, one.itc, one.itm)}{button}</div>'
