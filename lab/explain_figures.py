"""Where a model looks, as a figure: a heat map over the image for the whole text and for each of its words."""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from blip.explain import Explanation
from lab.figures import INK, PAPER, QUIET

_SCALE = "viridis"  # even steps of lightness, and the same order to colour-blind people and in grey
_MOST = 0.85  # opacity of the strongest place
_COLUMNS, _SIDE, _HEAD, _CAPTION = 6, 1.5, 0.5, 0.42  # tiles a row; inches: a picture, the title, the words above one
_DPI = 128


def heat_rgba(grid: np.ndarray, top: float) -> np.ndarray:
    """A map (h, w), 0 or more, as colours (h, w, 4) uint8 over a picture: clear at 0, viridis up to the value top."""
    share = np.clip(grid / top, 0, 1) if top > 0 else np.zeros_like(grid)
    heat = colormaps[_SCALE](share)
    heat[..., 3] = _MOST * share**0.75  # a little above the line, so that a third of the highest value is seen
    return (heat * 255).round().astype(np.uint8)


def scales(maps: Tensor) -> list[float]:
    """The value at full heat of each of the maps (1 + W, h, w): of the whole text its own highest, of words that of all.

    Words share a scale because most of them hardly move a match: each on its own scale, noise would glow.
    """
    whole, words = float(maps[0].max()), float(maps[1:].max())
    return [whole] + [words] * (len(maps) - 1)


def heat_maps(image: np.ndarray, explanation: Explanation, maps: Tensor, title: str) -> Figure:
    """The image (H, W, 3) uint8 in grey under each of the maps (1 + W, h, w), of the whole text and of its W words.

    maps: the explanation's attention or its grad_cam, on their `scales`. The number under a word is the highest
    value of its map, of the highest of all words.
    """
    words = [word.text for word in explanation.words]
    values, tops = maps.numpy(), scales(maps)
    shares = [float(grid.max()) / top if top > 0 else 0.0 for grid, top in zip(values, tops, strict=True)]
    rows, columns = -(-len(values) // _COLUMNS), min(len(values), _COLUMNS)
    width, height = columns * (_SIDE + 0.12) + 0.12, rows * (_SIDE + _CAPTION) + _HEAD
    figure = Figure(figsize=(max(width, 5.0), height), dpi=_DPI, facecolor=PAPER)
    said = f"{title} · match probability {explanation.probability:.2f}"
    figure.text(0.12, height - 0.26, said, size=10, color=INK, weight="bold", va="center", transform=figure.dpi_scale_trans)
    grey = np.asarray(Image.fromarray(image).convert("L"))
    for at, label in enumerate(["whole text", *(f"{w}\n{s:.0%}" for w, s in zip(words, shares[1:], strict=True))]):
        row, column = divmod(at, _COLUMNS)
        left, bottom = 0.12 + column * (_SIDE + 0.12), (rows - 1 - row) * (_SIDE + _CAPTION) + 0.06
        inches = (left / figure.get_figwidth(), bottom / height, _SIDE / figure.get_figwidth(), _SIDE / height)
        _tile(figure.add_axes(inches), grey, heat_rgba(values[at], tops[at]), label)
    return figure


def _tile(axes: Axes, grey: np.ndarray, heat: np.ndarray, label: str) -> None:
    side = (0, grey.shape[1], grey.shape[0], 0)
    axes.imshow(grey, cmap="gray", vmin=0, vmax=255, extent=side)
    large = Image.fromarray(heat).resize(grey.shape[::-1], Image.Resampling.BILINEAR)
    axes.imshow(np.asarray(large), extent=side)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(color=QUIET, linewidth=0.6)
    axes.set_title(label, size=8, color=INK, pad=3, linespacing=1.1)
