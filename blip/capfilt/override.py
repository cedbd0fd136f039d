"""Decisions of people, which go before the filter's: appended, never changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from blip.capfilt.decide import decide
from blip.capfilt.ledger import Ledger, shard_name
from blip.capfilt.policy import Policy
from blip.capfilt.schema import OVERRIDES
from blip.errors import InputError


@dataclass(frozen=True)
class Decision:
    """What a person decided of a caption: kept or not, or None, which gives it back to the filter.

    caption: the better text that exports take in its place while the person keeps it, None for the caption as it is.
    """

    kept: bool | None
    reviewer: str
    at: datetime
    caption: str | None = None


def override(
    ledger: Ledger, decisions: Mapping[str, bool], *, reviewer: str, policy: Policy | None = None
) -> None:
    """Keep or filter captions by row_id, whatever their score; the verdict replaced is written down."""
    now = datetime.now(UTC)
    record(ledger, {row: Decision(kept, reviewer, now) for row, kept in decisions.items()}, policy)


def record(ledger: Ledger, decisions: Mapping[str, Decision], policy: Policy | None = None) -> None:
    """Append decisions by row_id as one shard, with the verdicts that they replace.

    Any number of threads, processes and machines may do so at the same moment: every decision is kept, and `was` may
    be the verdict before all of them. InputError where the ledger has no such caption; then nothing is written.
    """
    ledger.store.look_again()
    verdicts = decide(ledger, policy)
    before = dict(zip(verdicts["row_id"].to_pylist(), verdicts["kept"].to_pylist(), strict=True))
    if unknown := sorted(set(decisions) - set(before)):
        raise InputError(f"The ledger has no caption {unknown[0]!r}; give the row_id of one it has.")
    rows = [{"row_id": row, "was": before[row]} | vars(decision) for row, decision in decisions.items()]
    ledger.write("overrides", _own_shard(ledger), pa.Table.from_pylist(rows, schema=OVERRIDES))


def _own_shard(ledger: Ledger) -> str:
    """The shard after the last that has a file or an entry, and that nobody else writes.

    What cannot be read is not written over, either. The number of a writer that was killed stays unused.
    """
    entries = (name.removeprefix("overrides-") for name in ledger.store.names("manifest") if name.startswith("overrides-"))
    numbers = (name.partition(".")[0] for name in (*entries, *ledger.store.names("overrides")))
    number = max((int(number) for number in numbers if number.isdecimal()), default=-1) + 1
    while (name := ledger.store.claim(f"overrides/{shard_name(number)}", ".parquet")) is None:
        number += 1
    return name.removeprefix("overrides/")


def decisions(ledger: Ledger) -> dict[str, Decision]:
    """The last word of people on each caption they decided, by row_id."""
    rows = ledger.table("overrides").to_pylist()
    return {
        row["row_id"]: Decision(row["kept"], row["reviewer"], row["at"], row.get("caption")) for row in rows
    }


def rewritten(ledger: Ledger) -> dict[str, str]:
    """The better words of a person, by row_id of the caption that is kept in them.

    Without the person's verdict they do not count: the filter has read the ledger's caption, not them.
    """
    return {row: own.caption for row, own in decisions(ledger).items() if own.kept and own.caption is not None}
