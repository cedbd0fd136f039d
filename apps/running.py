"""What the room Run asks: the jobs with their progress, and what may be done with each.

Plain Python, no Gradio. One for all ledgers that a studio serves.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from apps.job_progress import Progress, Reader
from apps.jobs import DONE, Job, Jobs
from apps.wanted import Wanted, new_folder
from blip.errors import InputError
from lab.weights import WEIGHTS

SHOWN = 30
"""Jobs that are listed, the newest ones."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """What the studio was started with; empty where there is none."""

    captioner: str
    filter: str
    vocab: Path | None

    @classmethod
    def of(cls, captioner: str | None, filter: str | None, vocab: Path | None) -> "Weights":
        """Those that were named, else the ones that came with the package, where they did."""
        came = {role: WEIGHTS / f"{role}.safetensors" for role in ("captioner", "filter")}
        found = {role: str(path) if path.is_file() else "" for role, path in came.items()}
        return cls(captioner=captioner or found["captioner"], filter=filter or found["filter"], vocab=vocab)


class Running:
    """The jobs of this person, and what a new one begins with."""

    def __init__(self, jobs: Jobs, weights: Weights, ledger: Path) -> None:
        self.weights, self._jobs, self._ledger, self._reader = weights, jobs, ledger.absolute(), Reader()

    def folder(self) -> str:
        """A folder for the next job's ledger: a new one beside the studio's ledger."""
        return new_folder(self._ledger, {job.out for job in self._jobs.all()})

    def start(self, wanted: Wanted) -> Job:
        """Start a job; InputError, one sentence, for what cannot be, and then nothing has begun."""
        asked = replace(wanted, vocab=self.weights.vocab).checked()
        return self._jobs.start(asked.words(), data=asked.data, out=asked.out, threshold=asked.threshold)

    def act(self, words: str) -> Job:
        """What a card's button says: `cancel ID` or `resume ID`; InputError where that cannot be."""
        verb, _, id = words.strip().partition(" ")
        actions = {"cancel": self._jobs.cancel, "resume": self._jobs.resume}
        if verb not in actions:
            raise InputError("A job can be cancelled or resumed; press one of its buttons.")
        return actions[verb](id)

    def board(self) -> list[tuple[Job, Progress]]:
        """The newest jobs and how far they have come, the newest first."""
        return [(job, self._reader.progress(job, self._jobs.log(job.id))) for job in self._jobs.all()[:SHOWN]]

    def done(self, id: str) -> Job:
        """A job that is done: no other ledger is opened by its address. InputError for any other."""
        job = self._jobs.find(id)
        if job.state != DONE:
            raise InputError(f"The job {id} is {job.state}; its ledger opens when it is done.")
        return job
