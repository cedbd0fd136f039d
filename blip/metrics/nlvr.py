"""NLVR2: how often a model is right, and how often of a statement throughout (paper 5.4, Table 8)."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

from blip.errors import InputError
from blip.metrics.results import Id, in_order


@dataclass(frozen=True)
class NLVRScores:
    """Shares in [0, 1]: of examples judged rightly, and of statements right on all their image pairs."""

    accuracy: float
    consistency: float


def nlvr_scores(
    predictions: Iterable[tuple[Id, bool]], labels: Mapping[Id, bool], statement_of: Mapping[Id, Hashable]
) -> NLVRScores:
    """Scores of one verdict an example; `statement_of` names the statement that an example is about.

    InputError names an example that is doubled, missing, unknown, or has no statement.
    """
    ids = list(labels)
    given = in_order(predictions, ids, "example")
    right = [said == labels[name] for name, said in zip(ids, given, strict=True)]
    throughout: dict[Hashable, bool] = {}
    for name, was_right in zip(ids, right, strict=True):
        if name not in statement_of:
            raise InputError(f"The example {name!r} has no statement; name the statement of each.")
        statement = statement_of[name]
        throughout[statement] = throughout.get(statement, True) and was_right
    return NLVRScores(sum(right) / len(right), sum(throughout.values()) / len(throughout))
