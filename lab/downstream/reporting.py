"""What an evaluation leaves: a table for people, beside chance and ceiling, and summary.json for scripts."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from lab.downstream.spread import Intervals
from lab.inference import write_summary


def report(
    out: Path,
    name: str,
    measured: Mapping[str, float],
    options: Any,
    *,
    model: str,
    chance: Mapping[str, float] | None = None,
    ceiling: Mapping[str, float] | None = None,
    counted: Mapping[str, int] | None = None,
    spread: Intervals | None = None,
) -> Path:
    """Print the measures of an evaluation and write them to summary.json; the file's path.

    chance and ceiling hold the same measures as far as they are known, counted says of how many things, spread
    has the intervals; model is the fingerprint of the weights, options are the command's.
    """
    columns = {"measured": measured, "chance": chance or {}, "ceiling": ceiling or {}}
    known = {column: dict(values) for column, values in columns.items() if values}
    print(", ".join(f"{count:,} {what}" for what, count in (counted or {}).items()))
    print(table(known, {"measured": spread or {}}))
    more = {"intervals": spread or {}, "counted": dict(counted or {})}
    path = write_summary(out, f"evaluate {name}", known | more, options, model=model)
    print(f"summary: {path}")
    return path


def table(columns: Mapping[str, Mapping[str, float]], spread: Mapping[str, Intervals] | None = None) -> str:
    """A line for each measure of the first column; a measure that another column lacks is a dash.

    spread: intervals of columns by their name; they stand behind the column.
    """
    names = list(next(iter(columns.values())))
    width = max(map(len, names), default=0)
    shown: dict[str, Callable[[str], str]] = {}
    for column, values in columns.items():
        shown[f"{column:>10}"] = partial(_number, values)
        if own := (spread or {}).get(column):
            shown[f"{'95% interval':>18}"] = partial(_bounds, own)
    lines = [f"  {'':{width}}" + "".join(shown)]
    for name in names:
        lines.append(f"  {name.replace('_', ' '):{width}}" + "".join(cell(name) for cell in shown.values()))
    return "\n".join(lines)


def _number(values: Mapping[str, float], name: str) -> str:
    return f"{values[name]:10.3f}" if name in values else f"{'-':>10}"


def _bounds(values: Intervals, name: str) -> str:
    return f"{'{:.3f} to {:.3f}'.format(*values[name]) if name in values else '-':>18}"
