"""What the records say, in sentences and tables: every number and every verdict is computed from them."""

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from lab.ablation.scales import SCALES
from lab.ablations import ablation
from lab.claim import R1, Claim
from lab.claim_records import BEST, SEE, Measured, best, paired
from lab.claims import CLAIMS
from lab.claims_report import SMOKE, at_once, tally, wanted_seeds
from lab.decided import PAPERS_COLUMNS, Decided, published
from lab.page_parts import markdown, percent
from lab.stats import EQUIVALENT, OPPOSITE, REPRODUCED
from lab.tour import TOUR, chapter_of

_HEAD = ("claim", "in the paper", "effect", "95% interval", "smallest effect of interest", "seeds", "verdict", "notebook")
_MEANS = {
    REPRODUCED: "the interval lies above 0",
    OPPOSITE: "the interval lies below 0",
    EQUIVALENT: "the interval is smaller than what counts",
}
_FOUND = {REPRODUCED: "reproduced or found to hold", OPPOSITE: "found to be the other way", EQUIVALENT: "without a difference that counts"}


def answer(shown: Sequence[Measured], only: Sequence[str] = ()) -> str:
    """The answer of the ablations shown, as Markdown: in short, then a line a claim, its verdict first; only these claims if given.

    A claim whose arms are not done says what measures it, and so does one of a smoke run; where a record is there all
    the same, how to see it.
    """
    lines = [*opening(shown, only), *claim_lines(shown, only)]
    smoke = [f"`{one.command}`" for one in shown if one.is_smoke and not one.kept]
    if smoke:
        lines.append(f"Nothing can be said from a smoke run; to measure: {', '.join(smoke)}.")
    kept = [f"`{one.name}`" for one in shown if one.is_smoke and one.kept]
    if kept:
        lines.append(f"A smoke run decides nothing. Records are there of {', '.join(kept)}: {SEE} what they say.")
    return "\n\n".join(lines)


def opening(shown: Sequence[Measured], only: Sequence[str] = ()) -> list[str]:
    """The verdicts in one sentence, with what is found and what makes no difference by name; none where nothing is decided."""
    decided = [one for each in shown if not each.is_smoke for one in each.decided if not only or one.claim.id in only]
    if not decided:
        return []
    groups = {name: [one for one in decided if one.row["verdict"] == name] for name in (REPRODUCED, OPPOSITE, EQUIVALENT)}
    each = [f"{_are(len(own))} {_FOUND[name]} ({'; '.join(map(_named, own))})" for name, own in groups.items() if own]
    undecided = len(decided) - sum(map(len, groups.values()))
    each += [f"{_are(undecided)} undecided"] if undecided else []
    return [f"**In short:** of the {len(decided)} {'claim' if len(decided) == 1 else 'claims'} measured here, {_listed(each)}."]


def _are(count: int) -> str:
    return f"{count} {'is' if count == 1 else 'are'}"


def _named(one: Decided) -> str:
    """What a claim says, within a sentence, and what its verdict alone would hide."""
    more = ["smaller than what counts"] if one.is_small else []
    more += [f"the other way: {', '.join(outcome.name for outcome, _ in one.contrary)}"] if one.contrary else []
    return " ".join([one.claim.says.removesuffix("."), *([f"[{'; '.join(more)}]"] if more else [])])


def _listed(each: Sequence[str]) -> str:
    return ", and ".join(filter(None, [", ".join(each[:-1]), each[-1]]))


def claim_lines(shown: Sequence[Measured], only: Sequence[str] = ()) -> list[str]:
    """A line a claim of the ablations shown, its verdict first, or why it has none."""
    return [line for one in shown for line in _lines(one, only)]


def sentence(one: Decided) -> str:
    """A decided claim in a sentence: verdict, what it says, effect, interval, seeds, the paper's own effect, its note."""
    claim, row = one.claim, one.row
    needed = f", of {row['fewest_seeds']} that a verdict needs" if row["seeds"] < row["fewest_seeds"] else ""
    seeds = f"{row['seeds']} {'seed' if row['seeds'] == 1 else 'seeds'}{needed}"
    why = _MEANS.get(row["verdict"], "" if needed else _undecided(one))
    own = "" if claim.published is None else f" In the paper {published(claim)} ({PAPERS_COLUMNS})."
    said = f"{value(claim, row['effect'])} ({interval(claim, row)}; {seeds}, scale `{one.scale}`)"
    note = f" *{one.note}*" if one.note else ""
    return f"**{one.judged.capitalize()}: {claim.says}** {said}{'; ' + why if why else ''}.{own}{note}"


def _undecided(one: Decided) -> str:
    if None in one.row["interval"]:
        return "seeds that all differ by the same do not tell how much seeds differ"
    return f"the interval holds 0 and more than what counts{_wanting(one)}"


def _wanting(one: Decided) -> str:
    wanted = wanted_seeds(one)
    return f"; at this mean and spread {f'{wanted} seeds' if wanted else 'not even 100 seeds'} would decide it"


def value(claim: Claim, number: float, *, unit: bool = True) -> str:
    """An effect as its metric is told: points of a share, a correlation as it is."""
    told = claim.told(number)
    if not unit:
        return told
    return f"{told} points" if claim.in_points else f"r = {told}"


def interval(claim: Claim, row: Mapping[str, Any]) -> str:
    """The 95% interval over seeds of a decided claim, or that one seed, or equal differences, have none."""
    if None in row["interval"]:
        return "no interval yet" if row["seeds"] == 1 else "no interval: the same at all seeds"
    low, high = (value(claim, bound, unit=False) for bound in row["interval"])
    return f"95% interval {low} to {high}"


