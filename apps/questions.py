"""What a person can ask of a ledger: a view, a search, an order, a page; and how DuckDB is asked."""

from dataclasses import dataclass, field

from blip.capfilt import Policy

NEAR = 0.05
"""A score this close to its threshold is near it."""

_LIMIT = "CASE WHEN synthetic THEN $synthetic ELSE $web END::FLOAT"
KEPT = f"level >= {_LIMIT}"
"""Whether a caption is kept, in SQL."""

_WEB = "coalesce(i.web >= $web::FLOAT, false)"
_SYNTHETIC = "coalesce(i.synthetic >= $synthetic::FLOAT, false)"
_CLOSE = f"abs(score - {_LIMIT}) <= {NEAR}"
_WRONG = f"truth IS NOT NULL AND ({KEPT}) <> (truth = 'true')"
ALL = "All images"
WRONG = "Filter wrong"
VIEWS = {
    ALL: "true",
    "Both kept": f"{_WEB} AND {_SYNTHETIC}",
    "Only web kept": f"{_WEB} AND NOT {_SYNTHETIC}",
    "Only synthetic kept": f"{_SYNTHETIC} AND NOT {_WEB}",
    "None kept": f"NOT {_WEB} AND NOT {_SYNTHETIC}",
    "Near a threshold": f"i.image IN (SELECT image FROM captions WHERE {_CLOSE})",
    WRONG: f"i.image IN (SELECT image FROM captions WHERE {_WRONG})",
}
"""Views by name, as conditions on an image. An origin is kept where any of the image's captions of it is;
the filter is wrong where it keeps a caption that is not true, or filters one that is."""

FOUND = "i.image IN (SELECT image FROM captions WHERE contains(lower(caption), lower($search)))"
"""Whether an image has a caption with the searched text, in SQL: letters as they are, no wildcards."""

AS_WRITTEN = "As in the ledger"
ORDERS = {
    AS_WRITTEN: "i.image",
    "Web score, lowest first": "i.web_score NULLS LAST, i.image",
    "Web score, highest first": "i.web_score DESC NULLS LAST, i.image",
    "Synthetic score, lowest first": "i.synthetic_score NULLS LAST, i.image",
    "Synthetic score, highest first": "i.synthetic_score DESC NULLS LAST, i.image",
    "Synthetic above web, most first": "i.synthetic_score - i.web_score DESC NULLS LAST, i.image",
}
"""Orders by name. An image with several captions of an origin stands where its best one does."""

SIZES = (6, 12, 24, 48)
"""Images a page."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A page of images under a policy. page counts from 0; size is in images."""

    policy: Policy = field(default_factory=Policy)
    view: str = ALL
    search: str = ""
    order: str = AS_WRITTEN
    page: int = 0
    size: int = 12
