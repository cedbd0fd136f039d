"""The room "Claims": what the records decide of the paper's claims, and the trainings behind them while they run."""

from collections.abc import Sequence
from html import escape
from typing import Any

import gradio as gr

from apps import experiment_charts as charts
from apps.experiments import Training, curves, questions, trainings
from apps.theme import in_turn, text
from blip.errors import InputError
from lab.runs import RUNNING, Home

_IN_TURN = in_turn("claims")

_READING = '<p class="quiet" role="status">Reading the records…</p>'
_SECONDS = 5  # between two looks at the runs while one trains


def build(home: Home, entered: Sequence[Any]) -> None:
    """Lay the room out and wire it, inside the tab that is open; runs are read when the tab is shown."""
    with gr.Row(elem_classes=["room", "experiments"], equal_height=False):
        with gr.Column(elem_classes="images", min_width=0):
            decided = text(_READING, elem_id="claims")
        with gr.Column(elem_classes=["side", "trainings"], min_width=0), gr.Column(elem_classes="pane"):
            table = text(elem_id="runs")
            run = gr.Dropdown([], label="Training", elem_id="training", visible=False)
            drawn = text(elem_id="losses")
    timer = gr.Timer(_SECONDS, active=False)

    def show(chosen: str | None) -> list[Any]:
        return [_claims(), *_runs(home, chosen)]

    def again(chosen: str | None) -> list[Any]:
        return _runs(home, chosen)

    live = [table, run, drawn, timer]
    gr.on(entered, show, run, [decided, *live], **_IN_TURN)
    timer.tick(again, run, live, **_IN_TURN)
    run.input(lambda chosen: _losses(home, chosen), run, drawn, **_IN_TURN)


def _claims() -> str:
    try:
        found = questions()
    except InputError as error:
        return f'<div class="empty"><b>The records cannot be read.</b>{escape(str(error))}</div>'
    return charts.summary(found) + charts.claims(found)


def _runs(home: Home, chosen: str | None) -> list[Any]:
    """Values of the table, the choice, the curves and the timer, which sleeps while nothing trains."""
    found = trainings(home)
    names = [one.id for one in found]
    at = chosen if chosen in names else next(iter(names), None)
    choice = gr.update(choices=names, value=at, visible=bool(names))
    return [_head(found) + charts.runs(found), choice, _losses(home, at), gr.update(active=_any_running(found))]


def _head(found: list[Training]) -> str:
    running = sum(one.state == RUNNING for one in found)
    others = len(found) - running
    return f'<h3>Trainings<span class="quiet">{running} running, {others} other{"" if others == 1 else "s"}</span></h3>'


def _losses(home: Home, run: str | None) -> str:
    return charts.losses(curves(home, run)) if run else ""


def _any_running(found: list[Training]) -> bool:
    return any(one.state == RUNNING for one in found)
