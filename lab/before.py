"""What was measured before a training, kept in its folder: a training that goes on does not measure it again."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from blip.data.benchmarks.captions import CaptionedImage
from blip.distributed import is_main, told_by_main
from lab.made_of import digest
from lab.records import write_record

BEFORE = "before.json"
"""Beside the checkpoints: what was measured, and of what and on what."""


def measured_before(
    out: Path | None, told_by: Mapping[str, Any] | None, measure: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """What `measure` finds, or found when it was last told by the same.

    told_by: what decides on it (the weights, the held-out data, the settings), as JSON values; None keeps nothing.
    Several processes measure together, or none of them: the main one knows what was found.
    """
    if out is None or told_by is None:
        return measure()
    path = out / BEFORE
    known = told_by_main(_read(path))
    if known.get("told_by") == told_by and isinstance(found := known.get("before"), dict):
        return found
    found = measure()
    if is_main():
        write_record(path, {"told_by": dict(told_by), "before": found})
    return found


def of_images(images: Iterable[CaptionedImage]) -> str:
    """A hash of what tells captioned images apart from others: id, domain and captions of each."""
    return digest((str(image.image_id), image.domain, *image.captions) for image in images)


def _read(path: Path) -> dict[str, Any]:
    """The file's content; nothing where it is not there or not ours."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
