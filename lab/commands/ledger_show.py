"""`lab ledger show`: every caption and score of one image, and why each was kept or not."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pyarrow.compute as pc
from tyro.conf import Positional, arg

from blip.capfilt import Ledger, Policy, decide
from blip.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Options:
    """Show what the ledger knows of an image."""

    ledger: Annotated[Path, Positional, arg(metavar="LEDGER")]
    """Folder of the ledger."""
    key: Annotated[str, Positional, arg(metavar="KEY")]
    """Key of the image."""
    policy: Policy = field(default_factory=Policy)
    """Which captions are kept."""


def main(options: Options) -> int:
    """Print the image, its captions with their scores, and its rejects."""
    ledger = Ledger.open(options.ledger)
    verdicts = decide(ledger, options.policy)
    mine = pc.equal(verdicts["image_key"], options.key)
    decided = verdicts.filter(mine).to_pylist()
    rows = ledger.table("candidates").filter(mine).to_pylist()
    rejects = [row for row in ledger.table("rejects").to_pylist() if row["image_key"] == options.key]
    if not rows and not rejects:
        raise InputError(f"The ledger has no image {options.key!r}; lab ledger decide lists those it has.")
    print(f"{options.key}   {rows[0]['image_ref'] if rows else rejects[0]['ref']}")
    for row, verdict in zip(rows, decided, strict=True):
        sign = "kept    " if verdict["kept"] else "filtered"
        score = "-" if verdict["score"] is None else f"{verdict['score']:.3f}"
        truth = f"   {row['truth']}" if row["truth"] else ""
        print(f"  {sign} {score:>6}  {row['origin']:9}  {row['caption']}{truth}   by {verdict['by']}")
    for row in rejects:
        print(f"  reject            {row['reason']}")
    return 0
