"""What the benches that kill a run share: the pairs, an unbroken start of a command, and why one failed."""

import subprocess
import sys
from pathlib import Path

from blip.errors import InputError
from lab.commands import world


def world_tars(folder: Path, pairs: int, seed: int) -> Path:
    """A folder of tars with so many generated pairs of the level nano, one image each."""
    tars = folder / "tars"
    world.main(world.Options(level="nano", pairs=pairs, tars=tars, out=folder / "sheet.png", seed=seed))
    return tars


def finish(words: list[str]) -> None:
    """Run `lab WORDS` to its end; InputError with its last line where it fails."""
    done = subprocess.run([sys.executable, "-m", "lab", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise failed(done.stderr)


def failed(said: str) -> InputError:
    """What to raise for a run that ended by itself with an error, from what it said on stderr."""
    lines = said.strip().splitlines() or ["nothing was said"]
    return InputError(f"The run that was to be killed failed by itself: {lines[-1]}")
