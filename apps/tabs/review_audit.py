"""The blind audit in the room "Review": a drawn sample, judged without scores, and what that says of the filter."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from apps import audit_cards
from apps.blind import Audit, Draw
from apps.review_cards import notice
from apps.reviewing import Desk
from apps.reviews import Changed
from apps.theme import in_turn, text
from blip.errors import InputError

_IN_TURN = in_turn("audit")

_SHOWN = "(...all) => [...all.slice(0, -1), auditShown()]"
_ANSWERS = {"Yes · Y": "yes", "No · N": "no", "Unsure · U": "unsure"}


def build(desk: Desk, tab: gr.Tab, web: gr.Number, synthetic: gr.Number, reviewer: gr.Textbox) -> None:
    """Lay the audit out and wire it, inside the tab that is open."""
    done, on_screen = gr.State([]), gr.Textbox(label="shown", visible="hidden")
    with gr.Row(elem_classes="toolbar"):
        size = gr.Number(100, label="Captions to draw", precision=0, minimum=1, min_width=0, elem_id="audit-size")
        seed = gr.Number(0, label="Seed of the draw", precision=0, minimum=0, min_width=0, elem_id="audit-seed")
    with gr.Row(elem_classes="pager"):
        where = text(elem_id="audit-where", elem_classes="where")
    question = text(elem_id="audit-question")
    with gr.Row(elem_classes="verdicts"):
        answers = {word: gr.Button(label, min_width=0, scale=0, elem_id=f"audit-{word}") for label, word in _ANSWERS.items()}
        undo = gr.Button("Undo · Z", min_width=0, scale=0, elem_id="audit-undo")
        back = gr.Button("Previous · ↑", min_width=0, scale=0, elem_id="audit-previous")
        on = gr.Button("Next · ↓", min_width=0, scale=0, elem_id="audit-next")
    said = text(elem_id="audit-notice")
    estimate = gr.Button("Show the estimates", min_width=0, elem_id="audit-estimate", elem_classes="plain")
    with gr.Column(elem_classes="pane", visible=False) as pane:
        result = text(elem_id="audit-result")
    audit = Audit(desk.service, desk.reviews)
    inputs = [web, synthetic, size, seed, reviewer, done, on_screen]
    outputs = [where, question, said, done]
    steps = {back: _step(desk, audit, -1), on: _step(desk, audit, +1), undo: _undo(desk, audit)}
    steps |= {answers[word]: _say(desk, audit, word) for word in answers}
    for button, action in steps.items():
        button.click(action, inputs, outputs, js=_SHOWN, **_IN_TURN)
    changes = [tab.select, web.change, synthetic.change, size.change, seed.change]
    gr.on(changes, _step(desk, audit, 0), inputs, outputs, trigger_mode="always_last", js=_SHOWN, **_IN_TURN)
    estimate.click(_estimated(audit), inputs, [pane, result, said], **_IN_TURN)


def _step(desk: Desk, audit: Audit, by: int) -> Callable[..., list[Any]]:
    """So many captions on; from where nothing was shown yet, to the first without an answer."""

    def step(*values: Any) -> list[Any]:
        number = _number(values)
        try:
            which = _draw(values)
            number = audit.next_open(which, -1) if number is None else number + by
            return _answer(desk, audit, which, number)
        except InputError as error:
            return _refused(error)

    return step


def _say(desk: Desk, audit: Audit, word: str) -> Callable[..., list[Any]]:
    def say(*values: Any) -> list[Any]:
        reviewer, done, on_screen = values[4:]
        if _number(values) is None:
            return [gr.skip()] * 4
        row, version, number = on_screen.split()
        try:
            which = _draw(values)
            saved = audit.answer(which, row, word, reviewer=reviewer, seen=int(version))
        except Changed as error:
            # A key that was hit twice goes on to the next caption, and answers neither again.
            mine = error.newer.reviewer == reviewer.strip()
            after = audit.next_open(which, int(number)) if mine else int(number)
            return _answer(desk, audit, which, after, said=notice(str(error), "refused"))
        except InputError as error:
            return _still(desk, audit, values, error)
        done = [*done, (which, row, saved.version, int(number))]
        return _answer(desk, audit, which, audit.next_open(which, int(number)), done=done)

    return say


def _undo(desk: Desk, audit: Audit) -> Callable[..., list[Any]]:
    def undo(*values: Any) -> list[Any]:
        reviewer, done, _ = values[4:]
        if not done:
            return [gr.skip(), gr.skip(), notice("There is nothing to undo since you opened the page."), gr.skip()]
        *left, (which, row, version, number) = done
        try:
            audit.undo(which, row, reviewer=reviewer, version=version)
        except InputError as error:
            return _still(desk, audit, values, error)
        return _answer(desk, audit, which, number, done=left)

    return undo


def _estimated(audit: Audit) -> Callable[..., list[Any]]:
    def estimated(*values: Any) -> list[Any]:
        try:
            which = _draw(values)
            return [gr.update(visible=True), audit_cards.result(audit.result(which), which), ""]
        except InputError as error:
            return [gr.update(visible=False), "", notice(str(error), "refused")]

    return estimated


def _draw(values: tuple[Any, ...]) -> Draw:
    if any(value is None for value in values[:4]):
        raise InputError("An audit needs both thresholds, a number of captions and a seed; fill them in.")
    web, synthetic, size, seed = values[:4]
    return Draw(web=web, synthetic=synthetic, size=int(size), seed=int(seed))


def _number(values: tuple[Any, ...]) -> int | None:
    shown = values[-1].split()
    return int(shown[2]) if len(shown) == 3 else None


def _answer(desk: Desk, audit: Audit, which: Draw, number: int, *, done: Any = None, said: str = "") -> list[Any]:
    asked, captions = audit.question(which, number), audit.captions(which)
    answers = audit.answers(which)
    if not said and not answers[""]:
        said = notice("Every caption has an answer; show the estimates.", "done")
    where = audit_cards.progress(asked, captions, answers)
    question = audit_cards.question(asked, desk.service.large_picture(asked.image))
    return [where, question, said, gr.skip() if done is None else done]


def _still(desk: Desk, audit: Audit, values: tuple[Any, ...], error: InputError) -> list[Any]:
    """The caption that was on the screen, with the newer word on it, and why nothing was saved."""
    try:
        return _answer(desk, audit, _draw(values), _number(values) or 0, said=notice(str(error), "refused"))
    except InputError as worse:
        return _refused(worse)


def _refused(error: InputError) -> list[Any]:
    return ["", "", notice(str(error), "refused"), gr.skip()]
