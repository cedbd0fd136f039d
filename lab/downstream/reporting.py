"""What an evaluation leaves: a table for people, beside chance and ceiling, and summary.json for scripts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
) -> Path:
    """Print the measures of an evaluation and write them to summary.json; the file's path.

    chance and ceiling hold the same measures as far as they are known, counted says of how many things; model
    is the fingerprint of the weights, options are the command's.
    """
    columns = {"measured": measured, "chance": chance or {}, "ceiling": ceiling or {}}
    known = {column: dict(values) for column, values in columns.items() if values}
    print(", ".join(f"{count:,} {what}" for what, count in (counted or {}).items()))
    print(table(known))
    path = write_summary(out, f"evaluate {name}", known | {"counted": dict(counted or {})}, options, model=model)
    print(f"summary: {path}")
    return path


def table(columns: Mapping[str, Mapping[str, float]]) -> str:
    """A line for each measure of the first column; a measure that another column lacks is a dash."""
    names = list(next(iter(columns.values())))
    width = max(map(len, names), default=0)
    lines = [f"  {'':{width}}" + "".join(f"{column:>10}" for column in columns)]
    for name in names:
        cells = (f"{values[name]:10.3f}" if name in values else f"{'-':>10}" for values in columns.values())
        lines.append(f"  {name.replace('_', ' '):{width}}" + "".join(cells))
    return "\n".join(lines)
