"""`lab ledger verify`: prove that a ledger is whole."""

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from blip.capfilt import Ledger, verify


@dataclass(frozen=True, kw_only=True)
class Options:
    """Check every invariant of a ledger against its files; exit status 1 if one does not hold."""

    ledger: Annotated[str, Positional, arg(metavar="LEDGER")]
    """Folder or URL of the ledger."""


def main(options: Options) -> int:
    """Print one line an invariant."""
    findings = verify(Ledger.open(options.ledger))
    for finding in findings:
        detail = f"   ({finding.detail})" if finding.detail else ""
        print(f"{'holds' if finding.holds else 'BROKEN':7} {finding.invariant}{detail}")
    return 0 if all(finding.holds for finding in findings) else 1
