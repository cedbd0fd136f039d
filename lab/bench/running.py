"""Where a bench against a peer runs, and where its record lies."""

import json
from pathlib import Path
from typing import Any

import torch

from blip.errors import InputError
from lab.records import WRITTEN

DEVICES = ("cpu", "cuda")

COMPARED = ("float32", "bf16")
"""The precisions in which benches know how far two programs may differ."""


def check_running(device: str, precision: str) -> None:
    """InputError for a precision that is none, and for a device that a bench does not know or that is not there."""
    if precision not in COMPARED:
        raise InputError(f"There is no precision {precision!r}; choose one of {', '.join(COMPARED)}.")
    if device.split(":")[0] not in DEVICES:
        raise InputError(f"This bench knows no device {device!r}; choose cpu or cuda.")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise InputError("This machine has no usable GPU; give --device cpu.")


def check_counts(options: Any, *names: str) -> None:
    """InputError for the first of these options that is below 1."""
    for name in names:
        if getattr(options, name) < 1:
            raise InputError(f"--{name.replace('_', '-')} {getattr(options, name)} cannot be; give 1 or more.")


def record_place(options: Any, **sizes: int) -> Path:
    """Where a run writes its record: `options.out`, but not over a record of a larger run that lies where it is usual.

    A run that is smaller than that one in any of its sizes, by their names in the record's config, is a trial.
    """
    out: Path = options.out
    if out != type(options).out or not out.is_file():
        return out
    try:
        known = json.loads(out.read_text(encoding="utf-8"))["config"]
        trial = any(size < known.get(name, size) for name, size in sizes.items())
    except (ValueError, KeyError, TypeError, AttributeError):  # no record of a bench: nothing is lost
        return out
    return WRITTEN / "trials" / out.name if trial else out


def record_path(name: str, device: str, precision: str) -> Path:
    """Where the record of a bench lies by default: bench/NAME-DEVICE.json, and its precision unless float32."""
    suffix = "" if precision == "float32" else f"-{precision}"
    return WRITTEN / "bench" / f"{name}-{device.split(':')[0]}{suffix}.json"
