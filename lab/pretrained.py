"""What `lab pretrain` says of a training: the numbers of summary.json, and the same for a reader."""

import math
import resource
from pathlib import Path
from typing import Any

from blip.data.pairset import PairSet
from blip.data.sources import PhotoSource


def summary(
    before: dict[str, float],
    after: dict[str, float],
    rows: list[dict[str, float]],
    *,
    held: int,
    pairs: PairSet,
    source: PhotoSource,
) -> dict[str, Any]:
    """The result: pairs, rejects (of the main process), held-out losses before and after, speed, memory, last row.

    held: how many pairs were held out; of none held_out is None.
    """
    rates = sorted(row["samples_per_second"] for row in rows)
    return {
        "pairs": len(pairs),
        "rejects": len(pairs.rejects) + len(source.rejects),
        "held_out": {"pairs": held, "chance_itc": math.log(held), "before": before, "after": after} if held else None,
        "images_per_second": rates[len(rates) // 2] if rates else None,
        "peak_memory_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "last": rows[-1] if rows else None,
    }


def say(result: dict[str, Any], path: Path) -> None:
    """Print the losses before and after, what was read, and where the model is."""
    if held := result["held_out"]:
        print(f"held-out batch of {held['pairs']} pairs, without queue (ITC at chance {held['chance_itc']:.2f}):")
    for name in held["before"] if held else ():
        print(f"  {name.upper():4} {held['before'][name]:7.3f} -> {held['after'][name]:7.3f}")
    print(
        f"{result['pairs']} pairs, {result['rejects']} rejects, "
        f"{result['images_per_second'] or 0:.1f} images/s, peak memory {result['peak_memory_gib']:.1f} GiB"
    )
    print(f"model: {path}")
