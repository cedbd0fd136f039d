"""What all tests share."""

import os
from pathlib import Path

import pytest


def shared_dir() -> Path:
    """The folder of real photos and reference weights; skips where it is not at hand."""
    default = Path(__file__).parents[1].parent / "shared"
    folder = Path(os.environ.get("BLIP_LAB_SHARED", default))
    if not folder.is_dir():
        pytest.skip(f"the shared folder {folder} is missing: set BLIP_LAB_SHARED to it")
    return folder
