"""`lab runs list`: every run of the home, what made it, and in what it differs from its kind."""

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.runs import Home


@dataclass(frozen=True, kw_only=True)
class Options:
    """List the runs in BLIP_LAB_HOME (else ~/.cache/blip-lab)."""

    kind: str | None = None
    """Only runs of this kind: pretrain, captioner, filter, capfilt, evaluate."""
    json: bool = False
    """Print JSON for scripts, results included."""


def main(options: Options) -> int:
    """Print the table."""
    home = Home.default()
    rows = [row for row in home.rows() if options.kind in (None, row["kind"])]
    rows = [row | {"bytes": size(home.path(row["id"])), "difference": ""} for row in rows]
    for row in rows:
        row["difference"] = difference(row, [one for one in rows if one["kind"] == row["kind"]])
    if options.json:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return 0
    if not rows:
        print(f"There are no runs in {home.folder}{f' of kind {options.kind}' if options.kind else ''}.")
        return 0
    print("\n".join([*_table(rows), "", f"{_bytes(sum(row['bytes'] for row in rows))} in {home.folder}"]))
    for row in rows:
        if "problem" in row:
            print(row["problem"])
    return 0


def size(folder: Path) -> int:
    """Bytes of the files below a folder; links are not followed."""
    total = 0
    for at, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # a run that is being done removes files
                total += os.lstat(os.path.join(at, name)).st_size
    return total


def difference(row: dict[str, Any], kin: Sequence[dict[str, Any]]) -> str:
    """The values of a run's configuration that are not the same in all runs of its kind: "seed=1 pretrain.batch=32"."""
    own, others = _flat(row["config"] or {}), [_flat(one["config"] or {}) for one in kin if one["config"]]
    return " ".join(
        f"{name}={value}" for name, value in own.items() if any(name not in o or o[name] != value for o in others)
    )


def _flat(config: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in config.items():
        flat |= _flat(value, f"{before}{name}.") if isinstance(value, dict) else {before + name: value}
    return flat


_COLUMNS = ("id", "kind", "state", "date", "seconds", "size", "made from", "differs in")


def _table(rows: Sequence[dict[str, Any]]) -> list[str]:
    cells = [_COLUMNS, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_COLUMNS))]
    return ["  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    date = (row["finished"] or row["started"] or "-")[:16].replace("T", " ")
    seconds = "-" if row["seconds"] is None else f"{row['seconds']:.1f}"
    parents = " ".join(row["parents"]) or "-"
    return (row["id"], row["kind"], row["state"], date, seconds, _bytes(row["bytes"]), parents, row["difference"])


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
