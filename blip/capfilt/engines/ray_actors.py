"""The Ray engine: actors on this machine or on a cluster, each with its own models.

An actor that dies is started anew by Ray, on another machine if need be, and begins its shard again.
"""

import os
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from blip.capfilt.job import Job
from blip.capfilt.work import Made, Task, make
from blip.capfilt.workers import ATTEMPTS, Recipe, Workers, agreed, dead
from blip.errors import InputError

if TYPE_CHECKING:
    from ray import ObjectRef
    from ray.actor import ActorHandle

# Read by Ray when it is imported: it tells nobody, and hides GPUs from workers that have none.
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
}
_QUIET = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
_STARTS = 3
_OBJECTS = 2**28  # bytes of Ray's object store on this machine; shards are a few megabytes


@dataclass(frozen=True, kw_only=True)
class Actors:
    """How many actors, and on what. gpus: share of a GPU that each takes (0.25: four on one), 0 for the CPU."""

    workers: int
    gpus: float = 0.0
    address: str | None = None
    """Of a Ray cluster; without one Ray is started on this machine and ended afterwards."""

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise InputError(f"{self.workers} workers cannot be; give 1 or more.")
        if self.gpus < 0 or (self.gpus > 1 and self.gpus != int(self.gpus)):
            raise InputError(f"{self.gpus:g} GPUs for a worker cannot be; give a part of 1, or a whole number.")


@contextmanager
def actors(recipe: Recipe, wanted: Actors) -> Iterator[Workers]:
    """Ray actors that wait for tasks; ended when the block ends.

    InputError of the recipe, where Ray is missing or cannot be reached, or has too few GPUs or CPUs.
    """
    with running(wanted) as ray:
        _check(ray.cluster_resources(), wanted)
        device = "cuda" if wanted.gpus else "cpu"
        kind = ray.remote(num_cpus=1, num_gpus=wanted.gpus, max_restarts=-1, max_task_retries=ATTEMPTS - 1)(_Actor)
        handles = [kind.remote(recipe, device) for _ in range(wanted.workers)]
        try:
            found = [_Worker(ray, handle) for handle in handles]
            yield Workers(agreed([worker.opened() for worker in found]), found, _done)
        finally:
            for handle in handles:
                with suppress(Exception):  # the cluster may be gone
                    ray.kill(handle)


class _Actor:
    """What runs in the actor's process; the job is opened there, again after each death."""

    def __init__(self, recipe: Recipe, device: str) -> None:
        self._recipe, self._device = recipe, device

    @cached_property
    def _job(self) -> Job:
        return self._recipe(self._device)

    def about(self) -> dict[str, Any]:
        return self._job.about()

    def make(self, task: Task) -> Made:
        return make(self._job, task)


class _Worker:
    """An actor as the engine sees it."""

    due: "ObjectRef[Made]"
    _task: Task

    def __init__(self, ray: Any, handle: "ActorHandle") -> None:
        self._ray, self._handle = ray, handle
        self._opening: ObjectRef[dict[str, Any]] = handle.about.remote()

    def opened(self) -> dict[str, Any]:
        """The `about` of its job, once it is open."""
        try:
            return _got(self._ray, self._opening)
        except self._ray.exceptions.RayActorError as error:
            raise InputError(
                f"A Ray actor died before its models were open ({_first(error)}); look at the memory of its machine."
            ) from None

    def begin(self, task: Task) -> None:
        """Send a task."""
        self._task, self.due = task, self._handle.make.remote(task)

    def result(self) -> Made:
        """What it made; Ray itself has begun anew where the actor died, ATTEMPTS times at most."""
        try:
            return _got(self._ray, self.due)
        except self._ray.exceptions.RayActorError:
            raise dead(self._task) from None

    def wait(self, others: Collection["_Worker"]) -> "_Worker":
        """The first of several that is done."""
        (ready,), _ = self._ray.wait([worker.due for worker in others], num_returns=1)
        return next(worker for worker in others if worker.due == ready)


def _done(busy: Collection[_Worker]) -> _Worker:
    return next(iter(busy)).wait(busy)


def _got(ray: Any, due: "ObjectRef") -> Any:
    """An actor's answer; what it raised is raised here without Ray's wrapping, if that is meant for people."""
    try:
        return ray.get(due)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, InputError | ModuleNotFoundError):
            raise error.cause from None
        raise


def _ray() -> Any:
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ModuleNotFoundError:
        raise InputError("The Ray engine needs ray; install it with: pip install 'blip-lab[scale]'.") from None
    return ray


@contextmanager
def running(wanted: Actors) -> Iterator[Any]:
    """The module ray as this process uses it already, else connected or started, and left again."""
    ray = _ray()
    if ray.is_initialized():
        yield ray
        return
    if wanted.address:
        try:
            ray.init(wanted.address, log_to_driver=False, logging_level="ERROR")
        except Exception as error:  # Ray raises plain ones, too
            raise InputError(f"Ray at {wanted.address} cannot be reached ({_first(error)}); check the address.") from error
    else:
        _start(ray, max(os.cpu_count() or 1, wanted.workers))
    try:
        yield ray
    finally:
        ray.shutdown()


def _start(ray: Any, cpus: int) -> None:
    """Start Ray on this machine; on a busy one its parts may miss each other at first."""
    here = {"num_cpus": cpus, "object_store_memory": _OBJECTS, "_node_ip_address": "127.0.0.1"}
    for left in reversed(range(_STARTS)):
        try:
            with _modules_found():
                ray.init("local", **_QUIET, **here)
        except Exception as error:
            ray.shutdown()
            if not left:
                raise InputError(
                    f"Ray does not start on this machine ({_first(error)}); start again when it is less busy."
                ) from error
        else:
            return


@contextmanager
def _modules_found() -> Iterator[None]:
    """Let processes that are started meanwhile, and their children, import what this one can."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    try:
        yield
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before


def _check(resources: dict[str, float], wanted: Actors) -> None:
    for name, each in (("GPU", wanted.gpus), ("CPU", 1)):
        there = resources.get(name, 0)
        if wanted.workers * each > there:
            raise InputError(
                f"{wanted.workers} workers with {each:g} {name} each are more than the {there:g} that Ray has; "
                "give fewer workers or a smaller part."
            )


def _first(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")
