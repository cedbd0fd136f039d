"""CapFilt: caption, score, decide, merge, and the ledger that keeps every caption (paper 3.3)."""

from blip.capfilt.decide import decide, usual
from blip.capfilt.engine import Job, run
from blip.capfilt.ledger import Ledger
from blip.capfilt.merge import kept
from blip.capfilt.override import override
from blip.capfilt.policy import Policy
from blip.capfilt.queries import decide_duckdb
from blip.capfilt.snapshot import Snapshot
from blip.capfilt.verify import verify

__all__ = ["Job", "Ledger", "Policy", "Snapshot", "decide", "decide_duckdb", "kept", "override", "run", "usual", "verify"]
