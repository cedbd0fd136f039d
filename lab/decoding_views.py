"""One captioner decoded in many ways on generated scenes: how varied its captions are, and how true (paper 4.3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from blip.checkpoint import Loaded
from blip.generate import Decoding
from blip.metrics.diversity import diversity, self_bleu
from blip.metrics.words import caption_words
from lab.claim_figures_parts import COLOURS, LINES, MARKS, dress, legend
from lab.evaluate import captions_of
from lab.figures import INK, PAPER
from lab.task_cards import Said, caption_cards
from lab.world.checker import check
from lab.world.draw import PEOPLE_PX
from lab.world.sets import WorldPair

DRAWS = 3
"""Captions of an image: self-BLEU needs several, and beam search keeps as many."""
_SHOWN = 2  # of them on a card


@dataclass(frozen=True)
class Varied:
    """Of the captions of one decoding: shares in [0, 1] that are true, and of different two-word sequences; self-BLEU.

    self-BLEU (BLEU-4 of a caption against the others of its image) is lower where they are more varied.
    """

    true: float
    distinct_2: float
    self_bleu: float


def nucleus(temperature: float, top_p: float) -> Decoding:
    """Nucleus sampling of several captions an image."""
    return Decoding(temperature=temperature, top_p=top_p, candidates=DRAWS)


def beam() -> Decoding:
    """Beam search, with all of its hypotheses as captions."""
    return Decoding(strategy="beam", num_beams=DRAWS, candidates=DRAWS)


def varied(captioner: Loaded, items: Sequence[WorldPair], px: int, decoding: Decoding) -> Varied:
    """How varied and how true the captions of the items' pictures are; px: side of the model's pictures."""
    said = captions_of(captioner, items, px, decoding)
    words = [[caption_words(text) for text in own] for own in said]
    true = [check(text, item.scene).truth == "true" for item, own in zip(items, said, strict=True) for text in own]
    everything = diversity([one for own in words for one in own])
    return Varied(float(np.mean(true)), everything.distinct_2, self_bleu(words))


def cards(captioner: Loaded, items: Sequence[WorldPair], px: int, decodings: Mapping[str, Decoding], title: str) -> Figure:
    """Each item's picture with its first two captions by every decoding, and whether the checker finds them true."""
    lines: list[dict[str, Said]] = [{} for _ in items]
    for name, decoding in decodings.items():
        for line, item, own in zip(lines, items, captions_of(captioner, items, px, decoding), strict=True):
            for at, text in enumerate(own[:_SHOWN]):
                line[f"{name}, {at + 1}"] = Said(text, check(text, item.scene).truth == "true")
    return caption_cards([item.image(PEOPLE_PX) for item in items], lines, title)


def trade(lines: Mapping[str, Mapping[str, Varied]], title: str) -> Figure:
    """Truth against diversity: a line a family of decodings, a point a setting, named in the right panel."""
    layout = ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.09)
    figure = Figure(figsize=(9.6, 3.7), dpi=128, facecolor=PAPER, layout=layout)
    figure.suptitle(title, x=0.01, ha="left", size=11, color=INK, weight="bold")
    left, right = figure.subplots(1, 2, sharey=True)
    dress(left, "different two-word sequences (%)", "true captions (%)")
    dress(right, "self-BLEU of an image's captions (more varied to the right)")
    for at, (name, own) in enumerate(lines.items()):
        true = [100 * one.true for one in own.values()]
        for axes, across in (
            (left, [100 * one.distinct_2 for one in own.values()]),
            (right, [one.self_bleu for one in own.values()]),
        ):
            look = {"color": COLOURS[at], "marker": MARKS[at], "linestyle": LINES[at]}
            axes.plot(across, true, linewidth=1.4, markersize=6, label=name, **look)
            axes.margins(0.15)
        # On the left many settings lie close together; both panels share the vertical axis.
        _named(right, at, across, true, list(own))
    right.invert_xaxis()
    legend(right, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _named(axes: Axes, at: int, x: Sequence[float], y: Sequence[float], labels: Sequence[str]) -> None:
    """Names of a family's settings; families meet where these are equal, so their names stand on different sides."""
    side = {"xytext": (5, 5), "ha": "left"} if at % 2 == 0 else {"xytext": (-6, -10), "ha": "right"}
    for place, label in zip(zip(x, y, strict=True), labels, strict=True):
        axes.annotate(label, place, textcoords="offset points", size=7, color=COLOURS[at], **side)
