"""A link to a place in the review: the query string that opens exactly this view again, and back."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from apps.queues import QUEUES
from blip.capfilt import Policy
from blip.errors import InputError

ROOM = "review"
OTHERS = "l"
"""The first part of the address of every ledger but the one that the studio was started with: /l/ID/."""
UP = "../../"
"""The way from there to the studio's own address."""

_PAPER = Policy()
_PAGE = "page_number"  # Gradio keeps "page" for itself


@dataclass(frozen=True, kw_only=True)
class Place:
    """A caption of a queue under a policy. row_id "": the first of page `page`, which counts from 0."""

    policy: Policy = field(default_factory=Policy)
    queue: str = next(iter(QUEUES))
    search: str = ""
    opinion: str = ""
    page: int = 0
    row_id: str = ""


def link(place: Place, ledger: str) -> str:
    """The query string of a place, with `?`; ledger is what names the ledger (see Desk.ledger)."""
    words = {"room": ROOM, "ledger": ledger, "queue": place.queue}
    words |= {"web": f"{place.policy.web:g}", "synthetic": f"{place.policy.synthetic:g}"}
    words |= {"search": place.search, "opinion": place.opinion, _PAGE: str(place.page + 1), "row": place.row_id}
    return "?" + urlencode({name: word for name, word in words.items() if word})


def place_of(words: Mapping[str, str], ledger: str, usual: Policy = _PAPER) -> Place:
    """The place that a query string names, the default for what it leaves out; usual: the thresholds then.

    InputError, naming the part, for a link of another ledger and for words that cannot be.
    """
    if words.get("ledger", ledger) != ledger:
        raise InputError(f"This link belongs to another ledger ({words['ledger']}); open the studio on that one.")
    queue = words.get("queue", Place.queue)
    if queue not in QUEUES:
        raise InputError(f"This link names the queue {queue!r}, which there is not; choose one of those shown.")
    policy = Policy(web=_number(words, "web", 0, 1, usual.web), synthetic=_number(words, "synthetic", 0, 1, usual.synthetic))
    page = _number(words, _PAGE, 1, math.inf, 1)
    return Place(
        policy=policy,
        queue=queue,
        search=words.get("search", ""),
        opinion=words.get("opinion", ""),
        page=int(page) - 1 if math.isfinite(page) else 0,
        row_id=words.get("row", ""),
    )


def _number(words: Mapping[str, str], name: str, low: float, high: float, default: float) -> float:
    text = words.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        most = f" to {high:g}" if math.isfinite(high) else " or more"
        raise InputError(f"This link says {name} {text!r}, which cannot be; write {low:g}{most}.")
    return value
