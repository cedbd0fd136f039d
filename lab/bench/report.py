"""`lab bench report`: every ratio that the benches recorded, as a table for README and as a plot."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from blip.errors import InputError
from lab.bench.report_names import against, bench_name, case_name
from lab.figures import FILTERED, INK, KEPT, PAPER, QUIET, save
from lab.page_parts import markdown
from lab.records import DRAWN, RESULTS

RECORDS = RESULTS / "bench"
PLOT = DRAWN / "bench.png"
_TICKS = (0.25, 0.5, 1, 2, 4, 8, 16)
_GRID = "#D0D7DE"
_DEVICES = {"cpu": "a CPU", "cuda": "a GPU"}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Print the table of all benches with a target or a peer, and draw their ratios."""

    records: Path = RECORDS
    """The folder of records."""
    plot: Path = PLOT
    """The picture, PNG."""


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """One ratio of a record. better: higher or lower; target None: nothing is asked of it."""

    bench: str
    case: str
    device: str
    precision: str
    ratio: float
    target: float | None
    better: str
    reached: bool
    has_peer: bool
    """Whether it is peer against ours, not a share of something else."""

    @property
    def on(self) -> str:
        """The kind of device in words."""
        return _DEVICES[self.device.split(":")[0]]

    @property
    def advantage(self) -> float:
        """How many times better than the peer, whichever way better is."""
        return self.ratio if self.better == "higher" else 1 / self.ratio

    @property
    def asked(self) -> float | None:
        """The target as an advantage."""
        if self.target is None:
            return None
        return self.target if self.better == "higher" else 1 / self.target

    @property
    def where(self) -> str:
        """Device and precision."""
        return self.device if self.precision == "-" else f"{self.device}, {self.precision}"

    @property
    def label(self) -> str:
        """Bench, case, and where it ran."""
        return f"{bench_name(self.bench)}: {case_name(self.case, self.precision)} ({self.where})"

    @property
    def told(self) -> str:
        """The ratio with two decimals; with three where two would hide on which side of its target it lies."""
        short = f"{self.ratio:.2f}"
        if self.target is None:
            return short
        seems = float(short) >= self.target if self.better == "higher" else float(short) <= self.target
        return short if seems == self.reached else f"{self.ratio:.3f}"

    @property
    def verdict(self) -> str:
        """In a word: met, not met, or a dash where nothing is asked."""
        if self.target is None:
            return "-"
        return "met" if self.reached else "not met"


def main(options: Options) -> int:
    """Print the table, draw the plot; 1 if a target is not met."""
    found = ratios(options.records)
    print(table(found))
    print(summary(found))
    print(f"plot: {save(figure(found), options.plot)}")
    return 0 if all(one.reached for one in found) else 1


def ratios(folder: Path = RECORDS) -> list[Ratio]:
    """Every ratio with a target field in the records of a folder, in the order of their files."""
    found: list[Ratio] = []
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        found += _of(content["name"].removeprefix("bench-"), content["result"])
    if not found:
        raise InputError(f"There is no record with a ratio in {folder}; run a bench, such as lab bench matching.")
    return found


def table(found: Sequence[Ratio]) -> str:
    """The ratios as a Markdown table."""
    rows = [
        [
            bench_name(one.bench),
            case_name(one.case, one.precision),
            one.where,
            against(one.bench, one.case, one.precision, one.has_peer),
            one.told,
            one.better,
            _target(one),
            one.verdict,
        ]
        for one in found
    ]
    return markdown(["bench", "case", "on", "against", "ratio", "better", "target", "verdict"], rows)


def summary(found: Sequence[Ratio]) -> str:
    """How many targets are met on which kind of device, in a sentence."""
    asked = {name: [one for one in found if one.target is not None and one.on == name] for name in _DEVICES.values()}
    told = [f"{sum(one.reached for one in own)} of {len(own)} on {name}" for name, own in asked.items() if own]
    return f"Targets that are met: {', '.join(told)}."


def figure(found: Sequence[Ratio]) -> Figure:
    """A bar for each ratio against a peer, on a logarithmic axis, with its target as a line across it."""
    shown = [one for one in found if one.has_peer]
    drawn = Figure(figsize=(8.6, 1.7 + 0.27 * len(shown)), dpi=128, facecolor=PAPER, layout="constrained")
    axes = drawn.add_subplot()
    colours = [QUIET if one.target is None else KEPT if one.reached else FILTERED for one in shown]
    logs = [math.log2(one.advantage) for one in shown]
    axes.barh(range(len(shown)), logs, height=0.7, color=colours)
    for at, one in enumerate(shown):
        end = max(logs[at], 0)
        if one.asked is not None:
            axes.vlines(math.log2(one.asked), at - 0.45, at + 0.45, color=INK, linewidth=1.6)
            end = max(end, math.log2(one.asked))  # the number never lies under the line
        axes.text(end + 0.06, at, _number(one), va="center", size=7.5, color=INK)
    axes.set_yticks(range(len(shown)), [one.label for one in shown])
    axes.set_xticks([math.log2(tick) for tick in _TICKS], [f"{tick:g}" for tick in _TICKS])
    axes.yaxis.set_minor_locator(NullLocator())
    highest = max([*logs, *(math.log2(one.asked) for one in shown if one.asked)], default=1)
    axes.set_xlim(min([*logs, 0.0]) - 0.3, highest + 0.9)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.axvline(0, color=_GRID, linewidth=1)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=7.5, labelcolor=INK)
    where = f"measured on {' and '.join(sorted({one.on for one in shown}))}"
    drawn.suptitle(f"How many times faster than the peer, or smaller in memory, {where}", size=10, color=INK)
    drawn.supxlabel(_legend(found), color=QUIET, size=8)
    return drawn


def _number(one: Ratio) -> str:
    """The number at the end of a bar; of a ratio where lower is better also the one that the table has."""
    return one.told if one.better == "higher" else f"{one.advantage:.2f} times less ({one.told})"


def _legend(found: Sequence[Ratio]) -> str:
    said = "The black line is the target; blue meets it, orange misses it, grey has none. In brackets: the ratio as in the table."
    left = dict.fromkeys(f"{bench_name(one.bench)}: {case_name(one.case, one.precision)}" for one in found if not one.has_peer)
    return f"{said}\nLeft out, having no peer: {'; '.join(left)}." if left else said


def _of(bench: str, result: dict[str, Any]) -> Iterator[Ratio]:
    """The ratios of a record's result, itself or whatever lies in it."""
    named = {"device": result.get("device", "cpu"), "precision": result.get("precision", "-")}
    for case, part in _parts(result, ()):
        yield Ratio(
            bench=bench,
            case=case or "whole",
            device=named["device"],
            precision=part.get("precision", named["precision"]),
            ratio=part["ratio"],
            target=part["target"],
            better=part.get("better", "higher"),
            reached=part["reached"],
            has_peer="peer" in part,
        )


def _parts(part: dict[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    if "ratio" in part and "target" in part:
        yield ", ".join(name for name in path if name != "cases"), part
        return
    for name, inner in part.items():
        if isinstance(inner, dict):
            yield from _parts(inner, (*path, name))


def _target(one: Ratio) -> str:
    if one.target is None:
        return "-"
    return f"at least {one.target:g}" if one.better == "higher" else f"at most {one.target:g}"
