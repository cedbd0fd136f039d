"""The `lab` command with slow syncs that announce themselves, so that a SIGKILL can land inside a commit.

Started by `lab bench capfilt-kill`: `python -m lab.bench.slow_commits PAUSE COMMAND ...`. A commit takes
milliseconds, captioning nearly all of the time: a kill by the clock alone would hardly ever meet one.
Only this process is slowed; what is synced, renamed and entered, and in which order, stays as it is.
"""

import os
import sys
import time
from collections.abc import Callable
from typing import Any

from blip.matching import Matcher
from lab.cli import main

TILE, SYNC = "a tile is done", "a sync begins"
"""The lines that it says beside the command's own."""


def announced(call: Callable[..., Any], pause: float) -> Callable[..., Any]:
    """The call, after a line that says it and a pause in seconds."""

    def slow(*words: Any) -> Any:
        print(SYNC, flush=True)
        time.sleep(pause)
        return call(*words)

    return slow


def reported(call: Callable[..., Any]) -> Callable[..., Any]:
    """The call, with a line once it is done."""

    def told(*words: Any) -> Any:
        found = call(*words)
        print(TILE, flush=True)
        return found

    return told


if __name__ == "__main__":
    os.fsync = announced(os.fsync, float(sys.argv[1]))
    # The filter comes last in a tile, whether the tile is captioned anew or was before.
    Matcher.__call__ = reported(Matcher.__call__)  # type: ignore[method-assign]  # for this process alone
    sys.exit(main(sys.argv[2:]))
