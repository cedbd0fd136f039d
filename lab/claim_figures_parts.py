"""What the figures of claims are made of: metrics and how they are told, a page, its axes, and what is not measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from lab import claim
from lab.claim_records import Measured
from lab.figures import FILTERED, INK, KEPT, PAPER, QUIET
from lab.stats import EQUIVALENT, OPPOSITE, REPRODUCED, UNDECIDED
from lab.whose_record import OWN_PAIRS

COLOURS = (KEPT, FILTERED, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", INK)
"""Told apart by colour-blind people; each stands with a mark or a line style of its own."""
MARKS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
LOOKS = {REPRODUCED: (KEPT, "o"), OPPOSITE: (FILTERED, "X"), EQUIVALENT: (INK, "D"), UNDECIDED: (QUIET, "o")}
"""Colour and mark of a verdict."""
GRID, BAND = "#E4E8EC", "#EEF1F4"
_SMOKE = "smoke run: says nothing"


@dataclass(frozen=True)
class Metric:
    """A metric of the records by its path, and how it is told: its name, a factor and digits."""

    name: str
    path: str
    factor: float = 100
    digits: int = 1

    def told(self, value: float) -> str:
        """A value of the record as text."""
        return f"{self.factor * value:,.{self.digits}f}"


R1 = Metric("mean of TR@1 and IR@1, %", claim.R1)
ITC_R1 = Metric("by ITC alone, %", "worth.retrieval.all.itc_r1")
STRICT = Metric("strictly true captions, %", "worth.captions.all.strictly_true")
IN, NEAR, OUT = (
    Metric(f"strictly true, {name} (%)", f"worth.captions.{domain}.strictly_true")
    for domain, name in (("in", "in the human domain"), ("near", "near it"), ("out", "out of it"))
)
NEAR_MISS = Metric("filter, AUC of near misses", "worth.filter.auc.near_miss", 1, 3)
SYNTHETIC_TRUE = Metric("true synthetic captions, %", "capfilt.origins.synthetic.true_before")
SYNTHETIC_KEPT = Metric("synthetic captions kept, %", "capfilt.kept_of_synthetic")
BIGRAMS = Metric("different two-word sequences, %", "diversity.all.distinct_2")
DIFFERENT = Metric("different captions, %", "diversity.all.different")
SELF_BLEU = Metric("self-BLEU, lower is more varied", "diversity.self_bleu", 1, 2)
TEACHER_CIDER = Metric("CIDEr-D of the captioner", "teacher.captions.all.cider", 1, 2)
PARAMETERS = Metric("parameters, thousands", "cost.parameters", 1e-3, 0)
STATE = Metric("weights, gradients, optimizer (MB)", "cost.state_bytes", 1e-6, 1)
SAVED = Metric("kept for the backward pass, MB", "cost.saved_bytes", 1e-6, 1)
STEP = Metric("a training step, ms", "cost.step_seconds", 1e3, 1)
BIAS = Metric("confirmation bias, points", "bias.bias")
NOISE_RATIO = Metric("dropped of its own captioner's, %", "bias.noise_ratio")
FLAT = Metric("NLVR, drawn as the web, %", "nlvr.flat")
SKETCH = Metric("NLVR, the other style, %", "nlvr.sketch")
SWAPPED, WRONG_COLOUR, WRONG_KIND = (
    Metric(f"ITM prefers the true text, %\n({name})", f"binding.itm.{wrong}")
    for wrong, name in (("swapped", "else colours swapped"), ("colour", "else a wrong colour"), ("kind", "else a wrong kind"))
)
SWAPPED_ITC = Metric("ITC prefers the true text, %\n(else colours swapped)", "binding.itc.swapped")
NDCG = Metric("visual dialog, NDCG in %", "dialog.ndcg")
VQA = Metric("VQA, %", "questions.accuracy")
LM_ALONE, LM_COLOURED, ITC_ALONE, ITM_ALONE, ITM_COLOURED, ITM_ALL, ITM_PART = (
    Metric(f"{score} prefers\nthe kind shown, %\n({said})", f"kinds.{score.lower()}.{path}")
    for score, path, said in (
        ("LM", "alone", "without a colour"),
        ("LM", "coloured", "with its colour"),
        ("ITC", "alone", "without a colour"),
        ("ITM", "alone", "without a colour"),
        ("ITM", "coloured", "with its colour"),
        ("ITM", "one", "it is all there is"),
        ("ITM", "more", "there is more"),
    )
)
WHOLE_KEPT, PART_KEPT, FALSE_KEPT = (
    Metric(f"web texts kept, %\n({name})", f"kept.{says}.kept")
    for says, name in (("whole", "true of all that is shown"), ("part", "true of a part"), ("false", "false"))
)
_KNOWN = (SYNTHETIC_KEPT, DIFFERENT, BIAS, FLAT, SKETCH, SWAPPED, WRONG_COLOUR, SWAPPED_ITC, NDCG, VQA, LM_ALONE, ITM_ALONE, PART_KEPT)


def page(
    title: str, shown: Sequence[Measured], size: tuple[float, float], columns: int, *, sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure (inches) of panels in a row under a title, marked where a smoke run is on it."""
    layout = ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.09)
    figure = Figure(figsize=size, dpi=128, facecolor=PAPER, layout=layout)
    head(figure, title, shown)
    return figure, list(figure.subplots(1, columns, squeeze=False, sharey=sharey)[0])


def head(figure: Figure, title: str, shown: Sequence[Measured]) -> None:
    """The title of a figure, with the mark of a smoke run or the scale of the record."""
    figure.suptitle(title, x=0.01, ha="left", size=11, color=INK, weight="bold")
    smoke = any(one.is_smoke for one in shown)
    said = _SMOKE if smoke else ", ".join(dict.fromkeys(f"{OWN_PAIRS}, scale {one.scale}" if one.own_pairs else f"scale {one.scale}" for one in shown))
    colour, weight = (FILTERED, "bold") if smoke else (QUIET, "normal")
    below = 0.08 / figure.get_size_inches()[1]
    figure.text(0.99, 1 - below, said, ha="right", va="top", size=8, color=colour, weight=weight)


def dress(axes: Axes, x: str = "", y: str = "", title: str = "") -> None:
    """Quiet axes with a light grid; names of the two axes, and a title of the panel."""
    axes.set_title(title, loc="left", size=9, color=INK)
    axes.set_xlabel(x, size=8.5, color=QUIET)
    axes.set_ylabel(y, size=8.5, color=QUIET)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#D0D7DE")
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, pad=5, labelsize=8, labelcolor=INK)


def told_of(path: str) -> str:
    """A metric of a claim by its path, as people call it, without its unit."""
    names = {one.path: one.name.split(",")[0].replace("\n", " ") for one in _KNOWN} | {R1.path: "R@1", ITC_R1.path: "R@1 by ITC alone"}
    return names.get(path, path.split(".")[-1].replace("_", " "))


def not_measured(axes: Axes) -> None:
    """Says in an empty panel that nothing was measured yet."""
    axes.text(0.5, 0.5, "not measured yet", ha="center", va="center", size=9, color=QUIET, style="italic", transform=axes.transAxes)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def legend(axes: Axes, **look: Any) -> None:
    """The legend of a panel, without a frame."""
    axes.legend(fontsize=7.5, frameon=False, labelcolor=INK, **look)
