"""The studio: one window with a tab a room. Layout only; every answer comes from the service."""

from typing import Any

import gradio as gr

from apps.banner import banner
from apps.links import ROOM
from apps.rooms import Rooms
from apps.tabs import claims, compare, decisions, review, run, search, try_it
from apps.tabs.parts import when_first_opened
from apps.theme import QUIETLY, text
from lab.runs import Home


def studio(rooms: Rooms, up: str = "") -> gr.Blocks:
    """The studio over an opened ledger and models, ready to launch with the look of apps/theme.py.

    up: the way to the address of the studio that it is mounted in, where it is.
    """
    # Uploaded files go after an hour.
    with gr.Blocks(title="BLIP Lab Studio", analytics_enabled=False, fill_width=True, delete_cache=(600, 3600)) as demo:
        text(banner(rooms.service, rooms.policy, _captioner(rooms), up), elem_id="banner")
        with gr.Tabs(elem_classes="rooms") as tabs:
            with gr.Tab("Decisions", id="decisions") as deciding:
                limits = decisions.build(rooms.service, demo, rooms.policy, [deciding.select])
            with gr.Tab("Review", id=ROOM) as reviewing:
                when_first_opened(reviewing, demo, lambda _: review.build(rooms.desk, demo, [reviewing.select], limits))
            with gr.Tab("Compare", id="compare") as comparison:
                when_first_opened(comparison, demo, lambda entered: compare.build(rooms.comparing, entered))
            with gr.Tab("Search", id="search") as finding:
                when_first_opened(finding, demo, lambda entered: search.build(rooms.searching, entered, rooms.policy, limits))
            with gr.Tab("Try it", id="try-it") as trying:
                when_first_opened(trying, demo, lambda entered: try_it.build(rooms.service, rooms.workbench, entered, limits))
            with gr.Tab("Run", id="run") as starting:
                when_first_opened(starting, demo, lambda entered: run.build(rooms.running, entered, up))
            with gr.Tab("Claims", id="claims") as claiming:
                when_first_opened(claiming, demo, lambda entered: claims.build(Home.default(), entered))
        _follow_links(demo, tabs)
    return demo


def _follow_links(demo: gr.Blocks, tabs: gr.Tabs) -> None:
    """The room that the address names is the one that is open at first. Ids of rooms are their names as links have them."""
    known = {tab.id for tab in tabs.children if isinstance(tab, gr.Tab)}

    def select(request: gr.Request) -> Any:
        room = request.query_params.get("room")
        return gr.Tabs(selected=room) if room in known else gr.skip()

    demo.load(select, None, tabs, **QUIETLY)


def _captioner(rooms: Rooms) -> dict[str, str]:
    """The source of the captioner that is open, by its fingerprint."""
    opened = rooms.workbench.models.captioner
    return {opened.fingerprint: rooms.running.weights.captioner} if opened else {}
