"""The studio: one window with a tab a room. Layout only; every answer comes from the service."""

from html import escape
from pathlib import Path

import gradio as gr

from apps.links import ROOM
from apps.rooms import Rooms
from apps.service import Service
from apps.tabs import claims, compare, decisions, review, run, search, try_it
from apps.tabs.parts import when_first_opened
from apps.theme import text
from lab.runs import Home


def studio(rooms: Rooms, up: str = "") -> gr.Blocks:
    """The studio over an opened ledger and models, ready to launch with the look of apps/theme.py.

    up: the way to the address of the studio that it is mounted in, where it is.
    """
    # Uploaded files go after an hour.
    with gr.Blocks(title="BLIP Lab Studio", analytics_enabled=False, fill_width=True, delete_cache=(600, 3600)) as demo:
        text(_banner(rooms.service, up), elem_id="banner")
        with gr.Tabs(elem_classes="rooms") as tabs:
            with gr.Tab("Decisions"):
                decisions.build(rooms.service, demo, rooms.policy)
            with gr.Tab("Review", id=ROOM) as reviewing:
                when_first_opened(reviewing, demo, lambda _: review.build(rooms.desk, demo))
            with gr.Tab("Compare") as comparison:
                when_first_opened(comparison, demo, lambda entered: compare.build(rooms.comparing, entered))
            with gr.Tab("Search") as finding:
                when_first_opened(finding, demo, lambda entered: search.build(rooms.searching, entered))
            with gr.Tab("Try it") as trying:
                when_first_opened(trying, demo, lambda entered: try_it.build(rooms.service, rooms.workbench, entered))
            with gr.Tab("Run") as starting:
                when_first_opened(starting, demo, lambda entered: run.build(rooms.running, entered, up))
            with gr.Tab("Claims") as deciding:
                when_first_opened(deciding, demo, lambda entered: claims.build(Home.default(), entered))
        review.follow_links(demo, tabs)
    return demo


def _banner(service: Service, up: str) -> str:
    ledger = service.ledger
    folder = Path(ledger.folder).resolve()
    name, captioner = "/".join(folder.parts[-2:]), ledger.about.get("captioner", "")
    back = f'<a href="{up}">← The first ledger</a>' if up else ""
    return (
        "<h1>BLIP Lab <span>Studio</span></h1>"
        f'<dl>{back}<div><dt>ledger</dt><dd title="{escape(str(folder))}">{escape(name)}</dd></div>'
        f"<div><dt>images</dt><dd>{service.images:,}</dd></div>"
        f'<div><dt>captioner</dt><dd title="{escape(captioner)}">{escape(captioner)}</dd></div></dl>'
    )
