"""Results meet their truths by id: each once, none missing, none unknown; and means of groups."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

from blip.errors import InputError

Id = TypeVar("Id", bound=Hashable)
Value = TypeVar("Value")


def by_id(results: Iterable[tuple[Id, Value]], what: str) -> dict[Id, Value]:
    """The values by their ids; InputError names the first id that occurs twice. `what` is one's name."""
    found: dict[Id, Value] = {}
    for name, value in results:
        if name in found:
            raise InputError(f"The {what} {name!r} occurs twice in the results; give each once.")
        found[name] = value
    return found


def in_order(results: Iterable[tuple[Id, Value]], ids: Sequence[Id], what: str) -> list[Value]:
    """The values in the order of the truth's ids; InputError names a doubled, missing or unknown id."""
    if not ids:
        raise InputError(f"There is no {what} to score; give at least one.")
    known, found = set(ids), by_id(results, what)
    for name in ids:
        if name not in found:
            raise InputError(f"The results lack the {what} {name!r}; give all {len(ids)}.")
    for name in found:
        if name not in known:
            raise InputError(
                f"The results hold the {what} {name!r}, which the truth does not have; leave it out."
            )
    return [found[name] for name in ids]


def group_means(values: Mapping[Id, float], group_of: Mapping[Id, str]) -> dict[str, float]:
    """The mean value of each group, by its name: answer types of VQA, domains of NoCaps."""
    members: dict[str, list[float]] = {}
    for name, value in values.items():
        if name not in group_of:
            raise InputError(f"{name!r} belongs to no group; name the group of each result.")
        members.setdefault(group_of[name], []).append(value)
    return {group: sum(own) / len(own) for group, own in members.items()}
