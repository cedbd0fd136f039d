"""The weights that come with the package."""

from pathlib import Path

import blip
from blip.checkpoint import Loaded, load
from blip.errors import InputError

WEIGHTS = Path(blip.__file__).parent / "weights"


def shipped(stage: str, device: str = "cpu") -> Loaded:
    """pretrained, captioner or filter of the generated world."""
    path = WEIGHTS / f"{stage}.safetensors"
    if not path.is_file():
        raise InputError(
            f"The weights {path.name} did not come with this installation; run lab train-shipped --install."
        )
    return load(path, device)
