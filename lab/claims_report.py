"""The claims as tables: what the paper says beside what was measured, with effect, interval and verdict."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blip.data.jsons import parse_json
from blip.errors import InputError
from lab import paper
from lab.ablation.noted import noted
from lab.ablation.own_table import Table
from lab.ablation.table import Ablation
from lab.claim import Claim
from lab.claims import CLAIMS
from lab.looks import cost_of
from lab.page_parts import markdown, percent
from lab.records import RESULTS
from lab.stats import OPPOSITE, REPRODUCED, UNDECIDED, all_true, mostly_true, p_value, seeds_wanted
from lab.verdicts import Budgets, at_ceiling, read_own_words, samples_told, to_be_gained, undeclared
from lab.whose_record import OWN_PAIRS, WORLD, on_own_pairs, scale_of

FOLDER = RESULTS / "ablations"
SMOKE = "smoke"
HEAD = ("claim", "in the paper", "effect", "95% interval", "over items", "counts from", "seeds", "verdict")
_SHOWN = (0, 1, 6)  # of the paper's columns: COCO TR@1, COCO IR@1, NoCaps CIDEr
PAPERS_COLUMNS = ", ".join(paper.COLUMNS[at] for at in _SHOWN)
_LATEX = str.maketrans({"%": r"\%", "&": r"\&", "_": r"\_", "#": r"\#"})


_OWN_WORDS = "Measured when each arm had a vocabulary of its own texts, and so other initial weights."
_LITTLE = 3  # times what counts: little room for an effect and its interval
_LITTLE_OF_TWO = 10  # the same where two gains are compared: the smaller room bounds one of them alone
_CEILING = "Every arm is so near 100% that no difference that counts could show."


@dataclass(frozen=True)
class Decided:
    """A claim with what a record says of it, and the scale at which that was measured."""

    claim: Claim
    row: dict[str, Any]
    scale: str
    doubt: str = ""
    """What is known against this measurement."""
    own_pairs: bool = False
    """Whether it was measured on own pairs, and not in the generated world."""

    @property
    def where(self) -> str:
        """Where it was measured, as rows tell it: the scale, and that it is of own pairs."""
        return f"{OWN_PAIRS}, {self.scale}" if self.own_pairs else self.scale

    @property
    def note(self) -> str:
        """What the claim says of itself, and what is known against its measurement."""
        return " ".join(one for one in (self.claim.note, self.doubt) if one)


def read_records(folder: Path = FOLDER, own: Table | None = None) -> list[dict[str, Any]]:
    """The records of ablations in a folder, or of an own one those of its name; InputError for a file that is none."""
    found = []
    for path in sorted(folder.glob("*.json")) if own is None else own.records(folder):
        try:
            record = parse_json(path.read_text(encoding="utf-8"))
            for one, _ in _judged([record], own):
                _ = cells(one), at_once([one])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise InputError(f"{path} is no record of lab ablate; remove it or run lab ablate again.") from None
        found.append(record)
    return found


def decided_of(records: Sequence[Mapping[str, Any]], own: Table | None = None) -> list[Decided]:
    """The claims that the records decide, in the claims' order, one row a scale, those of own pairs last; smoke runs say nothing.

    Those of `refused_of` are left out. own: whose claims they are, where they are none of the lab's.
    """
    found = [one for one, refusal in _judged(records, own) if refusal is None]
    order = [claim.id for claim in _claims(own)]
    return sorted(found, key=lambda one: (order.index(one.claim.id), one.own_pairs, one.scale))


def refused_of(records: Sequence[Mapping[str, Any]], own: Table | None = None) -> list[str]:
    """A sentence for each claim that is not decided, since its arms differ in samples and nothing declares it."""
    return [f"{refusal} ({one.where})" for one, refusal in _judged(records, own) if refusal is not None]


def _claims(own: Table | None) -> Sequence[Claim]:
    return CLAIMS if own is None else own.claims


def _judged(records: Sequence[Mapping[str, Any]], own: Table | None) -> Iterator[tuple[Decided, str | None]]:
    """The claims of the records that are no smoke runs, each with why it is refused."""
    known, arms = {claim.id: claim for claim in _claims(own)}, None if own is None else own.ablation
    for record in records:
        result = record["result"]
        if result["scale"] == SMOKE:
            continue
        budgets, scale, own_pairs = noted(record), scale_of(result), on_own_pairs(result)
        for row in result["claims"]:
            if row["claim"] in known:
                claim = known[row["claim"]]
                parts = (samples_told(claim, budgets, list(row["values"])), _doubt(claim, budgets, result["arms"], arms), cost_of(row.get("looks", [])))
                doubt = " ".join(one for one in parts if one)
                yield Decided(claim, row, scale, doubt, own_pairs), undeclared(claim, budgets, list(row["values"]), arms)


def _doubt(claim: Claim, budgets: Budgets, arms: Mapping[str, Any], table: Ablation | None) -> str:
    """What is known against a measurement, in sentences."""
    said = [_OWN_WORDS] if read_own_words(claim, budgets, table) else []
    found = {name: own["seeds"] for name, own in arms.items()}
    room = to_be_gained(claim, found)
    if at_ceiling(claim, found):
        said.append(_CEILING)
    elif room is not None and len(claim.value.arms) > 2 and room[1] < _LITTLE_OF_TWO * claim.margin:
        said.append(f"{room[0]!r} is at {percent(1 - room[1])}, so that {100 * room[1]:.1f} points are all that could be gained there.")
    elif room is not None and room[1] < _LITTLE * claim.margin:
        said.append(f"The arm to beat is at {percent(1 - room[1])}, so that {100 * room[1]:.1f} points are all that could be gained.")
    return " ".join(said)


def cells(one: Decided) -> list[str]:
    """A row under HEAD: effects and intervals in points, where the metric is a share."""
    row = one.row
    intervals = [_points(bounds) for bounds in (row["interval"], row["items_interval"] or (None, None))]
    said = f"{one.claim.says} ({one.where})"
    effect, margin = f"{100 * row['effect']:+.1f}", f"{100 * row['margin']:.1f}"
    return [said, published(one.claim), effect, *intervals, margin, _seeds(one), row["verdict"]]


def at_once(found: Sequence[Decided], *, named: bool = False) -> str:
    """How many claims keep their verdict when all are judged at once, by the p values of their paired t-tests.

    named: and which. "" where no effect was found.
    """
    each = [p_value(list(one.row["values"].values())) for one in found]
    judged = zip(found, mostly_true(each), mostly_true(each, whatever=True), all_true(each), strict=True)
    rows = [row for row in judged if row[0].row["verdict"] in (REPRODUCED, OPPOSITE)]
    if not rows:
        return ""
    alone, sure = [one for one, mostly, *_ in rows if not mostly], [one for one, *_, all_of in rows if all_of]
    said = (
        f"Each interval is of 95% by itself; with all {len(found)} judged at once, of the {len(rows)} effects found {len(rows) - len(alone)} remain if one "
        "in twenty of them may be false and tests rise together (Benjamini and Hochberg; some share an arm and do not), "
        f"{sum(whatever for *_, whatever, _ in rows)} whatever their dependence (Benjamini and Yekutieli), and {len(sure)} if none may be false (Holm)."
    )
    parts = [("By itself only", alone), ("If none may be false", sure)] if named else []
    return " ".join([said, *(f"{what}: {_said(own)}." for what, own in parts if own)])


def _said(found: Iterable[Decided]) -> str:
    whose = {False: "", True: f" ({OWN_PAIRS})"}
    return "; ".join(f"{one.claim.says.removesuffix('.')}{whose[one.own_pairs]}" for one in found)


def wanted_seeds(one: Decided) -> int | None:
    """How many seeds would decide an undecided claim at its mean and spread; None beyond 100."""
    row = one.row
    return seeds_wanted(list(row["values"].values()), margin=row["margin"], least=row["fewest_seeds"])


def published(claim: Claim) -> str:
    """The paper's own differences in the columns shown, in points."""
    return "-" if claim.published is None else " / ".join(f"{claim.published[at]:+.1f}" for at in _SHOWN)


