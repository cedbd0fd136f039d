"""Where CapFilt runs: in this process, in one process for each device, or in Ray actors. The bytes are equal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch

from blip.capfilt import Ledger
from blip.capfilt.engine import run, run_on
from blip.capfilt.engines.processes import processes
from blip.capfilt.engines.ray_actors import Actors, actors
from blip.capfilt.workers import Recipe
from blip.data.pairset import PairSet
from blip.data.places import Place
from blip.errors import InputError

Fill = Callable[[PairSet, Place, Callable[[int], None]], Ledger]
"""Fills the ledger in a place from pairs; the last argument is told how many more images are done."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Which engine, and its workers."""

    engine: Literal["local", "ray"] = "local"
    """local: this machine; ray: Ray actors, on this machine or a cluster. Both give the same bytes."""
    devices: str | None = None
    """Devices of the local engine, as in cuda:0,cuda:1: one process for each; by default --device."""
    ray_workers: int = 1
    """Ray actors."""
    gpus_per_worker: float = 1.0
    """GPUs of each Ray actor on cuda; 0.25 puts four on one."""
    ray_address: str | None = None
    """Of a running Ray cluster; by default Ray is started on this machine."""
    threads: int | None = None
    """CPU threads of each worker's models; by default those that torch takes. On a CPU they are part of the job,
    since the last digits of scores depend on them."""

    def check(self, device: str) -> None:
        """InputError where the options do not go together."""
        if self.threads is not None and self.threads < 1:
            raise InputError(f"--threads {self.threads} cannot be; give 1 or more.")
        if self.engine == "ray" and self.devices is not None:
            raise InputError("--devices goes with --engine local; give --ray-workers and --gpus-per-worker.")
        if self.devices is not None and not all(self.places(device)):
            raise InputError(f"--devices {self.devices!r} holds an empty name; write a comma only between two, as in cpu,cpu.")
        kinds = {kind_of(one) for one in self.places(device)}
        if len(kinds) > 1:
            raise InputError(f"--devices {self.devices} are of several types, whose bytes differ; give one type.")

    def places(self, device: str) -> list[str]:
        """The devices of the local engine."""
        return [device] if self.devices is None else [name.strip() for name in self.devices.split(",")]

    @contextmanager
    def opened(self, recipe: Recipe, device: str) -> Iterator[Fill]:
        """CapFilt with the job that the recipe opens, its models loaded wherever they run, until the block ends."""
        devices = self.places(device)
        if self.engine == "ray":
            gpus = self.gpus_per_worker if kind_of(device) == "cuda" else 0.0
            with actors(recipe, Actors(workers=self.ray_workers, gpus=gpus, address=self.ray_address)) as workers:
                yield partial(run_on, workers)
        elif len(devices) == 1:
            yield partial(run, recipe(devices[0]))
        else:
            with processes(recipe, devices) as workers:
                yield partial(run_on, workers)

    @property
    def threads_used(self) -> int:
        """CPU threads of each worker's models."""
        return self.threads or torch.get_num_threads()


def kind_of(device: str) -> str:
    """cpu or cuda: bytes are equal on devices of one type."""
    return device.partition(":")[0]
