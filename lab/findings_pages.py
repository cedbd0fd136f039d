"""The page of findings: notebook by notebook what the records decide, in sentences, and the other outcomes."""

from collections.abc import Callable, Mapping

from lab.claim_answers import at_threshold, claim_lines, most_worth, opening, summary
from lab.claim_records import Measured, best, where_from
from lab.claims import CLAIMS
from lab.claims_report import read_records
from lab.findings_summary import in_words
from lab.secondary import secondary_markdown
from lab.tour import TOUR, Chapter


def findings() -> str:
    """How many claims have which verdict; then under each notebook's question its claims, each in a sentence."""
    records = read_records()
    shown = best(records)
    parts = [_chapter(one, shown) for one in TOUR if any(name in shown for name in one.ablations)]
    return "\n\n".join([summary(records, named=True), *parts])


def tally() -> str:
    """How many claims have which verdict, and how many keep it when all are judged at once."""
    return summary(read_records())


def outcomes() -> str:
    """The other outcomes of the claims that R@1 decides."""
    return secondary_markdown(read_records())


def _chapter(chapter: Chapter, shown: Mapping[str, Measured]) -> str:
    measured = [shown[name] for name in chapter.ablations if name in shown]
    said = [*opening(measured), *(line for one in measured for line in (*_described(one), *claim_lines([one])))]
    from_ = [f"- `{one.name}`: {where_from(one)}" for one in measured]
    still = [f"`{name}`" for name in chapter.ablations if name not in shown]
    missing = [f"Not measured yet: {', '.join(still)}."] if still else []
    title = f"### {chapter.asks}\n\n[Notebook {chapter.number}](../notebooks/{chapter.file})"
    return "\n\n".join([title, *said, *missing, "\n".join(from_)])


def _described(one: Measured) -> list[str]:
    """What an ablation without a claim says."""
    if any(claim.ablation == one.name for claim in CLAIMS):
        return []
    return [at_threshold(one) if one.name == "threshold" else most_worth(one)]


def words() -> str:
    """The findings in few words, those that the records bear out."""
    return in_words(best(read_records()))


BLOCKS: dict[str, Callable[[], str]] = {"findings": findings, "outcomes": outcomes, "tally": tally, "in-words": words}
