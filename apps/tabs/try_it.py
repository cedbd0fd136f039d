"""The room "Try it": an image of one's own, its captions token by token, texts against it, and where the filter looks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from apps.service import Service
from apps.tabs.limits import Limits
from apps.tabs.try_it_answers import LEDGER, METHODS, SCENES, Answers
from apps.theme import BUSY, in_turn, text
from apps.trials import Draw
from apps.trying import SCENES as SCENES_LEVEL
from apps.trying import Workbench
from blip.explain import default_layer
from lab.world.levels import level

_WORLD = level(SCENES_LEVEL)
TEXTS = "\n".join(f"a {colour} {kind}" for colour, kind in zip(_WORLD.colour_names[:3], _WORLD.kind_names, strict=False))
"""What is ranked at first: texts that the generated world and its weights know."""

# What is shown of an image: its own line each, so that the quick need not wait for the slow.
_IMAGE = in_turn("try-image")
_CAPTIONS, _MATCH, _LOOK, _ASK = (in_turn(f"try-{name}", BUSY) for name in ("captions", "match", "look", "ask"))


@dataclass(frozen=True)
class _Parts:
    """Inputs and outputs of the room."""

    chosen: gr.State
    file: gr.File
    source: gr.Radio
    picks: gr.HTML
    pick: gr.Textbox
    page: gr.State
    back: gr.Button
    on: gr.Button
    portrait: gr.HTML
    draw: Sequence[Any]
    again: gr.Button
    said: gr.HTML
    texts: gr.Textbox
    ranking: gr.HTML
    looked_at: gr.Dropdown
    method: gr.Radio
    layer: gr.Dropdown
    heat: gr.HTML
    question: gr.Textbox
    answers: gr.HTML


def build(service: Service, workbench: Workbench, entered: Sequence[Any], limits: Limits) -> None:
    """Lay the room out and wire it, inside its own open tab; nothing is computed before the tab is chosen.

    limits: those of the room Decisions decide which captions are called kept.
    """
    with gr.Row(elem_classes=["room", "trying"], equal_height=False):
        with gr.Column(elem_classes="side", min_width=0):
            image = _image()
        with gr.Column(elem_classes="images", min_width=0):
            with gr.Column(elem_classes=["pane", "decoding"]):
                drawn = _drawn()
            with gr.Column(elem_classes="pane"):
                looked = _looked(workbench)
            with gr.Row(elem_classes="pair", equal_height=True):
                with gr.Column(elem_classes="pane", min_width=0):
                    ranked = _ranked()
                with gr.Column(elem_classes="pane", min_width=0):
                    asked = _asked(workbench)
    parts = _Parts(**image, **drawn, **ranked, **looked, **asked)
    _wire(Answers(service, workbench), entered, parts, limits)


def _image() -> dict[str, Any]:
    with gr.Column(elem_classes=["pane", "subject"]):
        portrait = text(elem_id="portrait")
        file = gr.File(label="Drop, paste or choose an image", type="binary", height=92, elem_id="try-file")
        source = gr.Radio([LEDGER, SCENES], value=LEDGER, label="Or pick one", elem_classes="views")
        picks = text(elem_id="picks")
        # The number of an image that is picked: apps/studio.js writes it here.
        pick = gr.Textbox(label="Picked image", visible="hidden", elem_id="try-pick")
        with gr.Row(elem_classes="pager"):
            back = gr.Button("←", min_width=0, elem_id="picks-back")
            on = gr.Button("More →", min_width=0, elem_id="picks-on")
    named = {"portrait": portrait, "file": file, "source": source, "picks": picks, "pick": pick, "back": back, "on": on}
    return named | {"chosen": gr.State(None), "page": gr.State(0)}


def _drawn() -> dict[str, Any]:
    usual = Draw()
    plain: dict[str, Any] = {"buttons": [], "min_width": 0}
    text("<h3>Captions, and the probability of each token</h3>")
    with gr.Row(elem_classes="controls"):
        sliders = [
            gr.Slider(0.05, 1, value=usual.top_p, step=0.05, label="Nucleus p", **plain),
            gr.Slider(0.1, 2, value=usual.temperature, step=0.1, label="Temperature", **plain),
            gr.Slider(1, 6, value=usual.draws, step=1, label="Draws", precision=0, **plain),
            gr.Slider(1, 8, value=usual.beams, step=1, label="Beams", precision=0, **plain),
        ]
        seed = gr.Number(usual.seed, label="Seed", precision=0, minimum=0, maximum=2**31 - 1, min_width=0)
        again = gr.Button("Draw again", min_width=0, elem_id="draw-again")
    return {"draw": [*sliders, seed], "again": again, "said": text(elem_id="said")}


def _ranked() -> dict[str, Any]:
    text("<h3>Texts against the image</h3>")
    texts = gr.Textbox(TEXTS, label="One text a line", lines=3, max_lines=8, max_length=4000, elem_id="texts")
    return {"texts": texts, "ranking": text(elem_id="ranking")}


def _looked(workbench: Workbench) -> dict[str, Any]:
    depth = max(1, workbench.layers)
    text("<h3>Where the filter looks</h3>")
    with gr.Row(elem_classes="toolbar"):
        looked_at = gr.Dropdown([], label="Caption, or a text of your own", allow_custom_value=True, scale=4, min_width=0, elem_id="looked-at")
        layers = [(f"{number + 1} of {depth}", number) for number in range(depth)]
        layer = gr.Dropdown(layers, value=default_layer(depth), label="Text layer", scale=1, min_width=96)
    method = gr.Radio(list(METHODS), value=next(iter(METHODS)), label="Heat map", elem_classes="views")
    return {"looked_at": looked_at, "method": method, "layer": layer, "heat": text(elem_id="heat")}


def _asked(workbench: Workbench) -> dict[str, Any]:
    text("<h3>A question</h3>")
    hint = "for example: what colour is the ball?"
    known = workbench.models.vqa is not None
    question = gr.Textbox(label="Question", placeholder=hint, max_length=300, visible=known, elem_id="question")
    return {"question": question, "answers": text(elem_id="answers")}


def _wire(answer: Answers, entered: Sequence[Any], parts: _Parts, limits: Limits) -> None:
    chosen, where = [parts.chosen, parts.portrait], [parts.source, parts.page]
    introduced = ([parts.chosen, *limits.both, *parts.draw], [parts.said, parts.looked_at])
    drawn = ([parts.chosen, parts.looked_at, *limits.both, *parts.draw], [parts.said, parts.looked_at])
    matched = ([parts.chosen, limits.synthetic, parts.texts], [parts.ranking])
    looked = ([parts.chosen, parts.looked_at, parts.method, parts.layer], [parts.heat])
    asked = ([parts.chosen, parts.question], [parts.answers])

    def follow(event: Any, again: bool = False) -> None:
        """All that is said of an image, once it is there; again: of the one that was there, what is looked at stays."""
        event = event.then(answer.draw, *drawn, **_CAPTIONS) if again else event.then(answer.introduce, *introduced, **_CAPTIONS)
        event = event.then(answer.match, *matched, **_MATCH)
        event.then(answer.look, *looked, **_LOOK).then(answer.ask, *asked, **_ASK)

    follow(gr.on(entered, answer.begin, [parts.chosen, *where], [*chosen, parts.picks, parts.back], **_IMAGE), again=True)
    follow(parts.file.upload(answer.upload, [parts.file, parts.chosen], [*chosen, parts.file], **_IMAGE))
    follow(parts.pick.change(answer.pick, [parts.pick, parts.source, parts.chosen], chosen, **_IMAGE))
    pages = [parts.picks, parts.page, parts.back, parts.on]
    parts.source.input(lambda source: answer.turn(source, 0), [parts.source], pages, **_IMAGE)
    parts.back.click(lambda source, page: answer.turn(source, page - 1), where, pages, **_IMAGE)
    parts.on.click(lambda source, page: answer.turn(source, page + 1), where, pages, **_IMAGE)
    seed = parts.draw[-1]
    gr.on([part.change for part in parts.draw], answer.draw, *drawn, trigger_mode="always_last", **_CAPTIONS)
    parts.again.click(lambda number: int(number or 0) + 1, [seed], [seed], **_CAPTIONS)
    parts.texts.change(answer.match, *matched, trigger_mode="always_last", **_MATCH)
    looks = [parts.looked_at.input, parts.method.input, parts.layer.input]
    gr.on(looks, answer.look, *looked, trigger_mode="always_last", **_LOOK)
    parts.question.submit(answer.ask, *asked, **_ASK)