def verdicts(records: Sequence[Mapping[str, Any]]) -> str:
    """All claims as a Markdown table, each by the best record that decides it, or the command that measures it."""
    shown = best(records)
    found = {one.claim.id: one for own in shown.values() for one in own.decided}
    rows = [_row(claim, found.get(claim.id), shown.get(claim.ablation)) for claim in CLAIMS]
    return markdown(_HEAD, rows)


def summary(records: Sequence[Mapping[str, Any]], *, named: bool = False) -> str:
    """How many claims have which verdict, and how many keep it when all are judged at once; named: and which do not."""
    decided = [one for measured in best(records).values() for one in measured.decided]
    said = f"Of {len(CLAIMS)} claims {len(decided)} are measured. The others name the command that measures them."
    return " ".join(filter(None, [said, *([f"**{tally(decided)}**"] if decided else []), at_once(decided, named=named)]))


def most_worth(shown: Measured) -> str:
    """Of an ablation that states no claim: the arm with the highest mean R@1 over the seeds of all, which is no verdict."""
    values = {name: 100 * mean(own.values()) for name, own in paired(shown.of(R1)).items()}
    if shown.is_smoke or not values:
        return f"*{ablation(shown.name).question} {_unsaid(shown)}*"
    first, last = max(values, key=values.__getitem__), min(values, key=values.__getitem__)
    return (
        f"**{ablation(shown.name).question}** *{first}* has the highest mean R@1 ({values[first]:.1f}%) and *{last}* the lowest "
        f"({values[last]:.1f}%) of {len(values)} arms, {_seeds_of(shown)}; no claim was stated before, so this is no verdict."
    )


def _seeds_of(shown: Measured) -> str:
    count = min(len(own) for own in paired(shown.of(R1)).values())
    return f"{count} {'seed' if count == 1 else 'seeds'}"


def at_threshold(shown: Measured, threshold: float = 0.5) -> str:
    """What a threshold keeps of each origin, how much of it is true, and the noise kind that the filter sees worst."""
    found = [one["sweep"] for own in shown.arms.values() for one in own.values()]
    if shown.is_smoke or not found:
        return f"*{ablation(shown.name).question} {_unsaid(shown)}*"
    place, parts = found[0]["thresholds"].index(threshold), []
    for origin in ("web", "synthetic"):
        kept, true = (_mean([one[name][origin][place] for one in found]) for name in ("kept", "precision"))
        parts.append(f"{percent(kept)} of the {origin} captions, of which {percent(true)} are true")
    each = {kind: _mean([one["auc"][kind] for one in found]) for kind in found[0]["auc"]}
    known = {kind: auc for kind, auc in each.items() if auc is not None}
    worst = min(known, key=known.__getitem__)
    return (
        f"**{ablation(shown.name).question}** A threshold of {threshold:g} keeps {' and '.join(parts)}. "
        f"The noise that the filter tells worst from clean text: {worst.replace('_', ' ')}, AUC {known[worst]:.3f} (scale `{shown.scale}`)."
    )


def scales() -> str:
    """What each scale trains, as a Markdown table."""
    head = ("scale", "level of the world", "web pairs", "human pairs", "samples of a pre-training", "device", "what it says")
    says = {SMOKE: "nothing; it shows that everything runs", "cpu": "a small model in a small world", "gpu": "a larger one of both"}
    rows = [
        [f"`{name}`", one.level, f"{one.web:,}", f"{one.human:,}", f"{one.pretrain.samples:,}", one.device, says[name]]
        for name, one in SCALES.items()
    ]
    return markdown(head, rows)


def contents() -> str:
    """The notebooks with their questions, as a Markdown list of links."""
    return "\n".join(f"{one.number}. [{one.asks}]({one.file})" for one in TOUR[1:])


def gained(claim: Claim) -> float | None:
    """The paper's own effect in points, the mean of its COCO TR@1 and IR@1; None where it has none."""
    return None if claim.published is None else sum(claim.published[:2]) / 2


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return mean(known) if known else None


def _lines(shown: Measured, only: Sequence[str]) -> list[str]:
    claims = [one for one in CLAIMS if one.ablation == shown.name and (not only or one.id in only)]
    found = {one.claim.id: one for one in shown.decided}
    if shown.is_smoke:
        why = "Not decided by a smoke run." if shown.kept else "Not measured yet."
        return [f"*{claim.says} {why}*" for claim in claims]
    refusals = {one.id: said for one in claims for said in shown.refused if said.startswith(f"The claim {one.id} is refused")}
    return [sentence(found[one.id]) if one.id in found else f"*{one.says} {refusals.get(one.id, _unsaid(shown))}*" for one in claims]


def _unsaid(shown: Measured) -> str:
    """Why there is no answer, with what gives one."""
    return f"A smoke run decides nothing; a record is there: {SEE} it." if shown.kept else f"Not measured yet: `{shown.command}`."


def _row(claim: Claim, found: Decided | None, shown: Measured | None) -> list[str]:
    margin = claim.told(claim.margin, signed=False)
    link = chapter_of(claim.ablation).link
    if found is None:
        todo = f"`{shown.command if shown else f'lab ablate {claim.ablation} --scale {BEST[-1]}'}`"
        return [claim.says, published(claim), "not measured yet", todo, margin, f"0 of {claim.seeds}", "-", link]
    row = found.row
    bounds = interval(claim, row).removeprefix("95% interval ")
    said = f"{claim.says} ({found.scale})"
    return [said, published(claim), value(claim, row["effect"], unit=False), bounds, margin, str(row["seeds"]), f"**{found.cell}**", link]
