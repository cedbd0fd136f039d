"""The studio: one window with a tab a room. Layout only; every answer comes from the service."""

from html import escape

import gradio as gr

from apps.service import Service
from apps.tabs import decisions
from apps.theme import text


def studio(service: Service) -> gr.Blocks:
    """The studio over an opened ledger, ready to launch with the look of apps/theme.py."""
    with gr.Blocks(title="BLIP Lab Studio", analytics_enabled=False, fill_width=True) as demo:
        text(_banner(service), elem_id="banner")
        with gr.Tabs(), gr.Tab("Decisions"):
            decisions.build(service, demo)
    return demo


def _banner(service: Service) -> str:
    ledger = service.ledger
    folder = ledger.folder.resolve()
    name, captioner = "/".join(folder.parts[-2:]), ledger.about.get("captioner", "")
    return (
        "<h1>BLIP Lab <span>Studio</span></h1>"
        f'<dl><div><dt>ledger</dt><dd title="{escape(str(folder))}">{escape(name)}</dd></div>'
        f"<div><dt>images</dt><dd>{service.images:,}</dd></div>"
        f'<div><dt>captioner</dt><dd title="{escape(captioner)}">{escape(captioner)}</dd></div></dl>'
    )
