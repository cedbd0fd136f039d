"""Tasks whose steps can be captured, since they know when a step does what the step before it did."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn

from blip.tasks.batch import TeacherFeatures


class Staged(nn.Module, ABC):
    """A task whose steps do the same work, without asking a GPU for a number, as long as their stage is the same."""

    _stage: str | None = None

    @abstractmethod
    def stage_now(self) -> str | None:
        """The stage by name; None where one step does not do what the step before it did."""

    @abstractmethod
    def after_step(self, features: Sequence[TeacherFeatures]) -> None:
        """Let time pass once, after the optimizer's step; `features` are those of its micro-batches."""

    @contextmanager
    def within(self, stage: str) -> Iterator[None]:
        """Within it the stage is taken as given."""
        self._stage = stage
        try:
            yield
        finally:
            self._stage = None
