"""Pictures with what models say of them: captions side by side, answers with probabilities, a dialog, film strips."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from lab.figures import FILTERED, INK, KEPT, PAPER, QUIET

_DPI = 128
_FRAME, _CARD, _TRACK = "#D0D7DE", "#FAFBFC", "#E4E8EC"
_HEAD, _PAD, _GAP = 0.5, 0.13, 0.12  # inches: title, inside a card, between cards
_PICTURE = 1.55
_LINE, _BAR, _SMALL = 0.19, 0.22, 0.16
_SIGNS = {True: ("✓", KEPT), False: ("✗", FILTERED), None: ("", INK)}


@dataclass(frozen=True)
class Said:
    """A text, whether it is true (None where that is no question), and a probability in [0, 1] where there is one."""

    text: str
    true: bool | None = None
    probability: float | None = None


@dataclass(frozen=True)
class Choice:
    """A question with the first of its answers, best first, and a note on all of them."""

    question: str
    answers: Sequence[Said]
    note: str = ""


@dataclass(frozen=True)
class Strip:
    """Frames (T, H, W, 3) uint8 of a clip, a text and a note above them, and whether the text is true of the clip."""

    frames: np.ndarray
    text: str
    note: str = ""
    true: bool | None = None


def caption_cards(
    pictures: Sequence[np.ndarray], captions: Sequence[Mapping[str, Said]], title: str, columns: int = 2
) -> Figure:
    """Pictures (H, W, 3) uint8, each with its captions by the name of who wrote them."""
    width, tall = 4.6, _PICTURE + 2 * _PAD
    figure, axes = _grid(len(pictures), columns, width, tall, title)
    for at, (picture, said) in enumerate(zip(pictures, captions, strict=True)):
        x, y = _place(at, columns, width, tall)
        _framed(axes, x, y, width, tall)
        _picture(axes, picture, x + _PAD, y + _PAD, _PICTURE)
        step = _PICTURE / len(said)
        for row, (name, one) in enumerate(said.items()):
            top, left = y + _PAD + row * step, x + _PICTURE + 2.2 * _PAD
            axes.text(left, top, name, size=6.5, color=QUIET, va="top")
            sign, colour = _SIGNS[one.true]
            lines = "\n".join(textwrap.wrap(f"{sign} {one.text}".strip(), 42, max_lines=2, placeholder=" …"))
            axes.text(left, top + 0.12, lines, size=8, color=colour, va="top", linespacing=1.1)
    return figure


def answer_cards(
    pictures: Sequence[np.ndarray], choices: Sequence[Choice], title: str, columns: int = 3
) -> Figure:
    """Pictures (H, W, 3) uint8, each with a question and the probabilities of its first answers as bars."""
    width, tall = 4.2, _PICTURE + 2 * _PAD
    figure, axes = _grid(len(pictures), columns, width, tall, title)
    for at, (picture, choice) in enumerate(zip(pictures, choices, strict=True)):
        x, y = _place(at, columns, width, tall)
        _framed(axes, x, y, width, tall)
        _picture(axes, picture, x + _PAD, y + _PAD, _PICTURE)
        _choice(axes, choice, x + _PICTURE + 2.2 * _PAD, y + _PAD, width - _PICTURE - 3.4 * _PAD)
    return figure


def dialog_page(picture: np.ndarray, caption: str, rounds: Sequence[Choice], title: str) -> Figure:
    """A picture (H, W, 3) uint8 with its caption, and beside it each round's question and first answers."""
    wide, side = 4.4, 2.3
    heights = [_choice_height(choice) + _GAP for choice in rounds]
    half = (len(rounds) + 1) // 2
    below = _LINE * len(textwrap.wrap(caption, 34)) + _PAD
    tall = max(sum(heights[:half]), sum(heights[half:]), side + below) + _PAD
    figure, axes = _canvas(side + 2 * wide + 5 * _PAD, _HEAD + tall, title)
    _picture(axes, picture, 2 * _PAD, _HEAD, side)
    axes.text(2 * _PAD, _HEAD + side + 0.08, "\n".join(textwrap.wrap(caption, 34)), size=9, color=INK, va="top")
    for at, choice in enumerate(rounds):
        first = half * (at >= half)
        y = _HEAD + sum(heights[first:at])
        _choice(axes, choice, side + (4 if at < half else 6) * _PAD + wide * (at >= half), y, wide - 3 * _PAD)
    return figure


