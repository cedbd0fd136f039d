"""`lab ledger card`: write the data card of a ledger, under any policy."""

from dataclasses import dataclass, field
from typing import Annotated

from tyro.conf import Positional, arg

from blip.capfilt import Policy, usual
from lab.datacard_page import write_card
from lab.ledgers import standing


@dataclass(frozen=True, kw_only=True)
class Options:
    """Write DATACARD.md, datacard.json and the histograms of the scores beside the ledger."""

    ledger: Annotated[str, Positional, arg(metavar="LEDGER")]
    """Folder or URL of the ledger."""
    policy: Policy = field(default_factory=Policy)
    """Which captions are kept."""


def main(options: Options) -> int:
    """Write the card and say where."""
    ledger = standing(options.ledger)
    print(f"data card: {write_card(ledger, usual(ledger, options.policy))}")
    return 0
