"""What pages are made of: records, tables, and the line that says where figures come from."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from blip.errors import InputError
from lab.records import RESULTS


def read_record(name: str) -> dict[str, Any]:
    """A committed run record by its name under lab/results, without .json."""
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        raise InputError(f"There is no record {path.name} in lab/results; run the command that makes it.")
    return json.loads(path.read_text(encoding="utf-8"))


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; every column but the first is aligned right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def source(record: Mapping[str, Any]) -> str:
    """One line that says where figures come from: command, commit, machine, date; and who measured cells before."""
    machine = record["machine"]
    device = machine["accelerator"] or f"{machine['cores']} cores of {machine['processor']}"
    own = f"`{record['command']}` at commit `{record['commit']}` on {device}, {record['date']}."
    before = [
        f"{sum(map(len, one['cells'].values()))} at commit `{one['commit']}`, {one['date']}"
        for one in record["result"].get("before", [])
    ]
    return f"{own} Of its cells {' and '.join(before)}." if before else own


def percent(value: float | None) -> str:
    """A share as a percentage with one decimal."""
    return "-" if value is None else f"{100 * value:.1f}%"


def number(value: float | None) -> str:
    """A figure with three decimals."""
    return "-" if value is None else f"{value:.3f}"


def unfinished_note(stopped: Mapping[str, int] | None) -> list[str]:
    """The first paragraph of the card of a ledger whose job is not done, from its numbers; none of one that is."""
    if stopped is None:
        return []
    done = "{images:,} of {of_images:,} images ({shards:,} of {of_shards:,} shards)".format(**stopped)
    return [f"**UNFINISHED: {done}.** All below is of these; the same `lab capfilt` command finishes the ledger."]
