"""What several rounds of one measurement say together."""

import statistics
from collections.abc import Sequence


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, min and max of some rates, in their own unit."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}
