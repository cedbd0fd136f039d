"""Every picture the lab draws: matplotlib, no pyplot state, colours that colour-blind people can tell apart."""

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from PIL import Image

from blip.data.files import replacing

KEPT, FILTERED, INK, QUIET, PAPER = "#0072B2", "#D55E00", "#1F2328", "#6E7781", "#FFFFFF"
SIGNS = {True: "✓ kept", False: "✗ filtered"}
_CARD_WIDTH, _CARD_HEIGHT = 3.4, 1.72  # inches
_WRAP = 27  # characters of a caption line


@dataclass(frozen=True)
class Caption:
    """A caption as a card shows it: its text, the filter's match probability, whether it was kept."""

    text: str
    probability: float
    kept: bool
    truth: str | None = None


@dataclass(frozen=True)
class Card:
    """One image (H, W, 3) uint8 with its web caption and its synthetic one."""

    image: np.ndarray
    web: Caption | None
    synthetic: Caption | None


def contact_sheet(cards: Sequence[Card], title: str, columns: int = 4, *, truth: bool = False) -> Figure:
    """Images with their web and synthetic captions side by side, kept and filtered marked in word and colour.

    truth: what is known of each caption stands beside its origin.
    """
    rows = -(-len(cards) // columns)
    head = 0.55
    height = rows * _CARD_HEIGHT + head
    figure = Figure(figsize=(columns * _CARD_WIDTH, height), dpi=150, facecolor=PAPER)
    figure.text(0.012, 1 - 0.3 / height, title, size=12, color=INK, weight="bold", va="center")
    for i, card in enumerate(cards):
        row, column = divmod(i, columns)
        bottom = (rows - 1 - row) * _CARD_HEIGHT / height
        box = (column / columns, bottom, 1 / columns, _CARD_HEIGHT / height)
        _draw_card(figure, box, card, truth)
    return figure


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, whole or not at all."""
    with replacing(path) as file:
        figure.savefig(file, format="png", facecolor=figure.get_facecolor())
    return path


def png(figure: Figure, dpi: int = 96) -> bytes:
    """A figure as PNG in at most 256 colours, a fraction of the usual size: what notebooks show."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=dpi, facecolor=figure.get_facecolor())
    small = io.BytesIO()
    picture = Image.open(drawn).convert("RGB")
    # One step of k-means brings rare colours back: those of the marks are a few pixels each.
    palette = picture.quantize(256, Image.Quantize.MEDIANCUT, kmeans=1, dither=Image.Dither.NONE)
    palette.save(small, format="PNG", optimize=True)
    return small.getvalue()


def _draw_card(figure: Figure, box: tuple[float, float, float, float], card: Card, truth: bool) -> None:
    left, bottom, width, height = box
    axes = figure.add_axes((left, bottom, width, height))
    axes.set(xlim=(0, _CARD_WIDTH), ylim=(0, _CARD_HEIGHT))
    axes.axis("off")
    axes.add_patch(_frame())
    side = _CARD_HEIGHT - 0.32
    picture = axes.inset_axes((0.14, 0.16, side, side), transform=axes.transData)
    picture.imshow(card.image, interpolation="antialiased")
    picture.axis("off")
    x = side + 0.3
    for top, origin, caption in ((_CARD_HEIGHT - 0.2, "web", card.web), (_CARD_HEIGHT / 2 - 0.03, "synthetic", card.synthetic)):
        known = caption.truth if truth and caption else None
        _draw_caption(axes, x, top, f"{origin}, {known}" if known else origin, caption)


def _frame() -> FancyBboxPatch:
    return FancyBboxPatch(
        (0.07, 0.07),
        _CARD_WIDTH - 0.14,
        _CARD_HEIGHT - 0.14,
        boxstyle="round,pad=0,rounding_size=0.06",
        linewidth=0.8,
        edgecolor="#D0D7DE",
        facecolor="#FAFBFC",
    )


def _draw_caption(axes: Axes, x: float, top: float, origin: str, caption: Caption | None) -> None:
    axes.text(x, top, origin, size=6.5, color=QUIET, va="top")
    if caption is None:
        axes.text(x, top - 0.15, "none", size=7.5, color=QUIET, va="top", style="italic")
        return
    colour = KEPT if caption.kept else FILTERED
    sign = f"{SIGNS[caption.kept]}  {caption.probability:.2f}"
    axes.text(_CARD_WIDTH - 0.16, top, sign, size=6.5, color=colour, va="top", ha="right", weight="bold")
    lines = textwrap.wrap(caption.text, _WRAP, max_lines=3, placeholder=" …") or ["(empty)"]
    axes.text(x, top - 0.15, "\n".join(lines), size=7.5, color=INK, va="top", linespacing=1.15)
    width = _CARD_WIDTH - 0.16 - x
    bar = top - 0.6
    axes.plot([x, x + width], [bar, bar], color="#E4E8EC", linewidth=2, solid_capstyle="round")
    reach = x + width * min(max(caption.probability, 0.0), 1.0)
    axes.plot([x, reach], [bar, bar], color=colour, linewidth=2, solid_capstyle="round")
