"""`lab ledger summary`: what was kept and filtered."""

import json
from dataclasses import dataclass, field
from typing import Annotated

from tyro.conf import Positional, arg

from blip.capfilt import Policy, usual
from lab.ledgers import standing
from lab.report import summarize, table


@dataclass(frozen=True, kw_only=True)
class Options:
    """Counts of a ledger under a policy, and against truth where it is known."""

    ledger: Annotated[str, Positional, arg(metavar="LEDGER")]
    """Folder or URL of the ledger."""
    policy: Policy = field(default_factory=Policy)
    """Which captions are kept."""
    json: bool = False
    """Print JSON for scripts."""


def main(options: Options) -> int:
    """Print the summary."""
    ledger = standing(options.ledger)
    summary = summarize(ledger, usual(ledger, options.policy))
    print(json.dumps(summary, indent=1) if options.json else table(summary))
    return 0
