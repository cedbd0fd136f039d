"""Claims and runs as the studio shows them: what the records decide, and how far trainings have come.

Plain Python, no Gradio. Records are those that `lab ablate` wrote; runs are those of a home of runs.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from blip.errors import InputError
from blip.log import read_rows
from lab.ablations import ablation
from lab.claim_records import best
from lab.claims import CLAIMS
from lab.claims_report import FOLDER, decided_of, read_records
from lab.decided import Decided
from lab.runs import DONE, INTERRUPTED, RUNNING, Home
from lab.secondary import Outcomes, secondary

MOST_POINTS = 240
"""Points of a curve that are drawn; longer ones are averaged into as many."""

_NO_LOSS = {"step", "learning_rate", "alpha", "gradient_norm", "samples_per_second"}
_STATES = (RUNNING, INTERRUPTED, DONE)


@dataclass(frozen=True)
class Question:
    """An ablation with its claims: those that the records decide, and those that nobody has measured."""

    asks: str
    source: str
    command: str
    """What measures it, or adds seeds."""
    decided: tuple[Decided, ...]
    open: tuple[str, ...]
    """What the claims without a record say."""
    outcomes: tuple[Outcomes, ...]
    """Of the claims that R@1 decides, by the best record."""


@dataclass(frozen=True)
class Training:
    """A run of a home that trains, as a line of a list."""

    id: str
    state: str
    """running, interrupted, done."""
    step: int
    rate: float
    """Samples a second when it was last read."""
    seconds: float | None
    """Of a run that is done."""


@dataclass(frozen=True)
class Curve:
    """A loss part over steps, as (step, value); averaged where the run has logged more."""

    name: str
    points: tuple[tuple[float, float], ...]


def questions(folder: Path = FOLDER) -> list[Question]:
    """Every ablation that decides a claim, in the claims' order; InputError where a record is none."""
    found, records = defaultdict(list), read_records(folder)
    for one in decided_of(records):
        found[one.claim.id].append(one)
    outcomes = {name: tuple(secondary(shown)) for name, shown in best(records).items()}
    names = dict.fromkeys(claim.ablation for claim in CLAIMS)
    return [_question(name, found, outcomes.get(name, ())) for name in names]


def trainings(home: Home) -> list[Training]:
    """The runs that train, running ones first, then the newest."""
    rows = [row for row in home.rows() if row["state"] in _STATES and _logs(home, row["id"])]
    rows.sort(key=lambda row: row["started"] or "", reverse=True)
    rows.sort(key=lambda row: _STATES.index(row["state"]))
    return [_training(home, row["id"], row["state"], row["seconds"]) for row in rows]


def curves(home: Home, run: str) -> list[Curve]:
    """The loss parts of a run; InputError where the home has no such training."""
    logs = _logs(home, run) if Path(run).name == run else []
    if not logs:
        raise InputError(f"The home of runs {home.folder} has no training {run!r}; choose one of the list.")
    rows = read_rows(logs[-1])
    names = [name for name in (rows[-1] if rows else {}) if name not in _NO_LOSS]
    return [Curve(name, _thinned([(row["step"], row[name]) for row in rows if name in row])) for name in names]


def _question(name: str, found: dict[str, list[Decided]], outcomes: tuple[Outcomes, ...]) -> Question:
    table, claims = ablation(name), [claim for claim in CLAIMS if claim.ablation == name]
    decided = tuple(one for claim in claims for one in found.get(claim.id, ()))
    unknown = tuple(claim.says for claim in claims if claim.id not in found)
    command = f"lab ablate {name} --scale cpu --seeds {max(claim.seeds for claim in claims)}{' --add' if decided else ''}"
    return Question(table.question, table.source, command, decided, unknown, outcomes)


def _training(home: Home, run: str, state: str, seconds: float | None) -> Training:
    rows = read_rows(_logs(home, run)[-1])
    last = rows[-1] if rows else {"step": 0, "samples_per_second": 0.0}
    return Training(run, state, int(last["step"]), last.get("samples_per_second", 0.0), seconds)


def _logs(home: Home, run: str) -> list[Path]:
    """What a run has logged, the newest last: captioner and filter each train once, bootstrapping may go on."""
    return sorted(home.path(run).glob("*/metrics.jsonl"), key=lambda path: path.stat().st_mtime)


def _thinned(points: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """At most MOST_POINTS means of neighbours."""
    each = -(-len(points) // MOST_POINTS) or 1
    parts = [points[at : at + each] for at in range(0, len(points), each)]
    return tuple((part[-1][0], sum(value for _, value in part) / len(part)) for part in parts)
