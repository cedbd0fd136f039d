"""The room "Review": people keep, drop and rewrite captions by keyboard; every word is saved at once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from apps.links import ROOM, Place, place_of
from apps.queues import QUEUES
from apps.reviewing import Desk
from apps.reviews import DROP, KEEP
from apps.tabs import review_audit, review_export
from apps.tabs.decisions import second_opinion
from apps.tabs.limits import Limits
from apps.tabs.parts import parts
from apps.tabs.review_answers import (
    NOTHING,
    Asked,
    Shown,
    answer,
    judged,
    named,
    place_shown,
    undone,
    waiting,
)
from apps.theme import QUIETLY, in_turn, text
from blip.capfilt import Policy
from blip.errors import InputError

_IN_TURN = in_turn("review")

# The caption that is on the screen, and its version: a verdict is on what its reviewer saw, a text for what it was
# written at. A caption that is chosen is on its way, while the text is still for the one on the screen.
_SHOWN = "(...all) => [...all.slice(0, -2), reviewWritten(), reviewShown()]"
_CHOSEN = "(...all) => [...all.slice(0, -3), reviewWritten(), ...all.slice(-2)]"
_FOLLOW = "(link, drafts) => followed(link, drafts)"
_ARRIVED = "(link, drafts) => arrived(link, drafts)"
_OPENED = "(...limits) => [...limits.slice(0, -1), reviewOpened()]"
_DOES = {
    "queues": {"K": "keep", "D": "drop", "E": "edit", "Z": "undo", "↑ ↓": "caption", "← →": "page"},
    "audit": {"Y": "yes", "N": "no", "U": "unsure", "Z": "undo", "↑ ↓": "caption"},
}
"""What keys do, by tab."""

_REMEMBERED = "() => localStorage.getItem('reviewer') ?? ''"
_REMEMBER = "(name) => { localStorage.setItem('reviewer', name); }"


@dataclass(frozen=True)
class _Keys:
    """The buttons, which keys press too (apps/studio.js)."""

    keep: gr.Button
    drop: gr.Button
    undo: gr.Button
    save: gr.Button
    back: gr.Button
    on: gr.Button
    page_back: gr.Button
    page_on: gr.Button


def build(desk: Desk, demo: gr.Blocks, entered: Sequence[Any], limits: Limits) -> None:
    """Lay the room out and wire it, inside its own open tab in demo.

    entered: the events that say that a person has come back. limits: the thresholds of the room Decisions, which come along.
    """
    with gr.Row(elem_classes=["room", "reviewing"], equal_height=False):
        with gr.Column(elem_classes="side", min_width=0):
            reviewer = _reviewer(demo)
            web, synthetic, search, opinion = _selection(desk)
            with gr.Column(elem_classes="pane"):
                text("<h3>People and the filter</h3>")
                agreement = text(elem_id="review-agreement")
            written = review_export.build(desk, web, synthetic)
        with gr.Column(elem_classes="images", min_width=0), gr.Tabs():
            with gr.Tab("Queues"):
                asked, shown, keys, goto = _queues((web, synthetic), (search, opinion), reviewer, agreement)
            with gr.Tab("Blind audit", id="audit") as audit:
                review_audit.build(desk, audit, web, synthetic, reviewer)
    _wire(desk, asked, shown, goto, written)
    _wire_keys(desk, asked, shown, keys)
    _wire_link(desk, demo, asked, shown, limits)
    _wire_limits(desk, entered, asked, shown, limits)


def _reviewer(demo: gr.Blocks) -> gr.Textbox:
    with gr.Column(elem_classes="pane"):
        name = gr.Textbox(label="Reviewer", placeholder="your name", max_length=60, max_lines=1, elem_id="reviewer")
        for tab, does in _DOES.items():
            text(_key_list(tab, does))
    demo.load(None, None, [name], js=_REMEMBERED, **QUIETLY)
    # Not on a change: an empty field is one when the page opens, before it is told the name.
    gr.on([name.input, name.submit, name.blur], None, [name], None, js=_REMEMBER, **QUIETLY)
    return name


def _key_list(tab: str, does: Mapping[str, str]) -> str:
    """The keys of a tab and what each does; the style sheet shows those of the tab that is open."""
    said = "".join(f"<li>{''.join(f'<kbd>{key}</kbd>' for key in keys.split())}{word}</li>" for keys, word in does.items())
    return f'<ul class="keys {tab}">{said}</ul>'


def _selection(desk: Desk) -> tuple[gr.Number, gr.Number, gr.Textbox, gr.Dropdown]:
    with gr.Column(elem_classes=["pane", "selection"]):
        with gr.Row(elem_classes="pairwise"):
            web, synthetic = (
                gr.Number(getattr(desk.policy, origin), label=f"{origin.capitalize()} threshold", step=0.01, min_width=0, elem_id=f"review-{origin}")
                for origin in ("web", "synthetic")
            )
        search = gr.Textbox("", label="Search", placeholder="in captions", max_length=200, elem_id="review-search")
        opinion = second_opinion(desk.service)
    return web, synthetic, search, opinion


def _queues(
    limits: tuple[gr.Number, gr.Number], words: tuple[gr.Textbox, gr.Dropdown], reviewer: gr.Textbox, agreement: gr.HTML
) -> tuple[Asked, Shown, _Keys, gr.Textbox]:
    done = gr.State([])
    queue = gr.Radio([(own.name, name) for name, own in QUEUES.items()], value=Place.queue, label="Queue", elem_classes="views", elem_id="review-queue")
    with gr.Row(elem_classes="pager"):
        where = text(elem_id="review-where", elem_classes="where")
        page_back, page_on = _plain("← Page", "previous-page"), _plain("Page →", "next-page")
    focus = text(elem_id="review-focus", elem_classes="found")
    with gr.Row(elem_classes="verdicts"):
        keep, drop = _key("Keep", "K", "review-keep"), _key("Drop", "D", "review-drop")
        undo = _key("Undo", "Z", "review-undo")
        back, on = _key("Previous", "↑", "review-previous"), _key("Next", "↓", "review-next")
    notice = text(elem_id="review-notice")
    with gr.Row(elem_classes="rewriting"):
        hint = "E: write a better text, Ctrl+Enter saves it, Esc discards it"
        better = gr.Textbox("", label="Better text", placeholder=hint, lines=1, max_lines=6, max_length=2000, min_width=0, elem_id="review-text")
        save = gr.Button("Save text", min_width=0, scale=0, elem_id="review-save")
    rows = text(elem_id="review-rows")
    # What the page and apps/studio.js tell the server, and the server the address bar.
    hidden = ("goto", "link", "drafts", "written", "shown")
    goto, address, drafts, written, on_screen = (gr.Textbox(label=name, visible="hidden", elem_id=f"review-{name}") for name in hidden)
    asked = Asked(*limits, queue, *words, reviewer, better, done, drafts, written, on_screen)
    shown = Shown(queue, where, focus, notice, rows, agreement, better, address, done, drafts, back, on, page_back, page_on)
    return asked, shown, _Keys(keep, drop, undo, save, back, on, page_back, page_on), goto


def _key(word: str, key: str, name: str) -> gr.Button:
    return gr.Button(f"{word} · {key}", min_width=0, scale=0, elem_id=name)


def _plain(word: str, name: str) -> gr.Button:
    return gr.Button(word, min_width=0, scale=0, elem_classes=name)


def _wire(desk: Desk, asked: Asked, shown: Shown, goto: gr.Textbox, written: Sequence[Any]) -> None:
    inputs, outputs = parts(asked), parts(shown)

    def show(*values: Any) -> list[Any]:
        return answer(desk, place_shown(desk, values), own=named(values))

    def goes(*values: Any) -> list[Any]:
        place = replace(place_shown(desk, values[:-1]), row_id=values[-1].strip())
        return answer(desk, place, own=named(values[:-1]))

    # What a person changes: a link that sets these parts has its answer already.
    changes = [part.input for part in (asked.queue, asked.search, asked.opinion, asked.web, asked.synthetic)]
    changes += [asked.search.submit, asked.search.blur]  # pasted text is no input to Gradio
    newest = gr.on(changes, show, inputs, outputs, trigger_mode="always_last", js=_SHOWN, **_IN_TURN)
    newest.then(None, [shown.link, shown.drafts], None, js=_FOLLOW, **QUIETLY)
    for event in written:  # what people said is in the ledger now, and decides there
        event.then(show, inputs, outputs, js=_SHOWN, **_IN_TURN).then(None, [shown.link, shown.drafts], None, js=_FOLLOW, **QUIETLY)
    chosen = goto.change(goes, [*inputs, goto], outputs, js=_CHOSEN, **_IN_TURN)
    chosen.then(None, [shown.link, shown.drafts], None, js=_ARRIVED, **QUIETLY)


def _wire_keys(desk: Desk, asked: Asked, shown: Shown, keys: _Keys) -> None:
    """Verdicts, undo and steps; each is on the caption that was on the screen."""

    def judge(word: str, rewrite: bool = False) -> Callable[..., list[Any]]:
        return lambda *values: judged(desk, values, word, rewrite=rewrite)

    def step(by: int) -> Callable[..., list[Any]]:
        return lambda *values: answer(desk, desk.step(place_shown(desk, values), by), own=named(values))

    def turn(by: int) -> Callable[..., list[Any]]:
        return lambda *values: answer(desk, desk.turn(place_shown(desk, values), by), own=named(values))

    actions = {
        keys.keep: judge(KEEP),
        keys.drop: judge(DROP),
        keys.save: judge(KEEP, rewrite=True),
        keys.undo: lambda *values: undone(desk, values),
        keys.back: step(-1),
        keys.on: step(+1),
        keys.page_back: turn(-1),
        keys.page_on: turn(+1),
    }
    for button, action in actions.items():
        event = button.click(action, parts(asked), parts(shown), js=_SHOWN, **_IN_TURN)
        event.then(None, [shown.link, shown.drafts], None, js=_FOLLOW, **QUIETLY)


def _wire_link(desk: Desk, demo: gr.Blocks, asked: Asked, shown: Shown, limits: Limits) -> None:
    outputs = [*limits.both, asked.web, asked.synthetic, asked.search, asked.opinion, *parts(shown)]

    def load(web: float, synthetic: float, drafts: str, request: gr.Request) -> list[Any]:
        words, usual = dict(request.query_params), Policy(web=web, synthetic=synthetic)
        try:
            place, refusal = place_of(words if words.get("room") == ROOM else {}, desk.ledger, usual), ""
        except InputError as error:
            place, refusal = Place(policy=usual), str(error)
        opinion = place.opinion if place.opinion in desk.service.opinions else gr.skip()
        both = [place.policy.web, place.policy.synthetic]
        return [*both, *both, place.search, opinion, *answer(desk, place, (refusal, "refused"), own={**NOTHING, "drafts": waiting(drafts)})]

    demo.load(load, [*limits.both, asked.drafts], outputs, js=_OPENED, **_IN_TURN)


def _wire_limits(desk: Desk, entered: Sequence[Any], asked: Asked, shown: Shown, limits: Limits) -> None:
    """Who comes back finds the thresholds where other rooms have moved them."""
    own = [asked.web, asked.synthetic]

    def back_again(web: float, synthetic: float, *values: Any) -> list[Any]:
        if [web, synthetic] == list(values[: len(own)]):
            return [gr.skip()] * (len(own) + len(parts(shown)))
        values = (web, synthetic, *values[len(own) :])
        return [web, synthetic, *answer(desk, place_shown(desk, values), own=named(values))]

    moved = gr.on(entered, back_again, [*limits.both, *parts(asked)], [*own, *parts(shown)], js=_SHOWN, **_IN_TURN)
    moved.then(None, [shown.link, shown.drafts], None, js=_FOLLOW, **QUIETLY)
    limits.follow(*own)
