"""The pane "Export" of the review: people's words into the ledger, and the kept pairs as a file."""

from typing import Any

import gradio as gr

from apps.exporting import Exported
from apps.review_cards import notice
from apps.reviewing import Desk
from apps.theme import text
from blip.capfilt import Policy
from blip.errors import InputError

_FORMS = {"Parquet with the pictures": "parquet", "BLIP list and pictures (zip)": "json"}


def build(desk: Desk, web: gr.Number, synthetic: gr.Number) -> None:
    """Lay the pane out and wire it."""
    with gr.Column(elem_classes=["pane", "export"]):
        text(
            "<h3>Export</h3><p>Writes the verdicts into the ledger’s overrides, then the pairs that are kept under "
            "these thresholds, as <code>lab ledger export</code> does.</p>"
        )
        form = gr.Dropdown(list(_FORMS.items()), value="parquet", label="Format", min_width=0)
        run = gr.Button("Write and export", elem_id="review-export", min_width=0)
        said = text(elem_id="review-exported")
        file = gr.DownloadButton("Download", visible=False, elem_id="review-download", min_width=0)

    def export(form: str, web: float | None, synthetic: float | None) -> list[Any]:
        if web is None or synthetic is None:
            return [notice("Give both thresholds first.", "refused"), gr.update(visible=False)]
        try:
            done = desk.export(Policy(web=web, synthetic=synthetic), form)
        except InputError as error:
            return [notice(str(error), "refused"), gr.update(visible=False)]
        return [notice(_said(done), "done"), gr.update(value=str(done.file), label=f"Download {done.file.name}", visible=True)]

    run.click(export, [form, web, synthetic], [said, file], api_visibility="private")


def _said(done: Exported) -> str:
    unread = f" {done.unread:,} more are kept, but their images cannot be read." if done.unread else ""
    return f"{done.pairs:,} pairs are kept; {done.overrides:,} verdicts are new in the ledger.{unread}"
