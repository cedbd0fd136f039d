"""The paper's Figure 3 with the rows of a ledger in its boxes: pre-train, fine-tune, caption, filter, go on."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from lab.figures import FILTERED, INK, KEPT, PAPER, QUIET, SIGNS, Caption, Card
from lab.world.figures import Tile

ROWS = 3
"""Images that the diagram has room for."""
_DPI = 160
_WIDTH, _HEIGHT = 11.8, 6.3  # inches, the axes' unit
_SIZE = 8.6  # points, of a caption
_FRAME, _PANEL, _NETWORK, _LINE = "#8C959F", "#F6F8FA", "#FFF3D6", "#424A53"
_DATA: dict[str, Any] = {"color": _LINE, "linestyle": "-"}
_TRAINING: dict[str, Any] = {"color": QUIET, "linestyle": "--"}
_CLEAR = {"facecolor": PAPER, "edgecolor": "none", "pad": 2}  # behind a label that stands on a line
_TOP, _BOTTOM = (2.72, 3.1), (0.5, 1.6)  # bottom and height of the upper and lower band
_X = {  # left edge and width of the columns
    "pairs": (0.15, 2.9),
    "captioner": (3.6, 1.15),
    "synthetic": (5.2, 2.4),
    "filter": (8.05, 1.05),
    "kept": (9.55, 2.1),
}
_PITCH = 0.88  # from one row to the next
_PICTURE = 0.72


def figure_3(cards: Sequence[Card], human: Sequence[Tile], summary: Mapping[str, Any], human_pairs: int) -> Figure:
    """One round of bootstrapping, drawn wide (paper 3.3, Figure 3), every text one of the ledger.

    cards: images with a web and a synthetic caption; the first three are drawn. human: human-annotated pairs,
    two are drawn. summary: what `lab.report.summarize` says of the ledger. human_pairs: their number.
    """
    figure = Figure(figsize=(_WIDTH, _HEIGHT), dpi=_DPI, facecolor=PAPER)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, _WIDTH), ylim=(0, _HEIGHT))
    axes.axis("off")
    kept, filtered = summary["kept"], summary["filtered"]
    _web_pairs(axes, cards[:ROWS], kept["web"] + filtered["web"])
    _synthetic(axes, cards[:ROWS], kept["synthetic"] + filtered["synthetic"])
    _verdicts(axes, cards[:ROWS])
    _human_pairs(axes, human[:2], human_pairs)
    _networks(axes)
    _bootstrapped(axes, kept["web"], kept["synthetic"], human_pairs)
    _data_arrows(axes)
    _training_arrows(axes)
    _legend(axes)
    return figure


def _web_pairs(axes: Axes, cards: Sequence[Card], count: int) -> None:
    x, _ = _panel(axes, "pairs", _TOP, r"Web pairs $\{(I_w, T_w)\}$", f"{count:,}")
    for y, card in zip(_rows(), cards, strict=False):
        _picture(axes, x + 0.12, y, card.image)
        _caption(axes, x + 0.98, y, card.web, 24)


def _synthetic(axes: Axes, cards: Sequence[Card], count: int) -> None:
    x, _ = _panel(axes, "synthetic", _TOP, r"Synthetic $\{(I_w, T_s)\}$", f"{count:,}")
    for y, card in zip(_rows(), cards, strict=False):
        _caption(axes, x + 0.14, y, card.synthetic, 23)


def _verdicts(axes: Axes, cards: Sequence[Card]) -> None:
    x, _ = _panel(axes, "kept", _TOP, "Verdicts at 0.5", "")
    for y, card in zip(_rows(), cards, strict=False):
        for dy, symbol, caption in ((0.17, "$T_w$", card.web), (-0.17, "$T_s$", card.synthetic)):
            axes.text(x + 0.14, y + dy, symbol, size=_SIZE + 1, color=INK, va="center")
            if caption is not None:
                colour = KEPT if caption.kept else FILTERED
                axes.text(x + 0.52, y + dy, SIGNS[caption.kept], size=_SIZE, va="center", color=colour, weight="bold")
                said = f"{caption.probability:.3f}"
                axes.text(x + _X["kept"][1] - 0.14, y + dy, said, size=_SIZE, va="center", ha="right", color=colour)


def _human_pairs(axes: Axes, tiles: Sequence[Tile], count: int) -> None:
    x, _ = _panel(axes, "pairs", _BOTTOM, r"Human-annotated $\{(I_h, T_h)\}$", f"{count:,}")
    for i, tile in enumerate(tiles):
        left = x + 0.12 + i * 1.4
        _picture(axes, left, _BOTTOM[0] + 0.83, tile.image)
        axes.text(left, _BOTTOM[0] + 0.41, _wrapped(tile.text, 20), size=_SIZE - 1, color=INK, va="top", linespacing=1.15)


def _networks(axes: Axes) -> None:
    bottom, height = _TOP
    for name, reading in (("captioner", "image-\ngrounded\ntext\ndecoder"), ("filter", "image-\ngrounded\ntext\nencoder")):
        x, width = _X[name]
        _box(axes, x, bottom + 0.3, width, height - 0.95, _NETWORK)
        middle = bottom + 0.3 + (height - 0.95) / 2
        axes.text(x + width / 2, middle + 0.42, name.capitalize(), size=11, color=INK, weight="bold", ha="center")
        axes.text(x + width / 2, middle + 0.22, reading, size=_SIZE, color=INK, ha="center", va="top", linespacing=1.2)
    x, right = _X["captioner"][0], sum(_X["filter"])
    _box(axes, x, 0.62, right - x, 1.05, _NETWORK)
    middle = (x + right) / 2
    axes.text(middle, 1.27, "Multimodal mixture of Encoder-Decoder (MED)", size=11, color=INK, weight="bold", ha="center")
    axes.text(middle, 0.92, "pre-trained with ITC, ITM and LM", size=_SIZE, color=INK, ha="center")


def _bootstrapped(axes: Axes, web: int, synthetic: int, human: int) -> None:
    x, width = _panel(axes, "kept", _BOTTOM, "Bootstrapped set $D$", "")
    rows = ((r"kept $\{(I_w, T_w)\}$", web), (r"kept $\{(I_w, T_s)\}$", synthetic), (r"all $\{(I_h, T_h)\}$", human))
    for i, (name, count) in enumerate(rows):
        y = _BOTTOM[0] + 0.98 - 0.33 * i
        axes.text(x + 0.14, y, ("" if i == 0 else "+ ") + name, size=_SIZE + 0.5, color=INK, va="center")
        axes.text(x + width - 0.14, y, f"{count:,}", size=_SIZE + 0.5, color=INK, va="center", ha="right")


def _data_arrows(axes: Axes) -> None:
    """How the texts go: images to the captioner, web and synthetic texts to the filter, what it kept to D."""
    pairs, captioner, synthetic, judge, kept = (_X[name] for name in _X)
    y = _rows()[1]
    _arrow(axes, [(sum(pairs), y), (captioner[0], y)], label="$I_w$")
    _arrow(axes, [(sum(captioner), y), (synthetic[0], y)], label="$T_s$")
    _arrow(axes, [(sum(synthetic), y), (judge[0], y)], label="$I_w, T_s$")
    _arrow(axes, [(sum(judge), y), (kept[0], y)])
    over, middle = _HEIGHT - 0.2, judge[0] + judge[1] / 2
    start = pairs[0] + pairs[1] / 2
    _arrow(axes, [(start, sum(_TOP)), (start, over), (middle, over), (middle, sum(_TOP) - 0.65)])
    axes.text((start + middle) / 2, over, "$I_w, T_w$", size=10, color=INK, ha="center", va="center", bbox=_CLEAR)
    down = kept[0] + kept[1] / 2
    _arrow(axes, [(down, _TOP[0]), (down, sum(_BOTTOM))])
    axes.text(down + 0.1, (_TOP[0] + sum(_BOTTOM)) / 2, "what was kept", size=_SIZE, color=INK, va="center")


def _training_arrows(axes: Axes) -> None:
    """How the models come about: pre-trained on all pairs, fine-tuned on human ones, and pre-trained anew on D."""
    pairs, captioner, _, judge, kept = (_X[name] for name in _X)
    y, gap = 1.14, (_TOP[0] + sum(_BOTTOM)) / 2
    joint = (sum(pairs) + captioner[0]) / 2
    _arrow(axes, [(sum(pairs), _TOP[0] + 0.3), (joint, _TOP[0] + 0.3), (joint, y)], head=False, **_TRAINING)
    _arrow(axes, [(sum(pairs), y), (captioner[0], y)], **_TRAINING)
    for (x, width), losses in ((captioner, "LM"), (judge, "ITC, ITM")):
        _arrow(axes, [(x + width / 2, 1.67), (x + width / 2, _TOP[0] + 0.3)], **_TRAINING)
        said = f"fine-tuned with {losses}\n" + r"on $\{(I_h, T_h)\}$"
        side, edge = (1, "left") if losses == "LM" else (-1, "right")
        axes.text(x + width / 2 + 0.1 * side, gap, said, size=_SIZE, color=INK, va="center", ha=edge, linespacing=1.25)
    _arrow(axes, [(kept[0], y), (sum(judge), y)], **_TRAINING)
    axes.text((kept[0] + sum(judge)) / 2, y + 0.09, "a new\nmodel", size=_SIZE, color=INK, ha="center", va="bottom")
    under = 0.26
    middle = [pairs[0] + pairs[1] / 2, kept[0] + kept[1] / 2]
    _arrow(axes, [(middle[0], _BOTTOM[0]), (middle[0], under), (middle[1], under), (middle[1], _BOTTOM[0])])
    axes.text(sum(middle) / 2, under, r"$I_h, T_h$", size=10, color=INK, ha="center", va="center", bbox=_CLEAR)


def _legend(axes: Axes) -> None:
    x, y = _X["synthetic"][0] + 0.4, (_TOP[0] + sum(_BOTTOM)) / 2
    for dy, name, look in ((0.13, "data", _DATA), (-0.13, "training", _TRAINING)):
        _arrow(axes, [(x, y + dy), (x + 0.5, y + dy)], **look)
        axes.text(x + 0.6, y + dy, name, size=_SIZE, color=INK, va="center")


def _panel(axes: Axes, name: str, band: tuple[float, float], title: str, count: str) -> tuple[float, float]:
    """A box of data with its title and number of pairs; its left edge and width."""
    (x, width), (bottom, height) = _X[name], band
    _box(axes, x, bottom, width, height, _PANEL)
    axes.text(x + 0.12, bottom + height - 0.2, title, size=9.6, color=INK, weight="bold", va="center")
    axes.text(x + width - 0.12, bottom + height - 0.2, count, size=_SIZE, color=QUIET, va="center", ha="right")
    return x, width


def _rows() -> list[float]:
    """The middle of each row of the upper band, from above."""
    return [sum(_TOP) - 0.84 - _PITCH * i for i in range(ROWS)]


def _box(axes: Axes, x: float, y: float, width: float, height: float, colour: str) -> None:
    style = "round,pad=0,rounding_size=0.08"
    axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=style, facecolor=colour, edgecolor=_FRAME, linewidth=1))


def _picture(axes: Axes, x: float, y: float, image: np.ndarray) -> None:
    """An image (H, W, 3) uint8, y at its middle."""
    picture = axes.inset_axes((x, y - _PICTURE / 2, _PICTURE, _PICTURE), transform=axes.transData)
    picture.imshow(image, interpolation="antialiased")
    picture.set(xticks=[], yticks=[])
    picture.spines[:].set(color=_FRAME, linewidth=0.6)


def _caption(axes: Axes, x: float, y: float, caption: Caption | None, characters: int) -> None:
    said = "none" if caption is None else _wrapped(caption.text, characters)
    axes.text(x, y, said, size=_SIZE, color=INK, va="center", linespacing=1.2)


def _wrapped(text: str, characters: int) -> str:
    return "\n".join(textwrap.wrap(text, characters, max_lines=3, placeholder=" …"))


def _arrow(axes: Axes, points: Sequence[tuple[float, float]], label: str = "", head: bool = True, **look: Any) -> None:
    """A line along the points with a head at its end, and a label over its middle."""
    line = _DATA | look
    xs, ys = zip(*points, strict=True)
    axes.plot(xs[:-1], ys[:-1], linewidth=1.3, solid_capstyle="butt", **line)
    style = "-|>,head_length=5,head_width=2.5" if head else "-"
    axes.add_patch(FancyArrowPatch(points[-2], points[-1], linewidth=1.3, arrowstyle=style, shrinkA=0, shrinkB=0, **line))
    if label:
        axes.text((xs[0] + xs[-1]) / 2, ys[0] + 0.09, label, size=10, color=INK, ha="center", va="bottom")
