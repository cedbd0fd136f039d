"""`lab ledger diff`: what changed between two ledgers, as between two rounds of bootstrapping."""

import json
from dataclasses import asdict, dataclass, field
from typing import Annotated

from tyro.conf import Positional, arg

from blip.capfilt import Policy, usual
from blip.capfilt.diff import Change, Difference, diff
from blip.errors import one_line
from lab.ledgers import standing


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare two ledgers of the same images: texts, verdicts, vocabulary, diversity and scores."""

    before: Annotated[str, Positional, arg(metavar="BEFORE")]
    """Folder or URL of the first ledger."""
    after: Annotated[str, Positional, arg(metavar="AFTER")]
    """Folder or URL of the second ledger."""
    policy: Policy = field(default_factory=Policy)
    """Which captions are kept, in both."""
    json: bool = False
    """Print JSON for scripts."""


def main(options: Options) -> int:
    """Print the difference."""
    before, after = standing(options.before), standing(options.after)
    found = diff(before, after, options.policy)
    policy = " and ".join(dict.fromkeys(str(usual(ledger, options.policy)) for ledger in (before, after)))
    if options.json:
        print(json.dumps(asdict(found) | {"policy": policy}, indent=1, ensure_ascii=False))
    else:
        print(_said(found, policy))
    return 0


def _said(found: Difference, policy: str) -> str:
    rows: list[tuple[str, ...]] = [("", "before", "after")]
    for name in ("captions", "kept", "vocabulary"):
        rows.append((name, *(f"{getattr(side, name):,}" for side in (found.before, found.after))))
    rows.append(("distinct texts", *(_number(side.distinct) for side in (found.before, found.after))))
    for origin in ("web", "synthetic"):
        scores = (_number(side.mean_score[origin]) for side in (found.before, found.after))
        rows.append((f"score, {origin}", *scores))
    lines = [f"{name:18}{before:>14}{after:>14}" for name, before, after in rows]
    lines += ["", f"texts of images: {found.unchanged:,} unchanged; kept by {policy}"]
    if found.score_drift is not None:
        lines.append(f"mean change of the score of texts in both: {found.score_drift:+.4f}")
    changes = {"added": found.added, "dropped": found.dropped, "now kept": found.now_kept, "now filtered": found.now_filtered}
    return "\n".join([*lines, *(line for name, change in changes.items() for line in _changed(name, change))])


def _changed(name: str, change: Change) -> list[str]:
    return [f"{name:14}{change.count:>10,}"] + [f"    {own['image_key']}  {one_line(own['caption'])}" for own in change.examples]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
