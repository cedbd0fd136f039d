"""Cells that were trained more than once, on other machines: how far the same run comes out elsewhere."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from lab.claims_report import SMOKE, read_records


def repeated(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Of every `worth` run that more than one record has: how far apart its R@1 lie, a share; smoke runs say nothing."""
    found: dict[str, list[float]] = defaultdict(list)
    for result in (record["result"] for record in records):
        if result["scale"] == SMOKE:
            continue
        for arm, own in result.get("runs", {}).items():
            for seed, ids in own.items():
                if "worth" in ids:
                    found[ids["worth"]].append(result["arms"][arm]["seeds"][seed]["worth"]["retrieval"]["all"]["r1"])
    return {run: max(values) - min(values) for run, values in found.items() if len(values) > 1}


def repeats() -> str:
    """What the committed records say of it, for a page."""
    apart = repeated(read_records())
    other = sorted(value for value in apart.values() if value)
    if not other:
        return f"Of {len(apart)} runs that several records have all came out the same."
    return (
        f"Of {len(apart)} runs that several records have, {len(apart) - len(other)} have one value: they were read, or trained again on a like "
        f"machine. {len(other)} were trained again elsewhere and came out otherwise: their R@1 lie {100 * median(other):.1f} points "
        f"apart in the median, and {100 * other[-1]:.1f} at most."
    )
