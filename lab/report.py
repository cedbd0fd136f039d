"""What CapFilt did, as numbers for scripts and as a table for people."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from blip.capfilt import Ledger, Policy, decide
from blip.capfilt.quality import against_truth


def summarize(ledger: Ledger, policy: Policy | None = None) -> dict[str, Any]:
    """Counts of a ledger under a policy, and the comparison with truth where truth is known."""
    decided = decide(ledger, policy)
    kept = np.array(decided["kept"].to_pylist(), dtype=bool)
    synthetic = np.array(decided["origin"].to_pylist()) == "synthetic"
    counts = ledger.counts()
    summary: dict[str, Any] = {
        "pairs": counts["given_rows"] + counts["rejected_pairs"],
        "images": counts["images"],
        "kept": {"web": int(kept[~synthetic].sum()), "synthetic": int(kept[synthetic].sum())},
        "filtered": {"web": int((~kept)[~synthetic].sum()), "synthetic": int((~kept)[synthetic].sum())},
        "rejects": counts["rejects"],
        "policy": str(policy or Policy()),
    }
    rows = ledger.table("candidates", ["origin", "truth", "noise_kind"])
    if rows["truth"].null_count == rows.num_rows:
        return summary
    return summary | against_truth(rows, np.array(decided["score"].to_pylist()), kept)


def table(summary: dict[str, Any]) -> str:
    """The summary as a table: web and synthetic, kept and filtered, and against truth."""
    lines = [_row("", "kept", "filtered", "kept %", *(_TRUTH if "auc" in summary else ()))]
    for origin in ("web", "synthetic"):
        kept, filtered = summary["kept"][origin], summary["filtered"][origin]
        cells = [f"{kept:,}", f"{filtered:,}", _percent(kept / max(1, kept + filtered))]
        if "auc" in summary:
            rates = summary["origins"][origin]
            cells += [_percent(rates[name]) for name in ("true_before", "precision", "recall")]
        lines.append(_row(origin, *cells))
    lines.append(f"\n{summary['pairs']:,} pairs in, {summary['rejects']:,} rejects; kept by {summary['policy']}")
    if "auc" in summary:
        lines += ["", *_truth_lines(summary)]
    return "\n".join(lines)


_TRUTH = ("true before", "true of kept", "true found")


def _truth_lines(summary: dict[str, Any]) -> list[str]:
    before, after = summary["false_share_before"], summary["false_share_after"]
    aucs = [
        _row(kind, "-" if value is None else f"{value:.3f}") for kind, value in summary["auc"].items()
    ]
    return [
        f"false captions: {_percent(before)} of the web's, {_percent(after)} of all that were kept",
        "",
        _row("noise", "AUC"),
        *aucs,
    ]


def _row(name: str, *cells: str) -> str:
    return f"{name:12}" + "".join(f"{cell:>14}" for cell in cells)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def seconds_line(seconds: dict[str, float]) -> str:
    """Stages and their seconds on one line."""
    parts: Sequence[str] = [f"{name} {value:.1f}" for name, value in seconds.items()]
    return "seconds: " + ", ".join(parts)
