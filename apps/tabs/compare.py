"""The room "Compare": the same images under two scores, and the captions on which they differ."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any

import gradio as gr

from apps import charts
from apps.compared import AS_WRITTEN, DIFFER, ORDERS, ORIGINS, PARTS, Selection, area
from apps.comparing import Comparing
from apps.comparison import BINS, Comparison
from apps.pair_cards import counts_panel, pair_cards, sources_line, where_line
from apps.questions import SIZES
from apps.scatter import scatter
from apps.tabs.parts import parts
from apps.theme import QUIETLY, in_turn, text
from blip.errors import InputError

_IN_TURN = in_turn("compare")
_ANY = next(iter(ORIGINS))
_JOINING = '<p role="status">Pairing the captions of A and B, once. The other rooms stay open meanwhile.</p>'
_UNSEEN = -1
"""The page before anybody has looked into the room."""


@dataclass(frozen=True)
class _Asked:
    """The inputs of the room, in the order in which handlers get their values."""

    a: gr.Dropdown
    b: gr.Dropdown
    a_limit: gr.Slider
    b_limit: gr.Slider
    origin: gr.Dropdown
    part: gr.Radio
    order: gr.Dropdown
    size: gr.Dropdown
    box: gr.State
    page: gr.State


@dataclass(frozen=True)
class _Shown:
    """The outputs of the room, in the order in which handlers give their values."""

    a: gr.HTML
    b: gr.HTML
    plot: gr.HTML
    counts: gr.HTML
    part: gr.Radio
    clear: gr.Button
    where: gr.HTML
    back: gr.Button
    on: gr.Button
    cards: gr.HTML
    page: gr.State


def build(comparing: Comparing, entered: Sequence[Any]) -> None:
    """Lay the room out and wire it, inside its own open tab."""
    box, page = gr.State(None), gr.State(_UNSEEN)
    with gr.Row(elem_classes="room", equal_height=False):
        with gr.Column(elem_classes="side", min_width=0):
            with gr.Column(elem_classes=["pane", "threshold"]):
                a_limit, a_split = _side("A")
            with gr.Column(elem_classes=["pane", "threshold"]):
                b_limit, b_split = _side("B")
                match = gr.Button("Keep as many as A", size="sm", elem_classes="plain")
            folder, opened, said = _another(visible=bool(comparing.roots))
        with gr.Column(elem_classes="images", min_width=0):
            a, b, origin = _columns(comparing.choices(), comparing.start())
            with gr.Row(elem_classes=["pane", "plot"], equal_height=False):
                plot = text(elem_id="compare-plot")
                with gr.Column(min_width=0):
                    counts = text(elem_id="compare-counts")
                    part = gr.Radio(list(PARTS), value=DIFFER, label="Part", elem_classes="views", elem_id="compare-part")
                    order, size = _toolbar()
            # What is clicked or dragged in the plot: apps/studio.js writes it here.
            pointed = gr.Textbox(label="Selected area", visible="hidden", elem_id="compare-area")
            with gr.Row(elem_classes="pager"):
                where = text(elem_id="compare-where", elem_classes="where")
                clear = gr.Button("Clear the area", visible=False, min_width=0, scale=0)
                back = gr.Button("← Previous", elem_classes="previous-page", min_width=0, scale=0)
                on = gr.Button("Next →", elem_classes="next-page", min_width=0, scale=0)
            found = text(elem_id="compare-cards", elem_classes="found")
    asked = _Asked(a, b, a_limit, b_limit, origin, part, order, size, box, page)
    shown = _Shown(a_split, b_split, plot, counts, part, clear, where, back, on, found, page)
    _wire(comparing, asked, shown)
    _wire_areas(comparing, asked, shown, pointed)
    _wire_columns(comparing, entered, asked, shown, match)
    opened.click(lambda typed: _opened(comparing, typed), [folder], [a, b, said], **QUIETLY)


def _side(name: str) -> tuple[gr.Slider, gr.HTML]:
    split = text(elem_id=f"compare-{name.lower()}-split")
    limit = gr.Slider(0, 1, value=0.5, step=0.01, label=f"{name} threshold", buttons=[], elem_id=f"{name.lower()}-limit")
    return limit, split


def _another(*, visible: bool) -> tuple[gr.Textbox, gr.Button, gr.HTML]:
    with gr.Column(elem_classes=["pane", "another"], visible=visible):
        folder = gr.Textbox(label="Another ledger", placeholder="folder of a ledger", max_length=1000, max_lines=1)
        opened = gr.Button("Open", size="sm", elem_classes="plain")
        said = text(elem_id="compare-opened")
    return folder, opened, said


def _columns(choices: list[tuple[str, str]], start: tuple[str, str]) -> tuple[gr.Dropdown, gr.Dropdown, gr.Dropdown]:
    with gr.Row(elem_classes="toolbar"):
        a, b = (
            gr.Dropdown(choices, value=words, label=f"{name} is", scale=3, min_width=0, elem_id=f"compare-{name.lower()}")
            for name, words in zip("AB", start, strict=True)
        )
        origin = gr.Dropdown(list(ORIGINS), value=_ANY, label="Captions", scale=2, min_width=0, elem_id="compare-origin")
    return a, b, origin


def _toolbar() -> tuple[gr.Dropdown, gr.Dropdown]:
    with gr.Row(elem_classes="toolbar"):
        order = gr.Dropdown(list(ORDERS), value=AS_WRITTEN, label="Order", scale=3, min_width=0)
        size = gr.Dropdown(list(SIZES), value=SIZES[1], label="Per page", scale=1, min_width=88)
    return order, size


def _wire(comparing: Comparing, asked: _Asked, shown: _Shown) -> None:
    inputs, outputs = parts(asked), parts(shown)

    def turn(by: int | None) -> Any:
        """To the first page (None), or so many pages on."""

        def show(*values: Any) -> list[Any]:
            comparison, chosen = _selection(comparing, values, 0 if by is None else values[-1] + by)
            return _answer(comparing, comparison, chosen)

        return show

    questions = [asked.origin.input, asked.part.input, asked.order.input, asked.size.input]
    gr.on(questions, turn(None), inputs, outputs, trigger_mode="always_last", **_IN_TURN)
    limits = [asked.a_limit.change, asked.b_limit.change]
    gr.on(limits, turn(0), inputs, outputs, trigger_mode="always_last", **_IN_TURN)
    shown.back.click(turn(-1), inputs, outputs, **_IN_TURN)
    shown.on.click(turn(+1), inputs, outputs, **_IN_TURN)


def _wire_areas(comparing: Comparing, asked: _Asked, shown: _Shown, pointed: gr.Textbox) -> None:
    def select(pointed: str, *values: Any) -> list[Any]:
        comparison, chosen = _selection(comparing, values, 0)
        part, box = area(pointed, comparison.axes, (chosen.a, chosen.b))
        return [box, *_answer(comparing, comparison, replace(chosen, part=part, box=box))]

    def clear(*values: Any) -> list[Any]:
        comparison, chosen = _selection(comparing, values, 0)
        return [None, *_answer(comparing, comparison, replace(chosen, box=None))]

    outputs = [asked.box, *parts(shown)]
    pointed.change(select, [pointed, *parts(asked)], outputs, trigger_mode="always_last", **_IN_TURN)
    shown.clear.click(clear, parts(asked), outputs, **_IN_TURN)


def _wire_columns(comparing: Comparing, entered: Sequence[Any], asked: _Asked, shown: _Shown, match: gr.Button) -> None:
    """Other columns, and the first visit, begin with thresholds that suit the scores."""
    outputs = [asked.a_limit, asked.b_limit, asked.box, *parts(shown)]

    def begin(*values: Any) -> list[Any]:
        comparison = _comparison(comparing, values[0], values[1])
        limits = comparison.thresholds
        _, chosen = _selection(comparing, (*values[:2], *limits, *values[4:8], None, 0), 0)
        sliders = [
            gr.update(minimum=axis.low, maximum=axis.high, step=axis.step, value=limit)
            for axis, limit in zip(comparison.axes, limits, strict=True)
        ]
        return [*sliders, None, *_answer(comparing, comparison, chosen)]

    def enter(*values: Any) -> list[Any]:
        if values[-1] == _UNSEEN:
            return begin(*values)
        # People may have decided in another room since.
        return [gr.skip(), gr.skip(), values[-2], *_answer(comparing, *_selection(comparing, values, values[-1]))]

    def as_many(*values: Any) -> Any:
        comparison, chosen = _selection(comparing, values, 0)
        return comparison.threshold_of("b", comparison.kept("a", chosen.a, chosen.synthetic), chosen.synthetic)

    chosen = [asked.a.input, asked.b.input]
    gr.on(chosen, _after_a_sign(comparing, shown, begin), parts(asked), outputs, trigger_mode="always_last", **_IN_TURN)
    gr.on(entered, _after_a_sign(comparing, shown, enter), parts(asked), outputs, **_IN_TURN)
    match.click(as_many, parts(asked), [asked.b_limit], **_IN_TURN)


def _after_a_sign(comparing: Comparing, shown: _Shown, answer: Callable[..., list[Any]]) -> Callable[..., Any]:
    """The answer, but first that A and B are being paired where they are not yet: a million captions take seconds."""

    def told(*values: Any) -> Iterator[list[Any]]:
        if not comparing.ready(*(comparing.columns[label] for label in values[:2])):
            yield [gr.skip()] * 3 + [_JOINING if part is shown.where else gr.skip() for part in parts(shown)]
        yield answer(*values)
        # Gradio sends the last of these once more as it ends: thresholds that a person has moved meanwhile would go back.
        yield [gr.skip()] * (3 + len(parts(shown)))

    return told


def _comparison(comparing: Comparing, a: str, b: str) -> Comparison:
    columns = comparing.columns
    try:
        return comparing.compare(columns[a], columns[b])
    except InputError as error:
        raise gr.Error(str(error), print_exception=False) from None


def _selection(comparing: Comparing, values: tuple[Any, ...], page: int) -> tuple[Comparison, Selection]:
    """What the inputs say, in the order of _Asked."""
    a, b, a_limit, b_limit, origin, part, order, size, box, _ = values
    comparison = _comparison(comparing, a, b)
    # A number typed beyond a slider's ends means its end.
    limits = [axis.within(limit) for axis, limit in zip(comparison.axes, (a_limit, b_limit), strict=True)]
    chosen = Selection(
        a=limits[0],
        b=limits[1],
        synthetic=ORIGINS[origin],
        part=part,
        box=box and tuple(box),
        order=order,
        page=page,
        size=size,
    )
    return comparison, chosen


def _answer(comparing: Comparing, comparison: Comparison, chosen: Selection) -> list[Any]:
    """The values of every output, in the order of _Shown."""
    counts, parts = comparison.counts(chosen), comparison.part_counts(chosen)
    page = comparison.page(chosen, parts[chosen.part])
    limits, axes = (chosen.a, chosen.b), comparison.axes
    return [
        charts.split(counts.tally(0)),
        charts.split(counts.tally(1)),
        scatter(comparison.density(chosen.synthetic), BINS, axes, limits, counts, chosen.box),
        sources_line(*map(comparing.words_of, comparison.columns)) + counts_panel(counts, comparison.alone, comparison.other_bytes),
        gr.update(choices=[(f"{part} · {n:,}", part) for part, n in parts.items()], value=chosen.part),
        gr.update(visible=chosen.box is not None),
        where_line(page),
        gr.update(interactive=page.number > 0),
        gr.update(interactive=page.number + 1 < page.pages),
        pair_cards(page, limits, axes, lambda pair: comparing.picture(comparison, pair), comparison.pairs),
        page.number,
    ]


def _opened(comparing: Comparing, typed: str) -> list[Any]:
    """The choices with one more ledger, or why it cannot be opened."""
    try:
        name = comparing.add(typed)
    except InputError as error:
        return [gr.skip(), gr.skip(), f'<p class="quiet" role="status">{escape(str(error))}</p>']
    choices = comparing.choices()
    said = f'<p class="quiet" role="status">{escape(name)} is open; choose it as A or B.</p>'
    return [gr.update(choices=choices), gr.update(choices=choices), said]