def film_strips(strips: Sequence[Strip], title: str, side: float = 1.0) -> Figure:
    """Clips as rows of frames, from the first to the last, each below its text."""
    most = max(len(strip.frames) for strip in strips)
    above, tall = 0.28, side + 0.28 + 0.2
    figure, axes = _canvas(most * (side + 0.04) + 2 * _PAD, _HEAD + len(strips) * tall, title)
    for row, strip in enumerate(strips):
        y, (sign, colour) = _HEAD + row * tall, _SIGNS[strip.true]
        axes.text(_PAD, y + above / 2, f"{sign} {strip.text}".strip(), size=9, color=colour, va="center")
        end = _PAD + len(strip.frames) * (side + 0.04) - 0.04
        axes.text(end, y + above / 2, strip.note, size=8.5, color=QUIET, va="center", ha="right")
        for at, frame in enumerate(strip.frames):
            _picture(axes, frame, _PAD + at * (side + 0.04), y + above, side)
    return figure


def _choice(axes: Axes, choice: Choice, x: float, y: float, width: float) -> None:
    lines = textwrap.wrap(choice.question, 34)
    axes.text(x, y, "\n".join(lines), size=8.5, color=INK, va="top", weight="bold", linespacing=1.1)
    y += _LINE * len(lines)
    if choice.note:
        axes.text(x, y, choice.note, size=7, color=QUIET, va="top")
        y += _SMALL
    start, end = x + 0.48 * width, x + width - 0.36
    for at, one in enumerate(choice.answers):
        middle, (sign, colour) = y + (at + 0.5) * _BAR, _SIGNS[one.true]
        name = textwrap.shorten(one.text, 20, placeholder=" …")
        axes.text(x, middle, f"{sign} {name}".strip(), size=8, color=colour, va="center")
        reach = start + (end - start) * min(max(one.probability or 0.0, 0.0), 1.0)
        axes.plot([start, end], [middle, middle], color=_TRACK, linewidth=4, solid_capstyle="butt")
        axes.plot([start, reach], [middle, middle], color=colour, linewidth=4, solid_capstyle="butt")
        axes.text(x + width, middle, f"{one.probability:.2f}", size=7.5, color=colour, va="center", ha="right")


def _choice_height(choice: Choice) -> float:
    return _LINE * len(textwrap.wrap(choice.question, 34)) + _SMALL * bool(choice.note) + _BAR * len(choice.answers)


def _grid(count: int, columns: int, width: float, tall: float, title: str) -> tuple[Figure, Axes]:
    rows = -(-count // columns)
    return _canvas(columns * (width + _GAP) + _GAP, _HEAD + rows * (tall + _GAP), title)


def _place(at: int, columns: int, width: float, tall: float) -> tuple[float, float]:
    row, column = divmod(at, columns)
    return _GAP + column * (width + _GAP), _HEAD + row * (tall + _GAP)


def _canvas(width: float, height: float, title: str) -> tuple[Figure, Axes]:
    """A figure, and axes over all of it in inches from its top left corner, with a title."""
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor=PAPER)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    axes.text(_GAP + 0.02, _HEAD / 2, title, size=11, color=INK, weight="bold", va="center")
    return figure, axes


def _framed(axes: Axes, x: float, y: float, width: float, height: float) -> None:
    style = "round,pad=0,rounding_size=0.06"
    axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=style, edgecolor=_FRAME, facecolor=_CARD, linewidth=0.8))


def _picture(axes: Axes, picture: np.ndarray, x: float, y: float, side: float) -> None:
    inset = axes.inset_axes((x, y, side, side), transform=axes.transData)
    inset.imshow(picture, interpolation="antialiased", aspect="auto")
    inset.set(xticks=[], yticks=[])
    inset.spines[:].set(color=_FRAME, linewidth=0.6)
