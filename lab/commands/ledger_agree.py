"""`lab ledger agree`: how far scores, verdicts and captions move with device and precision."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated

from tyro.conf import Positional, UseAppendAction, arg

from blip.capfilt import Policy, usual
from blip.capfilt.agreement import Agreement, agree
from blip.capfilt.tolerance import note
from blip.errors import InputError
from lab.ledgers import standing
from lab.records import versions
from lab.report import summarize


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare scores of the same captions by the same weights from two devices or precisions, and keep the
    largest difference of each column in LEDGER: verdicts within it of a threshold are borderline from then on.
    """

    ledger: Annotated[str, Positional, arg(metavar="LEDGER")]
    """Folder of the ledger that learns its tolerance."""
    other: Annotated[str | None, Positional, arg(metavar="OTHER")] = None
    """Folder of a ledger of the same job from elsewhere; without it, LEDGER is compared with itself."""
    rescored: Annotated[tuple[str, ...], UseAppendAction, arg(metavar="NAME=AGAIN")] = ()
    """A filter and the name under which it scored again (lab ledger score --precision bf16
    --filter itm-bf16=WEIGHTS), as in itm=itm-bf16. May be given several times."""
    policy: Policy = field(default_factory=Policy)
    """Which captions are kept, on both sides."""
    json: bool = False
    """Print JSON for scripts."""


def main(options: Options) -> int:
    """Compare, note the tolerances in the ledger, print."""
    here = standing(options.ledger)
    there = here if options.other is None else standing(options.other)
    policy = usual(here, options.policy)
    found = agree(here, there, policy, rescored=_rescored(options.rescored), versions=versions())
    path = note(here, found.columns)
    borderline = summarize(here, policy).get("borderline", {"web": 0, "synthetic": 0})
    if options.json:
        result = asdict(found) | {"borderline": borderline, "policy": str(policy)}
        print(json.dumps(result, indent=1))
    else:
        print(_said(found, borderline, path, policy))
    return 0


def _rescored(words: Sequence[str]) -> dict[str, str]:
    names = {}
    for word in words:
        name, _, again = word.partition("=")
        if not name or not again:
            raise InputError(f"--rescored {word!r} must be NAME=AGAIN: the filter, and its name when it scored again.")
        names[name] = again
    return names


def _said(found: Agreement, borderline: dict[str, int], path: str, policy: Policy) -> str:
    flips = f"{found.flips:,} of {found.decided:,} ({_share(found.flips, found.decided)})"
    lines = [
        f"{found.captions:,} captions on both sides; {found.only_here:,} only here, {found.only_there:,} only there",
        f"verdicts that flip: {flips}, kept by {policy}",
        "",
        f"{'score':20}{'captions':>12}{'largest difference':>22}{'99.9% differ by at most':>26}{'not compared':>14}",
    ]
    for name, own in found.columns.items():
        lines.append(f"{name:20}{own.captions:>12,}{own.tolerance:>22.3g}{own.p999:>26.3g}{own.unscored:>14,}")
    first = next(iter(found.columns.values()), None)
    if first is not None:
        total = sum(borderline.values())
        lines += ["", f"here {first.here}, there {first.there}", f"borderline from now on: {total:,} verdicts ({path})"]
    return "\n".join(lines)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f}%" if whole else "-"
