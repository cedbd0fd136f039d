"""What the rooms of the studio ask: one service a room, opened for a ledger."""

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from apps.comparing import Comparing
from apps.reviewing import Desk
from apps.reviews import Reviews
from apps.running import Running
from apps.searching import Searching
from apps.service import Service
from apps.trying import Workbench
from blip.capfilt import Ledger, Policy, usual
from lab.audit_draw import identity
from lab.ledgers import reviews_file


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What the studios over all ledgers have in common."""

    workbench: Workbench
    running: Running
    vocab: Path | None = None
    """A BERT vocab.txt, for weights that come without one."""


@dataclass(frozen=True, kw_only=True)
class Rooms:
    """The opened ledger, and what answers in each room."""

    service: Service
    desk: Desk
    comparing: Comparing
    searching: Searching
    workbench: Workbench
    running: Running
    policy: Policy
    """The thresholds that the rooms begin with."""


def open_rooms(
    opened: ExitStack,
    ledger: Path,
    shared: Shared,
    *,
    policy: Policy | None = None,
    reviews: Path | None = None,
    compare: Sequence[Path] = (),
    compare_root: Sequence[Path] = (),
    search_index: Path | None = None,
    search_weights: str | None = None,
) -> Rooms:
    """The rooms over a ledger, which `opened` closes; InputError where it cannot be opened.

    policy: the thresholds of the rooms at first, by default those of the ledger's run. reviews: the file of the room Review, by default beside the ledger. compare, compare_root: see Comparing.
    search_index, search_weights: see Searching.
    """
    service = opened.enter_context(closing(Service.open(ledger)))
    policy = policy or _of_run(service.ledger)
    desk = Desk(service, Reviews(reviews or reviews_file(ledger), identity(service.ledger)), policy)
    opened.enter_context(closing(desk))
    comparing = Comparing([service.ledger, *map(Ledger.open, compare)], compare_root)
    opened.enter_context(closing(comparing))
    searching = Searching(service, search_index, weights=search_weights, vocab=shared.vocab)
    return Rooms(
        service=service,
        desk=desk,
        comparing=comparing,
        searching=searching,
        workbench=shared.workbench,
        running=shared.running,
        policy=policy,
    )


def _of_run(ledger: Ledger) -> Policy:
    """The thresholds of the ledger's run, the paper's where it has none; at most 1, as far as a slider goes."""
    found = usual(ledger)
    return Policy(web=min(found.web, 1.0), synthetic=min(found.synthetic, 1.0))
