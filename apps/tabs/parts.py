"""What the rooms' layouts share."""

from collections.abc import Callable
from typing import Any

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

from apps.theme import QUIETLY


def parts(of: Any) -> list[Any]:
    """The components of a room's inputs or outputs, a frozen dataclass, in the order in which handlers get them."""
    return list(vars(of).values())


def when_first_opened(tab: gr.Tab, demo: gr.Blocks, build: Callable[[list[Any]], None]) -> None:
    """Lay a room out in its tab, which is open, when a person first looks into it.

    A page's first view takes the longer the more parts it has, seen or not. build gets the events that say that
    a person has come into the room: the first time, and again.
    """
    opened = gr.State(False)
    tab.select(lambda: True, None, opened, **QUIETLY)

    @gr.render(triggers=[opened.change], concurrency_limit=1)
    def lay_out() -> None:
        with gr.Column() as column:
            build([demo.load, tab.select])
        _free(column)


def _free(block: Block) -> None:
    """Let people change every part: of what is laid out late, Gradio's page does not see which are inputs."""
    if isinstance(block, Component) and block.interactive is None:
        block.interactive = True
    for part in getattr(block, "children", []):
        _free(part)
