"""The process of a job: waits for its turn, runs `lab capfilt`, and writes down how that ended.

Started by apps/jobs.py as `python -m apps.job_worker FOLDER ID`. The command runs in this very process: a
signal that ends it ends all of the job, and the system gives the turn to the next one.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from apps.jobs import Jobs
from lab.cli import entry
from lab.locks import locked

_CRASHED = 1


def main(folder: Path, id: str) -> int:
    """Run the job of a folder when its turn has come; the exit status of its command."""
    jobs = Jobs(folder)
    with locked(jobs.turn(), wait=True):
        job = jobs.began(id)
        if job is None:
            return 0
        status = _CRASHED
        try:
            status = _capfilt(job.words)
        finally:
            jobs.finished(id, status)
    return status


def _capfilt(words: Sequence[str]) -> int:
    """`lab capfilt WORDS`, as a terminal starts it; the records keep this command line."""
    sys.argv = ["lab", "capfilt", *words]
    try:
        entry()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else _CRASHED
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
