"""How good a filter is where truth is known: AUC, precision and recall of what it keeps."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

_CLEAN = "clean"  # noise_kind of web text that is no noise


def auc(positive: np.ndarray, negative: np.ndarray) -> float | None:
    """Chance that a positive scores above a negative, ties half (Mann-Whitney); None if a side is empty.

    A score that is missing, None or NaN, ranks behind every other, as in a Policy.
    """
    if not len(positive) or not len(negative):
        return None
    ordered, above = np.sort(_places(negative)), _places(positive)
    below, upto = (np.searchsorted(ordered, above, side) for side in ("left", "right"))
    return float((below + upto).sum() / (2 * len(positive) * len(negative)))


def _places(scores: np.ndarray) -> np.ndarray:
    """Numbers (N,) in the order of scores (N,); -inf where one is missing."""
    values = np.asarray(scores, float)
    return np.where(np.isnan(values), -np.inf, values)


@dataclass(frozen=True)
class Kept:
    """What a filter kept, against the truth: counts of kept and all captions by whether they are true."""

    kept_true: int
    kept_other: int
    true: int
    other: int

    @classmethod
    def of(cls, kept: np.ndarray, true: np.ndarray) -> "Kept":
        """From boolean rows: kept by the filter, true of the image."""
        return cls(int((kept & true).sum()), int((kept & ~true).sum()), int(true.sum()), int((~true).sum()))

    @property
    def precision(self) -> float | None:
        """Share of true captions among the kept ones."""
        return _ratio(self.kept_true, self.kept_true + self.kept_other)

    @property
    def recall(self) -> float | None:
        """Share of true captions that were kept."""
        return _ratio(self.kept_true, self.true)

    def rates(self) -> dict[str, float | None]:
        """Precision and recall, and the share of captions that were true before any was filtered."""
        before = _ratio(self.true, self.true + self.other)
        return {"true_before": before, "precision": self.precision, "recall": self.recall}


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def against_truth(rows: pa.Table, score: np.ndarray, kept: np.ndarray, rewritten: np.ndarray | None = None) -> dict[str, Any]:
    """A filter against known truth: AUC per noise kind, precision and recall per origin, false shares.

    rows: candidates with origin, truth and noise_kind, row-aligned with score and kept. rewritten: captions that are
    kept in words of a person, of which nobody knows the truth; what is said of kept captions leaves them out. The AUC
    sets clean web text against the text of one kind; noise that happens to be true counts as neither.
    """
    origin, truth, kind = (np.array(rows[name].to_pylist()) for name in ("origin", "truth", "noise_kind"))
    web, true, false = origin != "synthetic", truth == "true", truth == "false"
    known = truth != np.array(None)
    if rewritten is not None:
        known &= ~rewritten
    clean = score[web & (kind == _CLEAN)]
    kinds = sorted({name for name in kind[web] if name not in (None, _CLEAN)})
    return {
        "false_share_before": share(false[web]),
        "false_share_after": share(false[kept & known]),
        "kept_of_true_web": share(kept[web & true & known]),
        "kept_of_synthetic": share(kept[~web]),
        "auc": {name: auc(clean, score[web & (kind == name) & ~true]) for name in kinds},
        "origins": {
            name: Kept.of(kept[chosen], true[chosen]).rates()
            for name, chosen in (("web", web & known), ("synthetic", ~web & known))
        },
    }


def share(holds: np.ndarray) -> float | None:
    """Share of true values; None where there are none to count."""
    return float(holds.mean()) if len(holds) else None
