"""What CapFilt did, as numbers for scripts and as a table for people."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from blip.capfilt import Ledger, Policy
from blip.capfilt.decide import usual, verdicts
from blip.capfilt.override import rewritten
from blip.capfilt.quality import against_truth
from blip.capfilt.tolerance import Margins
from blip.errors import one_line
from lab.datacard import plain_reason

_COLUMNS = ("row_id", "origin", "truth", "noise_kind")


def summarize(ledger: Ledger, policy: Policy | None = None) -> dict[str, Any]:
    """Counts of a ledger under a policy, and the comparison with truth where truth is known.

    borderline: verdicts that another device or precision may turn, by origin; only where that was measured
    (`lab ledger agree`). rewritten: captions kept in better words of a person, where there are any; their truth is
    not known. unfinished: how far the ledger's job has come, where it is not done. Goes through the ledger shard by shard; only shards whose truth is known stay in memory.
    """
    policy = policy or usual(ledger)
    counts, better = ledger.counts(), rewritten(ledger)
    kept, filtered, borderline = (dict.fromkeys(("web", "synthetic"), 0) for _ in range(3))
    known = []
    for shard in verdicts(ledger, policy, _COLUMNS):
        for origin, own in (("synthetic", _synthetic(shard)), ("web", ~_synthetic(shard))):
            chosen = np.asarray(shard["kept"])[own]
            kept[origin] += int(chosen.sum())
            filtered[origin] += int((~chosen).sum())
            borderline[origin] += int(np.asarray(shard["borderline"])[own].sum())
        if shard["truth"].null_count < shard.num_rows:
            known.append(shard)
    summary: dict[str, Any] = {
        "pairs": counts["given_rows"] + counts["rejected_pairs"],
        "images": counts["images"],
        "kept": kept,
        "filtered": filtered,
        "rejects": counts["rejects"],
        "policy": str(policy),
    }
    summary |= ({"borderline": borderline} if Margins.of(ledger, policy).any else {}) | ({"rewritten": len(better)} if better else {})
    if (stopped := ledger.unfinished) is not None:
        summary["unfinished"] = stopped.numbers
    if not known:
        return summary
    rows = pa.concat_tables(known)
    scores, chosen = (np.array(rows[name].to_pylist()) for name in ("score", "kept"))
    own = np.asarray(pc.is_in(rows["row_id"], pa.array([*better], pa.string())))
    return summary | against_truth(rows, scores, chosen, own)


def commonest_reject(ledger: Ledger) -> str:
    """The commonest reason of a ledger's rejects, how often it came, and the first place; "" without rejects."""
    counts, first = Counter[str](), dict[str, str]()
    for entry in ledger.entries("rejects"):
        rows = ledger.read("rejects", entry.shard, ["image_key", "ref", "reason"])
        alike = rows.group_by("reason", use_threads=False)  # in the order of the rows, so that the first is the first
        for row in alike.aggregate([([], "count_all"), ("ref", "first"), ("image_key", "first")]).to_pylist():
            reason = plain_reason(row["reason"])
            counts[reason] += row["count_all"]
            first.setdefault(reason, row["ref_first"] or row["image_key_first"])
    if not counts:
        return ""
    ((reason, times),) = counts.most_common(1)
    return f"{reason} ({times:,} times, the first: {one_line(first[reason])})"


def _synthetic(shard: pa.Table) -> np.ndarray:
    return np.asarray(pc.equal(shard["origin"], "synthetic"))


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
    if "borderline" in summary:
        web, synthetic = summary["borderline"]["web"], summary["borderline"]["synthetic"]
        lines.append(f"borderline: {web:,} web and {synthetic:,} synthetic verdicts, by the ledger's agreement.json")
    if "rewritten" in summary:
        lines.append(f"kept in better words of a person: {summary['rewritten']:,}, whose truth is not known")
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
        f"false captions: {_percent(before)} of the web's, {_percent(after)} of all that were kept (others say too little to be either, or nobody knows)",
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
