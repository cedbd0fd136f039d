"""What the rooms of the studio ask: one service a room, opened by the command."""

from dataclasses import dataclass

from apps.comparing import Comparing
from apps.reviewing import Desk
from apps.searching import Searching
from apps.service import Service
from apps.trying import Workbench


@dataclass(frozen=True, kw_only=True)
class Rooms:
    """The opened ledger, and what answers in each room."""

    service: Service
    desk: Desk
    comparing: Comparing
    searching: Searching
    workbench: Workbench
