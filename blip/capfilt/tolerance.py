"""How far scores move from one device or precision to another, as measured, and which verdicts that leaves open.

Kept in `agreement.json` beside the manifest: for every score column, as FILTER.COLUMN, one measurement for each
device and precision it was compared with.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from blip.capfilt.ledger import Ledger
from blip.capfilt.policy import Policy, Term, single
from blip.data.jsons import parse_json
from blip.errors import InputError

FILE = "agreement.json"


@dataclass(frozen=True)
class Running:
    """Where scores were computed; None where the ledger does not say."""

    device: str | None
    precision: str | None

    @classmethod
    def of(cls, ledger: Ledger, filter: str) -> "Running":
        """That of a filter of the ledger: its own if it was added later, else that of the job."""
        job = ledger.about.get("notes", {})
        own = ledger.about.get("scored", {}).get(filter, job)
        return cls(own.get("device"), own.get("precision"))

    def __str__(self) -> str:
        return f"{self.precision or 'precision not recorded'} on {self.device or 'device not recorded'}"


@dataclass(frozen=True)
class Measured:
    """The absolute differences of one score column, here and there, over the captions that can be compared."""

    captions: int
    tolerance: float
    """The largest of them."""
    p999: float
    """99.9% of the captions differ by at most this."""
    unscored: int
    """Captions that cannot be compared: with a score on one side only, or infinite on one side and another number on
    the other. No tolerance covers them."""
    here: Running
    there: Running
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of the packages, when it was measured."""


def measurements(ledger: Ledger) -> dict[str, list[Measured]]:
    """What is known of each column, by FILTER.COLUMN; empty where nothing was measured."""
    try:
        found = parse_json(ledger.store.read(FILE))
        return {name: [_measured(own) for own in every] for name, every in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise InputError(
            f"{ledger.store.path(FILE)} cannot be read ({error}); delete it and run lab ledger agree again."
        ) from None


def note(ledger: Ledger, found: Mapping[str, Measured]) -> str:
    """Add measurements, by FILTER.COLUMN, to the ledger's file, whole or not at all; the path of it.

    One of the same column, device and precision takes the place of an earlier one.
    """
    known = measurements(ledger)
    for name, new in found.items():
        others = [old for old in known.get(name, []) if (old.here, old.there) != (new.here, new.there)]
        known[name] = [*others, new]
    content = {name: [asdict(own) for own in every] for name, every in sorted(known.items())}
    ledger.store.write(FILE, json.dumps(content, indent=1).encode() + b"\n")
    return str(ledger.store.path(FILE))


@dataclass(frozen=True)
class Margins:
    """How near a score must be to the number that a policy compares it with for its verdict to be borderline.

    Zero, and no verdict is, where no difference was measured. Ranks (top_fraction and the caps) compare captions
    with each other, for which these margins say nothing.
    """

    score: float
    """Of the score and its thresholds: the tolerance of its column, or those of a sum's columns times weight."""
    terms: tuple[tuple[Term, float], ...]
    """Of the columns of union and intersection that have one."""

    @classmethod
    def of(cls, ledger: Ledger, policy: Policy) -> "Margins":
        """From the ledger's measurements, of each column the largest."""
        known = {name: max(own.tolerance for own in every) for name, every in measurements(ledger).items()}
        tolerance = lambda term: known.get(f"{term.filter}.{term.column}", 0.0)
        conditions = map(Term.parse, (*policy.union, *policy.intersection))
        return cls(
            sum(abs(term.number) * tolerance(term) for term in policy.summands),
            tuple((term, tolerance(term)) for term in conditions if tolerance(term)),
        )

    @property
    def any(self) -> bool:
        """Whether a verdict can be borderline at all."""
        return bool(self.score or self.terms)

    def reached(
        self, score: pa.ChunkedArray, limits: np.ndarray, scores: Mapping[str, pa.Table]
    ) -> np.ndarray:
        """Which rows (N,) bool are within a margin; a score that is missing is within none.

        score and its limits are (N,) float32; scores are the filters' tables of the same rows, by name.
        """
        found = _near(score, limits, self.score)
        for term, margin in self.terms:
            found |= _near(scores[term.filter][term.column], single(term.number), margin)
        return found


def _near(scores: pa.ChunkedArray, limit: np.ndarray | np.float32, margin: float) -> np.ndarray:
    if not margin:
        return np.zeros(len(scores), bool)
    values = np.asarray(pc.fill_null(scores, float("nan")), np.float64)
    with np.errstate(invalid="ignore"):  # infinity less infinity
        return np.abs(values - np.asarray(limit, np.float64)) <= margin


def _measured(own: dict) -> Measured:
    made = Measured(**own | {"here": Running(**own["here"]), "there": Running(**own["there"])})
    numbers = (made.captions, made.tolerance, made.p999, made.unscored)
    if not all(isinstance(number, (int, float)) and 0 <= number <= sys.float_info.max for number in numbers):
        raise ValueError(f"{numbers} are no counts and differences")
    return made
