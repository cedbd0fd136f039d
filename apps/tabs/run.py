"""The room "Run": CapFilt over one's own pairs, as jobs that go on while nobody looks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from apps.job_cards import board, refused
from apps.running import Running
from apps.tabs.parts import parts
from apps.theme import in_turn, text
from apps.wanted import Wanted
from blip.errors import InputError
from blip.generate import Decoding

_IN_TURN = in_turn("run")
_SECONDS = 2  # between two looks at the jobs while one waits or runs
_NUCLEUS, _BEAM = "Nucleus", "Beam"
_KINDS = "a folder, shards/*.tar, pairs.json, .csv, .parquet"


@dataclass(frozen=True)
class _Asked:
    """The inputs of a new job, in the order in which handlers get their values."""

    data: gr.Textbox
    captioner: gr.Textbox
    filter: gr.Textbox
    strategy: gr.Radio
    top_p: gr.Slider
    beams: gr.Slider
    candidates: gr.Number
    threshold: gr.Number
    batch: gr.Number
    first: gr.Textbox
    out: gr.Textbox


@dataclass(frozen=True)
class _Shown:
    """What a handler changes: a sentence, the jobs, and the timer, which sleeps while none is alive."""

    notice: gr.HTML
    jobs: gr.HTML
    timer: gr.Timer


def build(running: Running, entered: Sequence[Any], up: str) -> None:
    """Lay the room out and wire it, inside the tab that is open; jobs are read when the tab is shown.

    up: the way from the page to the studio's own address.
    """
    with gr.Row(elem_classes=["room", "running"], equal_height=False):
        with gr.Column(elem_classes="side", min_width=0), gr.Column(elem_classes=["pane", "asking"]):
            text("<h3>A new job</h3>")
            asked = _new_job(running)
            start = gr.Button("Start", variant="secondary", min_width=0, elem_id="run-start")
            notice = text(elem_id="run-notice")
        with gr.Column(elem_classes="images", min_width=0):
            jobs = text(elem_id="run-jobs")
    # What a card's button says: apps/studio.js writes it here.
    action = gr.Textbox(label="Job and what to do", visible="hidden", elem_id="run-action")
    shown = _Shown(notice, jobs, gr.Timer(_SECONDS, active=False))
    _wire(running, entered, up, (asked, start, action), shown)


def _new_job(running: Running) -> _Asked:
    usual, known = Decoding(), running.weights
    plain: dict[str, Any] = {"min_width": 0, "max_lines": 1, "max_length": 4000}
    whole: dict[str, Any] = {"min_width": 0, "precision": 0}  # limits are checked with everything else, and told in a sentence
    data = gr.Textbox(label="Pairs", placeholder=_KINDS, elem_id="run-data", **plain)
    out = gr.Textbox(label="Ledger, a new folder", elem_id="run-out", **plain)
    hint = "path of weights, or hf:NAME"
    captioner = gr.Textbox(known.captioner, label="Captioner", placeholder=hint, elem_id="run-captioner", **plain)
    filter = gr.Textbox(known.filter, label="Filter", placeholder=hint, elem_id="run-filter", **plain)
    strategy = gr.Radio([_NUCLEUS, _BEAM], value=_NUCLEUS, label="Decoding", elem_classes="views", elem_id="run-decoding")
    with gr.Row(elem_classes="controls"):
        top_p = gr.Slider(0.05, 1, value=usual.top_p, step=0.05, label="Nucleus p", buttons=[], min_width=0)
        beams = gr.Slider(1, 8, value=usual.num_beams, step=1, label="Beams", buttons=[], min_width=0, visible=False)
    with gr.Row(elem_classes="pairwise"):
        candidates = gr.Number(usual.candidates, label="Captions an image", elem_id="run-candidates", **whole)
        first = gr.Textbox(label="First images", placeholder="all", elem_id="run-first", **plain | {"max_length": 12})
    with gr.Row(elem_classes="pairwise"):
        threshold = gr.Number(Wanted.threshold, label="Threshold", step=0.01, min_width=0, elem_id="run-threshold")
        batch = gr.Number(Wanted.batch, label="Batch", elem_id="run-batch", **whole)
    choice = [gr.update(visible=True), gr.update(visible=False)]
    strategy.change(lambda chosen: choice if chosen == _NUCLEUS else choice[::-1], [strategy], [top_p, beams], **_IN_TURN)
    return _Asked(data, captioner, filter, strategy, top_p, beams, candidates, threshold, batch, first, out)


def _wire(
    running: Running, entered: Sequence[Any], up: str, asking: tuple[_Asked, gr.Button, gr.Textbox], shown: _Shown
) -> None:
    asked, start, action = asking
    outputs = parts(shown)

    def show(out: str) -> list[Any]:
        return [*_answer(running, up), out or running.folder()]

    def begin(*values: Any) -> list[Any]:
        try:
            running.start(_wanted(values))
        except InputError as error:
            return [*_answer(running, up, str(error)), values[-1]]
        return [*_answer(running, up), running.folder()]

    def act(words: str) -> list[Any]:
        try:
            running.act(words)
        except InputError as error:
            return _answer(running, up, str(error))
        return _answer(running, up)

    gr.on(entered, show, [asked.out], [*outputs, asked.out], **_IN_TURN)
    shown.timer.tick(lambda: _answer(running, up)[1:], None, outputs[1:], **_IN_TURN)
    start.click(begin, parts(asked), [*outputs, asked.out], **_IN_TURN)
    action.change(act, [action], outputs, **_IN_TURN)


def _wanted(values: tuple[Any, ...]) -> Wanted:
    """What the inputs say, in the order of _Asked; an emptied number is as good as a wrong one."""
    data, captioner, filter, strategy, top_p, beams, candidates, threshold, batch, first, out = values
    decoding = Decoding(
        strategy="beam" if strategy == _BEAM else "nucleus",
        top_p=float(top_p or 0),
        num_beams=int(beams or 0),
        candidates=int(candidates or 0),
    )
    return Wanted(
        data=data or "",
        captioner=captioner or "",
        filter=filter or "",
        out=out or "",
        decoding=decoding,
        batch=int(batch or 0),
        threshold=Wanted.threshold if threshold is None else float(threshold),
        first=_whole(first),
    )


def _whole(typed: str) -> int | None:
    if not (typed or "").strip():
        return None
    if not typed.strip().isdecimal():
        raise InputError(f"The first {typed.strip()!r} images cannot be; give a whole number, or nothing for all.")
    return int(typed)


def _answer(running: Running, up: str, sentence: str = "") -> list[Any]:
    """The values of every output, in the order of _Shown."""
    notice = refused(sentence) if sentence else ""
    try:
        jobs = running.board()
    except InputError as error:
        return [refused(str(error)), "", gr.update(active=False)]
    return [notice, board(jobs, up), gr.update(active=any(job.alive for job, _ in jobs))]
