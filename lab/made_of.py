"""What a training is made of: by it one that was stopped, or is done, refuses to go on with anything else."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from blip.checkpoint import Loaded
from blip.checkpoint.own import Opened
from blip.config import to_json
from blip.train import TrainConfig

_OF_TRAINING = ("seed", "accumulate", "precision", "weight_decay", "betas", "clip", "schedule")


def made_of(start: Loaded | Opened, rows: Iterable[object], **settings: Any) -> dict[str, Any]:
    """The data by a hash of their rows (what names an image, and what is said of it), where the weights start, settings.

    Weights may move, and data whose names do not say where they lie. Rows are JSON values, or what `str` tells apart.
    """
    return {
        "data": digest(rows),
        "vocabulary": start.tokenizer.fingerprint,
        "starting weights": start.fingerprint or "new",
        "model": digest([to_json(start.model.config)]),
    } | {name.replace("_", " "): value for name, value in settings.items()}


def of_training(config: TrainConfig) -> dict[str, Any]:
    """What of the training configuration decides on the trained weights, on one process."""
    found = asdict(config)
    plain = json.loads(json.dumps({name: found[name] for name in _OF_TRAINING}))  # lists for tuples, as it is read again
    return {name.replace("_", " "): value for name, value in plain.items()}


def digest(rows: Iterable[object]) -> str:
    """A hash of rows: JSON values, or what `str` tells apart."""
    found = hashlib.sha256()
    for row in rows:
        found.update(json.dumps(row, default=str).encode() + b"\n")
    return found.hexdigest()[:16]
