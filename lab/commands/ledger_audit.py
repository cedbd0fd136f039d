"""`lab ledger audit`: a sample for people to judge, and from their answers how good the filter is."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, UseAppendAction, arg

from blip.capfilt import Ledger, Policy, usual
from blip.errors import InputError
from lab import figures
from lab.audit import GROUPS, Sample, estimate
from lab.audit_draw import draw
from lab.audit_files import Key, answered, key_path, read_answers, read_key, write_sheet
from lab.datacard import AUDIT, AUDIT_FIGURE
from lab.datacard_page import write_card
from lab.ledgers import finished, image_roots
from lab.records import as_json, record
from lab.score_figures import audit_curves


@dataclass(frozen=True, kw_only=True)
class Options:
    """Draw captions to judge (--out), or estimate precision and recall from the answers (--answers)."""

    ledger: Annotated[str, Positional, arg(metavar="LEDGER")]
    """Folder or URL of the ledger."""
    out: Path | None = None
    """Sheet to write, .csv: pictures, a page to look at and the key (do not open it) lie beside it."""
    answers: Path | None = None
    """The sheet with yes, no or unsure in its column matches; its key must lie beside it."""
    size: int = 400
    """Captions to draw, half of them web ones, with more near the thresholds."""
    seed: int = 0
    """Of the draw."""
    precision: float = 0.95
    """What the suggested threshold shall reach with 95% confidence; if none does, the best F1 is suggested."""
    policy: Policy = field(default_factory=Policy)
    """Which captions are kept; of an answered sheet it is the one of its draw."""
    image_root: Annotated[tuple[str, ...], UseAppendAction, arg(metavar="OLD=NEW")] = ()
    """For data that has moved: the folder then and the folder now. May be given several times."""
    json: bool = False
    """Print JSON for scripts."""


def main(options: Options) -> int:
    """Draw the sample, or write the estimates beside the ledger and into its data card."""
    sheet = options.out or options.answers
    if sheet is None or None not in (options.out, options.answers):
        raise InputError("ledger audit needs either --out, to draw a sample, or --answers, to evaluate one.")
    if not 0 < options.precision < 1:
        raise InputError(f"--precision {options.precision:g} cannot be; give a share between 0 and 1.")
    ledger = finished(options.ledger)
    return _draw(ledger, sheet, options) if options.answers is None else _evaluate(ledger, sheet, options)


def _draw(ledger: Ledger, sheet: Path, options: Options) -> int:
    if sheet.suffix != ".csv":
        raise InputError(f"{sheet} must end in .csv: it is a sheet that people fill in.")
    if sheet.exists():
        raise InputError(f"{sheet} is there already, perhaps with answers; give another --out.")
    options = replace(options, policy=usual(ledger, options.policy))
    drawn = draw(ledger, options.policy, options.size, options.seed)
    roots = image_roots(options.image_root)
    unseen = write_sheet(ledger, options.policy, drawn, sheet, seed=options.seed, roots=roots)
    if options.json:
        counts = {"captions": len(drawn[1]), "without_picture": unseen, "strata": len(drawn[0])}
        print(json.dumps(counts | {"out": str(sheet), "key": str(key_path(sheet))}))
        return 0
    print(f"{len(drawn[1])} captions drawn from {len(drawn[0])} strata by {options.policy}: {sheet}")
    print(f"look at them in {sheet.with_suffix('.html')}, write yes, no or unsure into the column matches, then")
    print(f"lab ledger audit {options.ledger} --answers {sheet}   ({key_path(sheet).name} holds scores: do not open it)")
    if unseen:
        why = "it cannot be opened or is not the one that was captioned"
        print(f"{unseen} have no picture, since {why}; --image-root OLD=NEW tells where they lie now")
    return 0


def _evaluate(ledger: Ledger, sheet: Path, options: Options) -> int:
    key = read_key(sheet, ledger)
    if options.policy not in (Policy(), key.policy):
        raise InputError(f"The audit was drawn under {key.policy}; leave the policy's options out.")
    answers = read_answers(sheet, key)
    sample = answered(key, answers)
    if not len(sample.match):
        raise InputError(f"{sheet} holds no answer yet; write yes, no or unsure into its column matches.")
    result = evaluated(key, sample, Counter(answers.values()), options.precision)
    ledger.store.write(AUDIT, as_json(record("ledger-audit", result, seed=key.seed)))
    groups = {name: own["unsure_as_no"] for name, own in result["groups"].items()}
    thresholds = {"web": key.policy.web, "synthetic": key.policy.synthetic}
    ledger.store.write(AUDIT_FIGURE, figures.png(audit_curves(groups, thresholds, result["score"])))
    card = write_card(ledger, key.policy)
    print(json.dumps(result, indent=1) if options.json else f"{said(result)}\n\ndata card: {card}")
    return 0


def evaluated(key: Key, sample: Sample, words: Counter[str], precision: float) -> dict[str, Any]:
    """The result of an audit: counts of answers, and for each origin and all together the estimates.

    Each twice, with unsure answers counted as no and as yes: the truth lies between if the unsure are either.
    """
    groups = {}
    for name in GROUPS:
        own = sample.of(name)
        if len(own.match):
            readings = {"unsure_as_no": own.match, "unsure_as_yes": own.match | own.unsure}
            groups[name] = {reading: estimate(own, match, precision) for reading, match in readings.items()}
    return {
        "ledger": key.ledger,
        "policy": str(key.policy),
        "score": " + ".join(f"{term.filter}.{term.column}" for term in key.policy.summands),
        "asked": len(key.rows),
        "answers": {word: words[word] for word in ("yes", "no", "unsure")},
        "unanswered": words[""],
        "groups": groups,
    }


def said(result: dict[str, Any]) -> str:
    """The result as a table for people."""
    counts = ", ".join(f"{count} {word}" for word, count in result["answers"].items())
    lines = [f"{result['asked']} captions drawn: {counts}; verdicts of {result['policy']}"]
    if result["unanswered"]:
        lines.append(
            f"{result['unanswered']} have no answer and are left out: those answered in their stratum stand for them too"
        )
    for reading in ("unsure_as_no", "unsure_as_yes") if result["answers"]["unsure"] else ("unsure_as_no",):
        note = f", {reading.replace('_', ' ')}" if result["answers"]["unsure"] else ""
        lines += ["", f"{'95% intervals' + note:28}{'matching before':>22}{'precision':>22}{'recall':>22}"]
        lines += [_line(name, own[reading]) for name, own in result["groups"].items()]
    lines.append("")
    for name, own in result["groups"].items():
        if (best := own["unsure_as_no"]["suggested"]) is not None:
            lines.append(f"suggested threshold, {name}: {best['threshold']:g} ({best['rule']})")
    return "\n".join(lines)


def _line(name: str, found: dict[str, Any]) -> str:
    cells = (found["matching"], found["policy"]["precision"], found["policy"]["recall"])
    return f"{name:28}" + "".join(f"{interval(cell):>22}" for cell in cells)


def interval(found: Mapping[str, float | None]) -> str:
    """A share with its interval, in percent."""
    known = [100 * share for name in ("value", "low", "high") if (share := found[name]) is not None]
    return "{:.1f} ({:.1f} to {:.1f})".format(*known) if len(known) == 3 else "-"
