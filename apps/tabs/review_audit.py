"""The blind audit in the room "Review": a drawn sample, judged without scores, and what that says of the filter."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from apps import audit_cards
from apps.blind import Audit, Draw
from apps.review_cards import notice
from apps.reviewing import Desk
from apps.reviews import Changed
from apps.tabs.limits import within
from apps.theme import in_turn, text
from apps.undoing import Said, last, without
from blip.errors import InputError

_IN_TURN = in_turn("audit")

_SHOWN = "(...all) => [...all.slice(0, -1), auditShown()]"
_ANOTHER = "Another draw, by the thresholds, number and seed of now; the answers of the one before are kept, and come back with its numbers."
_ANSWERS = {"Yes · Y": "yes", "No · N": "no", "Unsure · U": "unsure"}


@dataclass(frozen=True)
class _Seen:
    """The question that was on the screen: its caption, the version of its answer, its number and its draw."""

    row_id: str
    version: int
    number: int
    which: Draw


def build(desk: Desk, tab: gr.Tab, web: gr.Number, synthetic: gr.Number, reviewer: gr.Textbox) -> None:
    """Lay the audit out and wire it, inside the tab that is open."""
    done, on_screen = gr.State([]), gr.Textbox(label="shown", visible="hidden")
    with gr.Row(elem_classes="toolbar"):
        size = gr.Number(100, label="Captions to draw", precision=0, min_width=0, elem_id="audit-size")
        seed = gr.Number(0, label="Seed of the draw", precision=0, min_width=0, elem_id="audit-seed")
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

    def step(by: int) -> Callable[..., list[Any]]:
        return lambda *values: stepped(desk, audit, values, by)

    def say(word: str) -> Callable[..., list[Any]]:
        return lambda *values: answered(desk, audit, values, word)

    actions = {back: step(-1), on: step(+1), undo: lambda *values: undone(desk, audit, values)}
    actions |= {answers[word]: say(word) for word in answers}
    for button, action in actions.items():
        button.click(_hiding(action), inputs, [*outputs, pane], js=_SHOWN, **_IN_TURN)
    changes = [tab.select, web.change, synthetic.change, size.change, seed.change]
    gr.on(changes, _hiding(step(0)), inputs, [*outputs, pane], trigger_mode="always_last", js=_SHOWN, **_IN_TURN)
    estimate.click(_estimated(audit), inputs, [pane, result, said], **_IN_TURN)


def _hiding(action: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """The action; estimates that are shown go: they are those of the answers that were there."""
    return lambda *values: [*action(*values), gr.update(visible=False)]


def stepped(desk: Desk, audit: Audit, values: tuple[Any, ...], by: int) -> list[Any]:
    """So many captions on; where the draw is another than that on the screen, to its first without an answer."""
    seen = _seen(values)
    try:
        which = _draw(values)
        if seen and seen.which == which:
            return _answer(desk, audit, which, seen.number + by)
        said = notice(_ANOTHER, "done") if seen else ""
        return _answer(desk, audit, which, audit.next_open(which, -1), said=said)
    except InputError as error:
        return _refused(error)


def answered(desk: Desk, audit: Audit, values: tuple[Any, ...], word: str) -> list[Any]:
    """Answer on the caption that was on the screen, in its own draw, and go on to the next open one."""
    reviewer, done, _ = values[4:]
    seen = _seen(values)
    if seen is None:
        return [gr.skip()] * 4
    try:
        saved = audit.answer(seen.which, seen.row_id, word, reviewer=reviewer, seen=seen.version)
    except Changed as error:
        # A key that was hit twice goes on to the next caption, and answers neither again.
        mine = error.newer.by == reviewer.strip()
        return _after(desk, audit, values, seen, on=mine, said=notice(error.own() if mine else str(error), "refused"))
    except InputError as error:
        return _after(desk, audit, values, seen, on=False, said=notice(str(error), "refused"))
    return _after(desk, audit, values, seen, on=True, done=[*done, Said.of(saved, seen.which.sheet)])


def undone(desk: Desk, audit: Audit, values: tuple[Any, ...]) -> list[Any]:
    """Take back the last answer in the draw that is asked for since the page was opened, and go to its caption."""
    reviewer, done, _ = values[4:]
    try:
        which = _draw(values)
        own = last(done, which.sheet)
        if own is None:
            return _told(notice("There is nothing to undo in this draw since you opened the page."))
        try:
            left, said = without(done, own, audit.undo(own, reviewer=reviewer)), ""
        except Changed as error:
            left, said = without(done, own), notice(str(error), "refused")
        return _answer(desk, audit, which, audit.number(which, own.row_id) or 0, done=left, said=said)
    except InputError as error:
        return _told(notice(str(error), "refused"))


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
    if size < 2 or seed < 0:
        raise InputError("An audit draws 2 captions or more, by a seed of 0 or more; change the numbers above.")
    return Draw(web=within(web), synthetic=within(synthetic), size=int(size), seed=int(seed))


def _seen(values: tuple[Any, ...]) -> _Seen | None:
    """What was on the screen; None where nothing was."""
    words = values[-1].split()
    if len(words) != 7:
        return None
    row_id, version, number, web, synthetic, size, seed = words
    which = Draw(web=float(web), synthetic=float(synthetic), size=int(size), seed=int(seed))
    return _Seen(row_id, int(version), int(number), which)


def _after(
    desk: Desk, audit: Audit, values: tuple[Any, ...], seen: _Seen, *, on: bool, done: Any = None, said: str = ""
) -> list[Any]:
    """The caption that was on the screen, or the next open one; in another draw, if that is asked for by now."""
    try:
        which = _draw(values)
        if which == seen.which:
            return _answer(desk, audit, which, audit.next_open(which, seen.number) if on else seen.number, done=done, said=said)
        said = said or notice("Your answer is saved in the draw that you saw; this is another one.", "done")
        return _answer(desk, audit, which, audit.next_open(which, -1), done=done, said=said)
    except InputError as error:
        return _refused(error, done)


def _answer(desk: Desk, audit: Audit, which: Draw, number: int, *, done: Any = None, said: str = "") -> list[Any]:
    asked, captions = audit.question(which, number), audit.captions(which)
    answers = audit.answers(which)
    if not said and not answers[""]:
        said = notice("Every caption has an answer; show the estimates.", "done")
    where = audit_cards.progress(asked, captions, answers)
    question = audit_cards.question(which, asked, desk.service.large_picture(asked.image))
    return [where, question, said, gr.skip() if done is None else done]


def _told(said: str) -> list[Any]:
    """A sentence, and all else as it is."""
    return [gr.skip(), gr.skip(), said, gr.skip()]


def _refused(error: InputError, done: Any = None) -> list[Any]:
    return ["", "", notice(str(error), "refused"), gr.skip() if done is None else done]
