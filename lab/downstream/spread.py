"""How far a measure would move with other items of the same kind: 95% intervals, by the pictures that items are about."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lab.stats import CONFIDENCE, FEWEST_ITEMS, grouped_intervals

Intervals = dict[str, list[float]]
"""Lower and upper bound of each measure by its name."""


@dataclass(frozen=True)
class Items:
    """Measures that are means, one value an item, and what each item is about.

    values: (N,) each, by the measure's name. about: (N,), the same for items that are drawn together, as the
    questions about one picture. shares: whether the values lie in [0, 1].
    """

    values: Mapping[str, Sequence[float] | np.ndarray]
    about: Sequence[Hashable]
    shares: bool = True


def intervals(*kinds: Items) -> Intervals:
    """The intervals of all measures; those of fewer than 30 pictures are left out, where they would promise too much.

    Of a share that is 0 or 1 throughout, no draw differs from another; its interval is the exact one (Clopper and
    Pearson) of as many pictures that were all alike. Other values that are all the same have none.
    """
    found: Intervals = {}
    for items in kinds:
        number: dict[Hashable, int] = {}
        groups = np.array([number.setdefault(one, len(number)) for one in items.about], dtype=np.int64)
        if len(number) < FEWEST_ITEMS:
            continue
        values = np.array([np.asarray(one, dtype=float) for one in items.values.values()])
        for name, own, one in zip(items.values, values, grouped_intervals(values, groups), strict=True):
            if own.min() < own.max():
                found[name] = [one.low, one.high]
            elif items.shares and own[0] in (0, 1):
                sure = ((1 - CONFIDENCE) / 2) ** (1 / len(number))
                found[name] = [sure, 1.0] if own[0] else [0.0, 1 - sure]
    return found


def of_groups(name: str, values: Sequence[float], groups: Sequence[str], about: Sequence[Hashable]) -> list[Items]:
    """A measure by its name, and that of each group of items by the group's; "" is no group."""
    kinds = [Items({name: values}, about)]
    for group in sorted(set(groups) - {""}):
        rows = [row for row, own in enumerate(groups) if own == group]
        kinds.append(Items({group: [values[row] for row in rows]}, [about[row] for row in rows]))
    return kinds
