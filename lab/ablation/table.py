"""What an ablation is: a question with arms; and the arms that many ablations share."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from blip.errors import InputError
from lab.ablation.arms import Arm, Lab
from lab.ablation.budget import Budget
from lab.mixes import FILTERED_WEB, UNFILTERED, Mix
from lab.runs import Run

MORE_WEB = 8
"""Times the web pairs, about as 129M is to 14M images in the paper."""
TRUTH = Mix(by_truth=True)


class HasRuns(Protocol):
    """What an ablation knows of an arm: its runs, what its student's pre-training saw, and what of it is on purpose."""

    @property
    def name(self) -> str: ...
    @property
    def about(self) -> str: ...
    @property
    def declared(self) -> tuple[str, ...]: ...
    def runs(self, lab: Lab) -> dict[str, Run]: ...
    def seen(self, lab: Lab) -> Budget | None: ...


@dataclass(frozen=True)
class Ablation:
    """A table: its name, what it asks, where the paper has it, and its arms."""

    name: str
    question: str
    source: str
    arms: tuple[HasRuns, ...]

    def arm(self, name: str) -> HasRuns:
        """An arm by name; InputError names the known ones."""
        for arm in self.arms:
            if arm.name == name:
                return arm
        known = ", ".join(shlex.quote(arm.name) for arm in self.arms)  # some names have a comma
        raise InputError(f"The ablation {self.name} has no arm {name!r}; choose one of {known}.")

    def named(self, words: Sequence[str]) -> list[HasRuns]:
        """The arms of a command line's words; a name of several words may be given without quotation marks."""
        known, found, at = {arm.name for arm in self.arms}, [], 0
        while at < len(words):
            ends = (end for end in range(len(words), at, -1) if " ".join(words[at:end]) in known)
            end = next(ends, at + 1)
            found.append(self.arm(" ".join(words[at:end])))
            at = end
        return found


NONE = Arm(name="none", about="web texts as they are", mix=None)
F_ONLY = Arm(name="F", about="web texts that the filter keeps", mix=FILTERED_WEB)
C_ONLY = Arm(name="C", about="web texts and unfiltered synthetic captions", mix=UNFILTERED)
CAPFILT = Arm(name="both", about="what the filter keeps of web texts and synthetic captions")
