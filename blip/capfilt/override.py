"""Decisions of people, which go before the filter's: appended, never changed."""

from collections.abc import Mapping
from datetime import UTC, datetime

import pyarrow as pa

from blip.capfilt.decide import decide
from blip.capfilt.ledger import Ledger, shard_name
from blip.capfilt.policy import Policy
from blip.capfilt.schema import OVERRIDES
from blip.errors import InputError


def override(
    ledger: Ledger, decisions: Mapping[str, bool], *, reviewer: str, policy: Policy | None = None
) -> None:
    """Keep or filter captions by row_id, whatever their score; the verdict replaced is written down."""
    verdicts = decide(ledger, policy)
    before = dict(zip(verdicts["row_id"].to_pylist(), verdicts["kept"].to_pylist(), strict=True))
    if unknown := sorted(set(decisions) - set(before)):
        raise InputError(f"The ledger has no caption {unknown[0]!r}; give the row_id of one it has.")
    now = datetime.now(UTC)
    rows = [
        {"row_id": row, "kept": kept, "was": before[row], "reviewer": reviewer, "at": now}
        for row, kept in decisions.items()
    ]
    number = sum(1 for _ in ledger.entries("overrides"))
    ledger.write("overrides", shard_name(number), pa.Table.from_pylist(rows, schema=OVERRIDES))
