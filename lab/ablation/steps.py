"""What every step of an ablation has: its identity by what decides it, and the model that it leaves."""

from typing import Any

from blip.checkpoint import Loaded, load
from lab.rounds import MODEL
from lab.runs import Run, Step

VERSION = 1


def step(kind: str, config: dict[str, Any], *parents: Run) -> Step:
    """A step of the ablations by what decides it."""
    ids = tuple(dict.fromkeys(parent.id for parent in parents))
    return Step(kind=kind, config=config, parents=ids, version=VERSION)


def model_of(run: Run) -> Loaded:
    """The model that a run has left."""
    return load(run.folder / MODEL)