def table(found: Sequence[Decided]) -> str:
    """The claims as a Markdown table."""
    return markdown(HEAD, [cells(one) for one in found])


def latex(found: Sequence[Decided]) -> str:
    """A LaTeX tabular with booktabs' rules."""
    lines = [r"\begin{tabular}{p{6cm}rrrrrrl}", r"\toprule", _latex_row(HEAD), r"\midrule"]
    return "\n".join([*lines, *(_latex_row(cells(one)) for one in found), r"\bottomrule", r"\end{tabular}"])


def table_csv(found: Sequence[Decided]) -> str:
    """Every number unrounded, as CSV: the claim's id, scale, whose pairs, bounds, effect size, the item interval, verdict."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = ("effect", "low", "high", "size", "items_low", "items_high", "margin", "seeds", "verdict")
    writer.writerow(["claim", "ablation", "scale", "pairs", "source", *paper.COLUMNS, *names])
    for one in found:
        row, claim = one.row, one.claim
        own = row["items_interval"] or (None, None)
        values = [row["effect"], *row["interval"], row["size"], *own, row["margin"], row["seeds"], row["verdict"]]
        writer.writerow([claim.id, claim.ablation, one.scale, OWN_PAIRS if one.own_pairs else WORLD, claim.source, *(claim.published or [None] * 8), *values])
    return out.getvalue()


def block() -> str:
    """The results table of README, from the committed records."""
    records = read_records()
    found = decided_of(records)
    if not found:
        return "No ablation has been run beyond smoke scale yet: `lab ablate table1` begins."
    measured = [by for record in records for by in (record, *record["result"].get("before", []))]
    commits = ", ".join(sorted({f"`{by['commit']}`" for by in measured}))
    said = (
        f"Effects in points of the claim's primary metric, counted so that the claim is positive. In the paper: "
        f"{PAPERS_COLUMNS}, single runs. Intervals: paired t over seeds, which decides; over items, a bootstrap that "
        "speaks of these models alone. Equivalent: the whole interval is smaller "
        "than the smallest effect that counts, which was stated before the run. Seeds of an undecided claim: how many "
        "there are, of how many would decide it if mean and spread stayed what they are; who adds seeds after a look is somewhat "
        "too sure of the interval, and the claim's note says how much. Notes on single claims: docs/findings.md."
    )
    refused = [line for sentence in refused_of(records) for line in (sentence, "")]
    return "\n".join([table(found), "", said, "", *refused, f"`lab ablate NAME --scale SCALE` at {commits}; written by `lab pages`."])


def _seeds(one: Decided) -> str:
    """The seeds of a claim, and of an undecided one how many would do."""
    seeds = str(one.row["seeds"])
    if one.row["verdict"] != UNDECIDED:
        return seeds
    return f"{seeds} of {wanted_seeds(one) or 'over 100'}"


def _points(bounds: Sequence[float | None]) -> str:
    known = [f"{100 * bound:+.1f}" for bound in bounds if bound is not None]
    return " to ".join(known) if len(known) == len(bounds) else "-"


def _latex_row(row: Sequence[str]) -> str:
    return " & ".join(cell.translate(_LATEX) for cell in row) + r" \\"
