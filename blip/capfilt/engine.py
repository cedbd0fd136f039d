"""CapFilt over a set of pairs: caption every image, score every caption, write the ledger (paper 3.3).

Knows no network: captioner and filters are handed in. Work is cut into shards of images. Shards are made
in this process (`run`) or by workers in any number and place (`run_on`); one writer, here, commits them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from blip.capfilt.job import Job, about_data
from blip.capfilt.ledger import READING, Ledger, shard_name
from blip.capfilt.rows import reject_counts, reject_row, table
from blip.capfilt.schema import REJECTS
from blip.capfilt.work import Made, Task, make
from blip.capfilt.workers import Workers
from blip.data.pairs import Reject
from blip.data.pairset import PairSet
from blip.data.places import Place
from blip.errors import InputError

Progress = Callable[[int], None]
_KNOWN = ["row_id", "image_key", "image_sha256", "caption"]  # what scoring needs of candidates that are there


def run(job: Job, pairs: PairSet, out: Place, progress: Progress = lambda images: None) -> Ledger:
    """Fill the ledger in `out`, or continue where an earlier run of the same job stopped.

    progress is told how many images a finished tile held.
    """
    ledger = _begun(job.about(), pairs, out)
    for task in _tasks(ledger, job.about(), pairs, progress):
        _commit(ledger, make(job, task, progress))
    return ledger


def run_on(
    workers: Workers, pairs: PairSet, out: Place, progress: Progress = lambda images: None
) -> Ledger:
    """As `run`, with the same bytes, on workers that each have the job.

    progress is told how many images a finished shard held.
    """
    ledger = _begun(workers.about, pairs, out)
    for made in workers.made(_tasks(ledger, workers.about, pairs, progress)):
        _commit(ledger, made)
        progress(made.images)
    return ledger


def _begun(about: Mapping[str, Any], pairs: PairSet, out: Place) -> Ledger:
    if not len(pairs.images):
        raise InputError(_nothing(pairs.rejects))
    ledger = Ledger.create(out, about_data(about, pairs))
    if not ledger.has("rejects", READING):
        rows = [reject_row(reject) for reject in pairs.rejects]
        ledger.write("rejects", READING, table(rows, REJECTS), reject_counts(rows))
    return ledger


def _tasks(
    ledger: Ledger, about: Mapping[str, Any], pairs: PairSet, progress: Progress
) -> Iterator[Task]:
    """The shards that lack a table, each with what it takes to make it; those that do not are done."""
    total, size = len(pairs.images), about["images_per_shard"]
    captioned = ledger.whole("candidates") & ledger.whole("rejects")
    scored = {name: ledger.whole(f"scores/{name}") for name in about["filters"]}
    for number, start in enumerate(range(0, total, size)):
        shard, numbers = shard_name(number), range(start, min(start + size, total))
        missing = tuple(name for name, shards in scored.items() if shard not in shards)
        if shard in captioned and not missing:
            progress(len(numbers))
            continue
        written = ledger.read("candidates", shard, _KNOWN) if shard in captioned else None
        images = pairs.with_captions(numbers)
        yield Task(shard=shard, first=start, images=images, filters=missing, written=written)


def _commit(ledger: Ledger, made: Made) -> None:
    for name, rows, counts in made.tables:
        ledger.write(name, made.shard, rows, counts)


def _nothing(rejects: Sequence[Reject]) -> str:
    if not rejects:
        return "The data holds no image; check the path."
    first = rejects[0]
    return f"None of the data can be used: the first of {len(rejects)} rejects is {first.ref} ({first.reason})."
