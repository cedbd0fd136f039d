"""The claims as tables: what the paper says beside what was measured, with effect, interval and verdict."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from blip.data.jsons import parse_json
from blip.errors import InputError
from lab import paper
from lab.ablation.noted import noted
from lab.ablation.own_table import Table
from lab.ablation.table import Ablation
from lab.claim import Claim, Difference
from lab.claims import CLAIMS
from lab.decided import HOLDS, PAPERS_COLUMNS, Decided, published
from lab.looks import cost_of
from lab.outcomes import Arms, contrary
from lab.page_parts import markdown, percent
from lab.records import RESULTS
from lab.stats import (
    EQUIVALENT,
    OPPOSITE,
    REPRODUCED,
    UNDECIDED,
    all_true,
    mostly_true,
    p_value,
    seeds_wanted,
)
from lab.verdicts import (
    Budgets,
    at_ceiling,
    read_own_words,
    samples_told,
    to_be_gained,
    undeclared,
    worse_alone,
)
from lab.whose_record import OWN_PAIRS, WORLD, on_own_pairs, scale_of

FOLDER = RESULTS / "ablations"
SMOKE = "smoke"
HEAD = ("claim", "in the paper", "effect", "95% interval", "over items", "smallest effect of interest", "seeds", "verdict")
_LATEX = str.maketrans({"%": r"\%", "&": r"\&", "_": r"\_", "#": r"\#"})


_OWN_WORDS = "Measured when each arm had a vocabulary of its own texts, and so other initial weights."
_LITTLE = 3  # times what counts: little room for an effect and its interval
_LITTLE_OF_TWO = 10  # the same where two gains are compared: the smaller room bounds one of them alone
_FOUND = {HOLDS: "found to hold"}
CEILING = "Ceiling:"
"""What a doubt begins with that arms leave little to be gained."""
_NO_ROOM = f"{CEILING} every arm is so near 100% that no difference that counts could show."


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
        found = {name: arm["seeds"] for name, arm in result["arms"].items()}
        for row in result["claims"]:
            if row["claim"] in known:
                claim = known[row["claim"]]
                parts = (samples_told(claim, budgets, list(row["values"])), _doubt(claim, budgets, found, arms), cost_of(row.get("looks", [])))
                doubt = " ".join(one for one in parts if one)
                other = contrary(claim, row["effect"], found)
                yield Decided(claim, row, scale, doubt, own_pairs, other), undeclared(claim, budgets, list(row["values"]), arms)


def _doubt(claim: Claim, budgets: Budgets, found: Arms, table: Ablation | None) -> str:
    """What is known against a measurement, in sentences."""
    said = [_OWN_WORDS] if read_own_words(claim, budgets, table) else []
    room = to_be_gained(claim, found)
    if at_ceiling(claim, found):
        said.append(_NO_ROOM)
    elif room is not None and _two_gains(claim) and room[1] < _LITTLE_OF_TWO * claim.margin:
        said.append(f"{CEILING} {room[0]!r} is already at {percent(1 - room[1])}, so at most {100 * room[1]:+.1f} is possible there.")
    elif room is not None and room[1] < _LITTLE * claim.margin:
        said.append(f"{CEILING} the control is already at {percent(1 - room[1])}, so at most {100 * room[1]:+.1f} is possible.")
    if alone := worse_alone(claim, found):
        own, other = map(percent, alone)
        said.append(f"The control is worse than {claim.beside!r} by itself, {own} for {other}: a part of the effect may lie in that.")
    return " ".join(said)


def _two_gains(claim: Claim) -> bool:
    return isinstance(claim.value, Difference) and len(claim.value.terms) > 2


def cells(one: Decided) -> list[str]:
    """A row under HEAD: effects and intervals as the claim tells them."""
    row, claim = one.row, one.claim
    intervals = [_bounds(claim, bounds) for bounds in (row["interval"], row["items_interval"] or (None, None))]
    said = f"{claim.says} ({one.where})"
    effect, margin = claim.told(row["effect"], named=True), claim.told(row["margin"], signed=False)
    return [said, published(claim), effect, *intervals, margin, _seeds(one), one.cell]


def counts(found: Sequence[Decided]) -> dict[bool, dict[str, int]]:
    """How many claims have which verdict, in the words of pages: of those with a number in the paper (True), and of the others."""
    each = {}
    for compared in (True, False):
        own = [one.word for one in found if (one.claim.published is not None) == compared]
        first = REPRODUCED if compared else HOLDS
        each[compared] = {word: own.count(word) for word in dict.fromkeys((first, OPPOSITE, EQUIVALENT, UNDECIDED, *own))}
    return each


def tally(found: Sequence[Decided]) -> str:
    """How many claims have which verdict, in two sentences: those with a number in the paper, and the others."""
    said = {compared: ", ".join(f"{n} {_FOUND.get(word, word)}" for word, n in own.items()) for compared, own in counts(found).items()}
    compared = sum(one.claim.published is not None for one in found)
    others = f"{'The other' if compared else 'All'} {len(found) - compared} are the field's questions, our own, or the paper's where it has no such number"
    first = [f"{compared} {'has' if compared == 1 else 'have'} a number in the paper: {said[True]}."] if compared else []
    return " ".join([*first, *([f"{others}: {said[False]}."] if len(found) > compared else [])])


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
        f"Each interval is 95% on its own. Correcting for {len(found)} tests, {len(rows) - len(alone)} of {len(rows)} survive a 5% false discovery rate "
        f"(Benjamini-Hochberg, which assumes positive dependence), {sum(whatever for *_, whatever, _ in rows)} under any dependence "
        f"(Benjamini-Yekutieli), {len(sure)} a 5% family-wise error rate (Holm)."
    )
    parts = [("Only on their own", alone), ("After Holm too", sure)] if named else []
    return " ".join([said, *(f"{what}: {_said(own)}." for what, own in parts if own)])


def _said(found: Iterable[Decided]) -> str:
    whose = {False: "", True: f" ({OWN_PAIRS})"}
    return "; ".join(f"{one.claim.says.removesuffix('.')}{whose[one.own_pairs]}" for one in found)


def wanted_seeds(one: Decided) -> int | None:
    """How many seeds would decide an undecided claim at its mean and spread; None beyond 100."""
    row = one.row
    return seeds_wanted(list(row["values"].values()), margin=row["margin"], least=row["fewest_seeds"])


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
        f"Effects in points of the claim's primary metric (r: a correlation), counted so that the claim is positive. In the paper: "
        f"{PAPERS_COLUMNS}, single runs. Intervals: paired t over seeds, which decides; over items, a bootstrap that "
        "speaks of these models alone. Holds: as reproduced, where the paper has no number. Equivalent: the whole interval is smaller "
        "than the smallest effect of interest, the smallest that counts, which was stated before the run. The other way: further outcomes of the same students "
        "whose whole interval lies on the other side of 0. Seeds of an undecided claim: how many "
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


def _bounds(claim: Claim, bounds: Sequence[float | None]) -> str:
    known = [claim.told(bound) for bound in bounds if bound is not None]
    return " to ".join(known) if len(known) == len(bounds) else "-"


def _latex_row(row: Sequence[str]) -> str:
    return " & ".join(cell.translate(_LATEX) for cell in row) + r" \\"
