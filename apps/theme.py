"""How the studio looks: colours for light and dark, and Gradio's theme made of them.

Blue and vermillion can be told apart by colour-blind people (Okabe and Ito), and mean nothing but kept and
filtered; verdicts are also said in words. Text on its ground has a contrast of at least 4.5 (WCAG AA).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

LIGHT = {
    "page": "#f5f6f8",
    "card": "#ffffff",
    "well": "#eef0f3",
    "line": "#d8dde3",
    "edge": "#868e99",  # of inputs, which need a contrast of 3
    "ink": "#1b1f24",
    "quiet": "#56606b",
    "kept": "#0072b2",
    "kept-ink": "#005f96",
    "kept-wash": "#e4f1f8",
    "filtered": "#d55e00",
    "filtered-ink": "#a34700",
    "filtered-wash": "#fcebdf",
    "mark": "#ffe9a8",
}
DARK = {
    "page": "#101418",
    "card": "#181d23",
    "well": "#232a32",
    "line": "#323a44",
    "edge": "#6f7a86",
    "ink": "#e8ebee",
    "quiet": "#a3adb8",
    "kept": "#3b9bd4",
    "kept-ink": "#7cc0ea",
    "kept-wash": "#12303f",
    "filtered": "#e8772a",
    "filtered-ink": "#f6a468",
    "filtered-wash": "#3c2414",
    "mark": "#5c4a12",
}
QUIETLY: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
"""Settings of an event that shows no progress bar and is no public endpoint."""
BUSY = QUIETLY | {"show_progress": "minimal"}
"""Settings of an event that shows how long it has been at work."""

_HERE = Path(__file__).parent


def css() -> str:
    """The studio's style sheet, with the colours of both schemes."""
    schemes = f":root {{{_variables(LIGHT)}}}\n.dark {{{_variables(DARK)}}}\n"
    return schemes + (_HERE / "studio.css").read_text(encoding="utf-8")


def head() -> str:
    """What the page's head gets: apps/studio.js."""
    return f"<script>{(_HERE / 'studio.js').read_text(encoding='utf-8')}</script>"


def theme() -> gr.themes.Base:
    """Gradio's plainest theme in the studio's colours and in fonts that come with Gradio."""
    plain = gr.themes.Base(
        font=[gr.themes.LocalFont("IBM Plex Sans", weights=(400, 700)), "system-ui", "sans-serif"],
        font_mono=[gr.themes.LocalFont("IBM Plex Mono"), "ui-monospace", "monospace"],
        radius_size="md",
        text_size="md",
    )
    dark = {f"{name}_dark": value for name, value in _COLOURS.items()}
    return plain.set(**_COLOURS, **dark, block_title_text_weight="700", color_accent="var(--ink)", block_border_width="0px", block_border_width_dark="0px", input_border_width="1px")


def in_turn(line: str, settings: Mapping[str, Any] = QUIETLY) -> dict[str, Any]:
    """Settings of an event that is answered after all those of the same line that were asked before it.

    Without a line the answer to an older question may come last, and what is on the screen is not what was asked.
    apps/studio.js sends one request after the other, so that none overtakes another on its way.
    """
    return {**settings, "concurrency_id": line, "concurrency_limit": 1}


def text(value: str = "", **settings: Any) -> gr.HTML:
    """HTML of our own, styled by our style sheet alone. What it says of a ledger must be escaped already."""
    return gr.HTML(value, apply_default_css=False, js_on_load=None, **settings)


_COLOURS = {
    "body_background_fill": "var(--page)",
    "body_text_color": "var(--ink)",
    "body_text_color_subdued": "var(--quiet)",
    "background_fill_primary": "var(--card)",
    "background_fill_secondary": "var(--page)",
    "border_color_primary": "var(--line)",
    "border_color_accent": "var(--ink)",
    "color_accent_soft": "var(--well)",
    "block_background_fill": "var(--card)",
    "block_border_color": "var(--line)",
    "block_label_text_color": "var(--quiet)",
    "block_title_text_color": "var(--ink)",
    "block_shadow": "none",
    "input_background_fill": "var(--card)",
    "input_border_color": "var(--edge)",
    "input_border_color_focus": "var(--ink)",
    "input_placeholder_color": "var(--quiet)",
    "button_secondary_background_fill": "var(--card)",
    "button_secondary_background_fill_hover": "var(--well)",
    "button_secondary_border_color": "var(--edge)",
    "button_secondary_text_color": "var(--ink)",
    "slider_color": "var(--ink)",
}


def _variables(colours: dict[str, str]) -> str:
    return " ".join(f"--{name}: {value};" for name, value in colours.items())
