"""The queues of the review: which captions a person looks at, in which order, as DuckDB is asked."""

from dataclasses import dataclass

from apps.questions import BORDERLINE, CLOSE, DISAGREE_CAPTION, DISTANCE, HAS, KEPT, WRONG_CAPTION

ROWS = 10
"""Captions a page."""

_REVIEWED = "row_id IN (SELECT unnest($reviewed::VARCHAR[]))"


@dataclass(frozen=True)
class Queue:
    """A queue by the name people see, its condition on a caption and its order, in SQL."""

    name: str
    condition: str
    order: str = "row"


QUEUES = {
    "near": Queue("Near the threshold", CLOSE, f"{DISTANCE}, row"),
    "borderline": Queue("Borderline", BORDERLINE, f"{DISTANCE}, row"),
    "disagree": Queue("Filters disagree", DISAGREE_CAPTION, f"{DISTANCE}, row"),
    "wrong": Queue("Filter wrong", WRONG_CAPTION, f"{DISTANCE} DESC NULLS LAST, row"),
    "kept": Queue("Kept", KEPT),
    "filtered": Queue("Filtered", f"NOT ({KEPT})"),
    "reviewed": Queue("Reviewed", _REVIEWED),
    "all": Queue("All captions", "true"),
}
"""By the word a link has for them. Those near a threshold come nearest first, wrong ones most wrong first."""

SEARCHED = HAS
"""Whether a caption has the searched text."""
