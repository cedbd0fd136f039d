"""The room "Search": images for a text and captions for an image, with the ledger's verdicts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from apps.search_cards import found_images, found_texts, picks, portrait, said
from apps.searching import RESULTS, Query, Searching
from apps.tabs.limits import Limits, within
from apps.tabs.parts import parts
from apps.theme import BUSY, in_turn, text
from blip.capfilt import Policy
from blip.errors import InputError

_IN_TURN, _BUSY = in_turn("search"), in_turn("search", BUSY)
_SHORTLISTS = (12, 24, 48, 128)
_RERANK, _COSINE = "ITM re-ranks", "ITC alone"
_PICKS = 24  # images to choose from at once


@dataclass(frozen=True)
class _Asked:
    """The inputs of the room, in the order in which handlers get their values."""

    query: gr.State
    web: gr.Slider
    synthetic: gr.Slider
    shortlist: gr.Dropdown
    ranking: gr.Radio
    page: gr.State


@dataclass(frozen=True)
class _Sources:
    """Where a query comes from."""

    words: gr.Textbox
    find: gr.Button
    file: gr.UploadButton
    pick: gr.Textbox
    others: gr.Button


def build(searching: Searching, entered: Sequence[Any], policy: Policy, limits: Limits) -> None:
    """Lay the room out and wire it, inside its own open tab.

    policy: the thresholds to begin with. limits: those of the room Decisions, which come along.
    """
    query, page = gr.State(None), gr.State(0)
    with gr.Row(elem_classes="room", equal_height=False):
        with gr.Column(elem_classes="side", min_width=0):
            with gr.Column(elem_classes=["pane", "shortlisting"]):
                ranking = gr.Radio([_RERANK, _COSINE], value=_RERANK, label="Order", elem_classes="views", elem_id="search-order")
                shortlist = gr.Dropdown(list(_SHORTLISTS), value=_SHORTLISTS[1], label="Shortlist by ITC")
            web, synthetic = _limit("web", policy.web), _limit("synthetic", policy.synthetic)
        with gr.Column(elem_classes="images", min_width=0):
            with gr.Row(elem_classes=["toolbar", "search"], equal_height=False):
                hint = "for example: a red ball next to a tree"
                words = gr.Textbox(label="Find images by a text", placeholder=hint, max_length=300, max_lines=1, scale=5, min_width=0)
                find = gr.Button("Find", min_width=0, scale=0, elem_id="search-find")
                kinds = ["image"]
                file = gr.UploadButton("Upload an image", file_types=kinds, type="binary", min_width=0, scale=0, elem_id="search-file")
                others = gr.Button("Choose an image", min_width=0, scale=0, elem_id="search-others")
            # The number of an image that is chosen on a card: apps/studio.js writes it here.
            pick = gr.Textbox(label="Chosen image", visible="hidden", elem_id="search-pick")
            asked, found = text(elem_id="search-asked"), text(elem_id="search-found")
    inputs = _Asked(query, web, synthetic, shortlist, ranking, page)
    _wire(searching, inputs, _Sources(words, find, file, pick, others), [asked, found])
    _wire_limits(searching, entered, inputs, limits, [asked, found])


def _limit(origin: str, value: float) -> gr.Slider:
    with gr.Column(elem_classes=["pane", "threshold"]):
        text()
        label = f"{origin.capitalize()} threshold"
        return gr.Slider(0, 1, value=value, step=0.01, label=label, buttons=[], elem_id=f"search-{origin}")


def _wire(searching: Searching, asked: _Asked, sources: _Sources, shown: list[gr.HTML]) -> None:
    def again(*values: Any) -> list[str]:
        return _answer(searching, values)

    def by_text(words: str, *values: Any) -> list[Any]:
        query = Query(text=words.strip())
        return [query, *_answer(searching, (query, *values[1:]))]

    def by_file(data: bytes, *values: Any) -> list[Any]:
        query = Query(data=data)
        return [query, *_answer(searching, (query, *values[1:]))]

    def by_pick(number: str, *values: Any) -> list[Any]:
        query = Query(image=int(number)) if number.strip().isdecimal() else None
        return [query, *_answer(searching, (query, *values[1:]))]

    def others(query: Query | None, page: int) -> list[Any]:
        """From what was found back to the images to choose from, and from those to the next ones."""
        shown = page + 1 if query is None else page
        return [None, shown, *_picks(searching, shown)]

    inputs, outputs = parts(asked), [asked.query, *shown]
    gr.on([sources.words.submit, sources.find.click], by_text, [sources.words, *inputs], outputs, **_BUSY)
    sources.file.upload(by_file, [sources.file, *inputs], outputs, **_BUSY)
    sources.pick.change(by_pick, [sources.pick, *inputs], outputs, **_BUSY)
    sources.others.click(others, [asked.query, asked.page], [asked.query, asked.page, *shown], **_IN_TURN)
    changes = [asked.web.change, asked.synthetic.change, asked.shortlist.input, asked.ranking.input]
    gr.on(changes, again, inputs, shown, trigger_mode="always_last", **_BUSY)


def _wire_limits(
    searching: Searching, entered: Sequence[Any], asked: _Asked, limits: Limits, shown: list[gr.HTML]
) -> None:
    def back_again(web: float, synthetic: float, *values: Any) -> list[Any]:
        """What people decided meanwhile is taken in, and where they moved the thresholds."""
        searching.service.refresh()
        query, _, _, *others = values
        return [web, synthetic, *_answer(searching, (query, web, synthetic, *others))]

    own = [asked.web, asked.synthetic]
    gr.on(entered, back_again, [*limits.both, *parts(asked)], [*own, *shown], **_IN_TURN)
    limits.follow(*own)


def _answer(searching: Searching, values: tuple[Any, ...]) -> list[str]:
    """What was asked and what is found, as HTML; a sentence where that cannot be. values: in the order of _Asked."""
    query, web, synthetic, shortlist, ranking, page = values
    policy = Policy(web=within(web), synthetic=within(synthetic))
    chosen = {"shortlist": shortlist, "rerank": ranking == _RERANK}
    if query is None:
        return _picks(searching, page)
    ranked = lambda: len(searching.ranking(query, shortlist, ranking == _RERANK).rows)  # a small ledger has fewer
    try:
        if query.text is not None:
            images = searching.images(query, policy, **chosen)
            html = found_images(images, policy, searching.service.picture, query.text)
            return [_line(f"{len(images):,} images", ranked()), html]
        texts = searching.texts(query, policy, **chosen)
        shown = portrait(searching.portrait(query)) + _line(f"{len(texts):,} texts", ranked())
        return [shown, found_texts(texts, searching.service.picture)]
    except InputError as error:
        return ["", said(str(error))]


def _line(count: str, shortlist: int) -> str:
    best = f"the best {RESULTS} of {shortlist:,} on the shortlist" if shortlist > RESULTS else "the shortlist"
    return f'<p role="status"><b>{count}</b><span class="quiet">{best}</span></p>'


def _picks(searching: Searching, page: int) -> list[str]:
    """A page of the ledger's images to choose from, round and round; or why there is nothing to search in."""
    try:
        searching.open()
    except InputError as error:
        return ["", said(str(error), searching.command)]
    images = searching.service.images
    numbers = [(page * _PICKS + place) % images for place in range(min(_PICKS, images))]
    pictures = searching.service.pictures(numbers)
    return ["", picks([(number, pictures[number]) for number in numbers])]
