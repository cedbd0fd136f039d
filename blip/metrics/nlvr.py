"""NLVR2: how often a model is right, and how often of a statement throughout (paper 5.4, Table 8)."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from blip.errors import InputError
from blip.metrics.results import Id, in_order


@dataclass(frozen=True)
class NLVRScores:
    """What was judged rightly, and the shares in [0, 1] that the paper's table shows."""

    right: Mapping[Any, bool]
    """Whether each example was judged rightly."""
    throughout: Mapping[Hashable, bool]
    """Whether each statement was judged rightly on all its image pairs."""

    @property
    def accuracy(self) -> float:
        """Share of examples judged rightly."""
        return sum(self.right.values()) / len(self.right)

    @property
    def consistency(self) -> float:
        """Share of statements judged rightly on all their image pairs."""
        return sum(self.throughout.values()) / len(self.throughout)


def nlvr_scores(
    predictions: Iterable[tuple[Id, bool]], labels: Mapping[Id, bool], statement_of: Mapping[Id, Hashable]
) -> NLVRScores:
    """Scores of one verdict an example; `statement_of` names the statement that an example is about.

    InputError names an example that is doubled, missing, unknown, or has no statement.
    """
    ids = list(labels)
    given = in_order(predictions, ids, "example")
    right = {name: said == labels[name] for name, said in zip(ids, given, strict=True)}
    throughout: dict[Hashable, bool] = {}
    for name, was_right in right.items():
        if name not in statement_of:
            raise InputError(f"The example {name!r} has no statement; name the statement of each.")
        statement = statement_of[name]
        throughout[statement] = throughout.get(statement, True) and was_right
    return NLVRScores(right, throughout)
