"""Workers that make shards: what an engine gives, and how tasks are spread over them.

Each worker opens captioners and filters itself, from a recipe that travels in place of the models.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from blip.capfilt.job import Job
from blip.capfilt.work import Made, Task
from blip.errors import InputError

Recipe = Callable[[str], Job]
"""Opens the job on a device (cpu, cuda, cuda:1). A function of a module, or a partial of one: it is pickled."""

ATTEMPTS = 3
"""So many times a shard is begun by workers that die over it."""


class Worker(Protocol):
    """One process with its own models, which makes one shard at a time."""

    def begin(self, task: Task) -> None: ...
    def result(self) -> Made | None:
        """What it made, once `wait` names it; None where it died and has begun anew."""


Kind = TypeVar("Kind", bound=Worker)


@dataclass(frozen=True)
class Workers(Generic[Kind]):
    """Workers that wait for tasks. about: the job, the same in each; wait: gives one of the busy that is done."""

    about: Mapping[str, Any]
    idle: Sequence[Kind]
    wait: Callable[[Collection[Kind]], Kind]

    def made(self, tasks: Iterator[Task]) -> Iterator[Made]:
        """Shards in the order in which they are done. Tasks are asked for when a worker is free."""
        free = list(self.idle)
        busy: set[Kind] = set()
        while True:
            while free and (task := next(tasks, None)) is not None:
                worker = free.pop()
                worker.begin(task)
                busy.add(worker)
            if not busy:
                return
            worker = self.wait(busy)
            made = worker.result()
            if made is None:
                continue
            busy.remove(worker)
            task = next(tasks, None)
            if task is None:
                free.append(worker)
            else:
                worker.begin(task)
                busy.add(worker)
            yield made


def agreed(abouts: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The job that all workers have; InputError where one differs, as with other weights under the same path."""
    first, *others = abouts
    for other in others:
        for name, value in first.items():
            if json.dumps(other.get(name)) != json.dumps(value):
                raise InputError(
                    f"The workers have different jobs (their {name} differs); give every machine the same files."
                )
    return first


def dead(task: Task) -> InputError:
    """What is said when workers die over the same shard again and again."""
    return InputError(
        f"Workers died {ATTEMPTS} times over {task}; look at these images and at the memory of the machine, then "
        "start again: what is done stays."
    )
