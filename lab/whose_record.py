"""Whose pairs a record of `lab ablate` is of, at which scale, and the command that measures it."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from lab.ablation.own_reading import Own
from lab.ablation.own_scales import LEVEL
from lab.ablation.own_table import SUFFIX

OWN_PAIRS, WORLD = "own pairs", "generated world"


def on_own_pairs(result: Mapping[str, Any]) -> bool:
    """Whether the result of a record is of own pairs; else it is of the generated world."""
    return "pairs" in result


def scale_of(result: Mapping[str, Any]) -> str:
    """The scale as it was given on the command line: smoke, cpu or gpu."""
    return result["scale"].removeprefix(f"{LEVEL}-")


def command_of(record: Mapping[str, Any], scale: str = "") -> str:
    """What measures the arms of a record, a line for a shell: its name or FILE.py, its own pairs, its scale or another."""
    result, options = record["result"], record.get("config", {}).get("options", {})
    name = options.get("name", "")
    words = [name if name.endswith(SUFFIX) else result["ablation"]]
    own = options.get("own", {}) if on_own_pairs(result) else {}
    return shlex.join(["lab", "ablate", *words, *_own_words(own), "--scale", scale or scale_of(result)])


def _own_words(own: Mapping[str, Any]) -> Iterator[str]:
    """The options of own pairs that were given, those by which their tables are read as well."""
    places = ("data", "human", "val")
    for field in sorted(fields(Own), key=lambda one: one.name not in places):
        value = own.get(field.name, field.default)
        if value != field.default:
            yield from (f"--{field.name.replace('_', '-')}", str(value))
