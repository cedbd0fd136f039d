"""What a person can ask of a ledger: a view, a search, an order, a page; and how DuckDB is asked."""

from dataclasses import dataclass, field

from blip.capfilt import Policy

NEAR = 0.05
"""A score this close to its threshold is near it."""

LIMIT = "CASE WHEN synthetic THEN $synthetic ELSE $web END::FLOAT"
"""The threshold of a caption, in SQL."""

KEPT = f"level >= {LIMIT}"
"""Whether a caption is kept, in SQL."""

BORDERLINE = (
    f"coalesce($margin > 0 AND decided IS NULL AND abs(score::DOUBLE - ({LIMIT})::DOUBLE) <= $margin, false)"
)
"""Whether another device or precision may decide otherwise, in SQL."""

_WEB = "coalesce(i.web >= $web::FLOAT, false)"
_SYNTHETIC = "coalesce(i.synthetic >= $synthetic::FLOAT, false)"
DISTANCE = f"abs(score - {LIMIT})"
"""How far a caption's score is from its threshold, in SQL."""

CLOSE = f"coalesce({DISTANCE} <= {NEAR}, false)"
"""Whether a caption is near its threshold, in SQL."""

# Both keep the same share of an origin, so that a second filter needs no threshold of its own.
_SHARES = {
    side: f"(SELECT avg((score >= ${limit}::FLOAT)::INT) FROM captions WHERE {side} AND score IS NOT NULL)"
    for side, limit in (("synthetic", "synthetic"), ("NOT synthetic", "web"))
}
_SHARE = f"CASE WHEN synthetic THEN {_SHARES['synthetic']} ELSE {_SHARES['NOT synthetic']} END"
DISAGREE_CAPTION = f"(score >= {LIMIT}) <> (opinions[$opinion] < {_SHARE})"
"""Whether the second opinion on a caption is another than the filter's, in SQL."""

WRONG_CAPTION = f"truth IS NOT NULL AND coalesce(score >= {LIMIT}, false) <> (truth = 'true')"
"""Whether the filter keeps a caption that is not true, or filters one that is, whatever people decided, in SQL."""

TRUTH = "CASE WHEN better IS NULL THEN truth END"
"""Whether a caption is true as it is exported, in SQL: of a text that a person wrote nobody knows."""

HAS = "(contains(lower(caption), lower($search)) OR coalesce(contains(lower(better), lower($search)), false))"
"""Whether a caption, or the better text of it, has the searched text, in SQL: letters as they are, no wildcards."""

ALL = "All images"
BORDERS = "Borderline"
DISAGREE = "Filters disagree"
WRONG = "Filter wrong"
VIEWS = {
    ALL: "true",
    "Both kept": f"{_WEB} AND {_SYNTHETIC}",
    "Only web kept": f"{_WEB} AND NOT {_SYNTHETIC}",
    "Only synthetic kept": f"{_SYNTHETIC} AND NOT {_WEB}",
    "None kept": f"NOT {_WEB} AND NOT {_SYNTHETIC}",
    "Near a threshold": f"i.image IN (SELECT image FROM captions WHERE {CLOSE})",
    BORDERS: f"i.image IN (SELECT image FROM captions WHERE {BORDERLINE})",
    DISAGREE: f"i.image IN (SELECT image FROM captions WHERE {DISAGREE_CAPTION})",
    WRONG: f"i.image IN (SELECT image FROM captions WHERE {WRONG_CAPTION})",
}
"""Views by name, as conditions on an image. An origin is kept where any of the image's captions of it is;
the filter is wrong where it keeps a caption that is not true, or filters one that is. Filters disagree where
one keeps what the other filters, if the second opinion keeps as many captions of the origin as the first."""

FOUND = f"i.image IN (SELECT image FROM captions WHERE {HAS})"
"""Whether an image has a caption with the searched text, in SQL."""

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
    """A page of images under a policy. page counts from 0; size is in images.

    opinion: FILTER.COLUMN that may disagree, the ledger's first one where it names none.
    """

    policy: Policy = field(default_factory=Policy)
    view: str = ALL
    search: str = ""
    order: str = AS_WRITTEN
    opinion: str = ""
    page: int = 0
    size: int = 12
