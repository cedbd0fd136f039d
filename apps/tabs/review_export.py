"""The pane "Export" of the review: people's words into the ledger, and the kept pairs as a file."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from apps.exporting import Exported
from apps.review_cards import notice
from apps.reviewing import Desk
from apps.tabs.limits import within
from apps.theme import in_turn, text
from blip.capfilt import Policy
from blip.errors import InputError

_IN_TURN = in_turn("review-export", {"api_visibility": "private"})
_FORMS = {"Parquet with the pictures": "parquet", "BLIP list and pictures (zip)": "json"}


def build(desk: Desk, web: gr.Number, synthetic: gr.Number) -> list[Any]:
    """Lay the pane out and wire it; the events after which the ledger knows more than before."""
    with gr.Column(elem_classes=["pane", "export"]):
        text(
            "<h3>Export</h3><p>Writes the verdicts into the ledger’s overrides, then the pairs that are kept under "
            "these thresholds, as <code>lab ledger export</code> does.</p>"
        )
        form = gr.Dropdown(list(_FORMS.items()), value="parquet", label="Format", min_width=0)
        run = gr.Button("Write and export", elem_id="review-export", min_width=0)
        write = gr.Button("Write the verdicts alone", elem_id="review-write", min_width=0)
        said = text(elem_id="review-exported")
        file = gr.DownloadButton("Download", visible=False, elem_id="review-download", min_width=0)

    def answered(does: Callable[[Policy], list[Any]], web: float | None, synthetic: float | None) -> list[Any]:
        if web is None or synthetic is None:
            return [notice("Give both thresholds first.", "refused"), gr.update(visible=False)]
        try:
            return does(Policy(web=within(web), synthetic=within(synthetic)))
        except InputError as error:
            return [notice(str(error), "refused"), gr.update(visible=False)]

    def export(form: str, web: float | None, synthetic: float | None) -> list[Any]:
        return answered(lambda policy: _exported(desk.export(policy, form)), web, synthetic)

    def write_alone(web: float | None, synthetic: float | None) -> list[Any]:
        return answered(lambda policy: _written(desk.apply(policy)), web, synthetic)

    return [
        run.click(export, [form, web, synthetic], [said, file], **_IN_TURN),
        write.click(write_alone, [web, synthetic], [said, file], **_IN_TURN),
    ]


def _exported(done: Exported) -> list[Any]:
    unread = f" {done.unread:,} more are kept, but their images cannot be read." if done.unread else ""
    said = f"{done.pairs:,} pairs are kept; {_new(done.overrides)}.{unread}"
    return [notice(said, "done"), gr.update(value=str(done.file), label=f"Download {done.file.name}", visible=True)]


def _written(overrides: int) -> list[Any]:
    return [notice(f"Written: {_new(overrides)}. Nothing was exported.", "done"), gr.update(visible=False)]


def _new(overrides: int) -> str:
    return f"{overrides:,} {'verdict is' if overrides == 1 else 'verdicts are'} new in the ledger"
