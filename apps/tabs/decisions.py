"""The room "Decisions": what the filter kept and filtered, image by image, under thresholds that move."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from apps import charts
from apps.answers import Page, Tally
from apps.cards import cards
from apps.questions import ALL, AS_WRITTEN, BORDERS, DISAGREE, ORDERS, SIZES, VIEWS, WRONG, Question
from apps.service import Service
from apps.tabs.limits import Limits
from apps.tabs.parts import parts
from apps.theme import QUIETLY, in_turn, text
from blip.capfilt import Policy

_IN_TURN = in_turn("decisions")

# A number typed beyond the slider's ends means its end.
_WITHIN = "(...all) => all.map((value, at) => (at < 2 ? Math.min(1, Math.max(0, value)) : value))"


@dataclass(frozen=True)
class _Asked:
    """The inputs of the room, in the order in which handlers get their values."""

    web: gr.Slider
    synthetic: gr.Slider
    view: gr.Radio
    search: gr.Textbox
    order: gr.Dropdown
    opinion: gr.Dropdown
    size: gr.Dropdown
    page: gr.State


@dataclass(frozen=True)
class _Shown:
    """The outputs of the room, in the order in which handlers give their values."""

    web: gr.HTML
    synthetic: gr.HTML
    curve: gr.HTML
    truth: gr.HTML
    view: gr.Radio
    where: gr.HTML
    back: gr.Button
    on: gr.Button
    cards: gr.HTML
    page: gr.State


def build(service: Service, demo: gr.Blocks, policy: Policy, entered: Sequence[Any]) -> Limits:
    """Lay the room out and wire it, inside the tab that is open in demo; its thresholds, for the other rooms.

    policy: the thresholds to begin with. entered: the events that say that a person has come back into the room.
    """
    page = gr.State(0)
    with gr.Row(elem_classes=["room", "deciding"], equal_height=False):
        with gr.Column(elem_classes="side", min_width=0):
            web, web_scores = _origin("web", policy.web)
            synthetic, synthetic_scores = _origin("synthetic", policy.synthetic)
            with gr.Column(elem_classes="pane"):
                curve = text()
            with gr.Column(elem_classes="pane", visible=service.truth_known):
                truth = text()
        with gr.Column(elem_classes="images", min_width=0):
            view = gr.Radio(_views(service), value=ALL, label="View", elem_classes="views")
            search, order, opinion, size = _toolbar(service)
            with gr.Row(elem_classes="pager"):
                where = text(elem_id="where")
                back = gr.Button("← Previous", elem_id="previous-page", min_width=0, scale=0)
                on = gr.Button("Next →", elem_id="next-page", min_width=0, scale=0)
            found = text(elem_id="cards")
    asked = _Asked(web, synthetic, view, search, order, opinion, size, page)
    shown = _Shown(web_scores, synthetic_scores, curve, truth, view, where, back, on, found, page)
    # The first page is on its way with the layout; what people decided since comes when the page is loaded.
    for part, value in zip(parts(shown), _answer(service, Question(policy=policy)), strict=True):
        if isinstance(part, gr.HTML):
            part.value = value
    _wire(service, demo, asked, shown, entered)
    return Limits(web, synthetic)


def _origin(origin: str, value: float) -> tuple[gr.Slider, gr.HTML]:
    with gr.Column(elem_classes=["pane", "threshold"]):
        scores = text(elem_id=f"{origin}-scores")
        label = f"{origin.capitalize()} threshold"
        limit = gr.Slider(0, 1, value=value, step=0.01, label=label, buttons=[], elem_id=f"{origin}-limit")
    return limit, scores


def _toolbar(service: Service) -> tuple[gr.Textbox, gr.Dropdown, gr.Dropdown, gr.Dropdown]:
    with gr.Row(elem_classes="toolbar"):
        hint = "for example: red ball"
        search = gr.Textbox(label="Search in captions", placeholder=hint, max_length=200, scale=3, min_width=0)
        order = gr.Dropdown(list(ORDERS), value=AS_WRITTEN, label="Order", scale=3, min_width=0)
        opinion = second_opinion(service)
        size = gr.Dropdown(list(SIZES), value=SIZES[1], label="Per page", scale=1, min_width=88)
    return search, order, opinion, size


def second_opinion(service: Service) -> gr.Dropdown:
    """The choice of the score that may disagree with the filter; unseen where there is no choice."""
    known = service.opinions
    seen = len(known) > 1
    return gr.Dropdown(known, value=known[0] if known else None, label="Second opinion", scale=2, min_width=0, visible=seen)


def _wire(service: Service, demo: gr.Blocks, asked: _Asked, shown: _Shown, entered: Sequence[Any]) -> None:
    def show(*values: Any, page: int = 0) -> list[Any]:
        web, synthetic, view, search, order, opinion, size, _ = values
        policy = Policy(web=web, synthetic=synthetic)
        question = Question(
            policy=policy, view=view, search=(search or "").strip(), order=order, opinion=opinion or "", page=page, size=size
        )
        return _answer(service, question)

    def turn(by: int) -> Callable[..., list[Any]]:
        return lambda *values: show(*values, page=values[-1] + by)

    def back_again(*values: Any) -> list[Any]:
        """What people decided meanwhile, in the room Review or by a command, is taken in."""
        service.refresh()
        return show(*values, page=values[-1])

    inputs, outputs = parts(asked), parts(shown)

    def news(*values: Any) -> list[Any]:
        """What came with the layout and still holds is not said again."""
        service.refresh()
        came = (part.value if isinstance(part, gr.HTML) else None for part in outputs)
        return [gr.skip() if known == value else value for known, value in zip(came, show(*values), strict=True)]

    # A new question begins at its first page; a moved threshold leaves a person where they are.
    questions = [asked.search.change, asked.view.input, asked.order.input, asked.opinion.input, asked.size.input]
    limits = [asked.web.change, asked.synthetic.change]
    # While an answer is on its way only the newest position waits: moves never queue up.
    gr.on(questions, show, inputs, outputs, trigger_mode="always_last", **_IN_TURN)
    gr.on(limits, turn(0), inputs, outputs, trigger_mode="always_last", js=_WITHIN, **_IN_TURN)
    demo.load(news, inputs, outputs, **_IN_TURN).then(None, None, None, js="() => wake()", **QUIETLY)
    gr.on(entered, back_again, inputs, outputs, **_IN_TURN)
    shown.back.click(turn(-1), inputs, outputs, **_IN_TURN)
    shown.on.click(turn(+1), inputs, outputs, **_IN_TURN)


def _answer(service: Service, question: Question) -> list[Any]:
    """The values of every output, in the order of _Shown."""
    policy = question.policy
    tallies = service.tallies(policy)
    counts = service.view_counts(policy, question.search, question.opinion)
    page = service.page(question, counts[question.view])
    pictures = service.pictures([card.number for card in page.cards])
    limits = {"web": policy.web, "synthetic": policy.synthetic}
    return [
        *(_scores(service, tallies[origin], origin, limit) for origin, limit in limits.items()),
        _titled("Keep rate by threshold" + charts.LEGEND, charts.keep_curve(service.curves, _points(tallies, limits))),
        _titled("Against the truth", charts.truth_table(tallies)),
        gr.update(choices=[(f"{name} · {counts[view]:,}", view) for name, view in _views(service, question.opinion)]),
        _where(page),
        gr.update(interactive=page.number > 0),
        gr.update(interactive=page.number + 1 < page.pages),
        cards(page, policy, pictures.__getitem__, question.search, "" if service.images else service.rejected.words()),
        page.number,
    ]


def _scores(service: Service, tally: Tally, origin: str, limit: float) -> str:
    return charts.split(tally) + charts.histogram(service.histograms[origin], limit, origin)


def _views(service: Service, opinion: str = "") -> list[tuple[str, str]]:
    """The views that this ledger can fill, each by the name that people see."""
    names = {DISAGREE: service.disagreeing(opinion)} if service.opinions else {}
    shown = {WRONG: service.truth_known, BORDERS: service.margin > 0, DISAGREE: bool(service.opinions)}
    return [(names.get(view, view), view) for view in VIEWS if shown.get(view, True)]


def _points(
    tallies: Mapping[str, Tally], limits: Mapping[str, float]
) -> dict[str, tuple[float, float | None]]:
    totals = {origin: tally.kept + tally.filtered for origin, tally in tallies.items()}
    shares = {origin: tallies[origin].kept / total if total else None for origin, total in totals.items()}
    return {origin: (limits[origin], shares[origin]) for origin in limits}


def _where(page: Page) -> str:
    first = page.number * page.size + 1
    span = f"{first:,}–{first + len(page.cards) - 1:,} of " if page.cards else ""
    return (
        f'<p role="status"><b>{span}{page.images:,}</b> images'
        f'<span class="quiet">page {page.number + 1:,} of {page.pages:,}</span></p>'
    )


def _titled(title: str, content: str) -> str:
    return f"<h3>{title}</h3>{content}"
