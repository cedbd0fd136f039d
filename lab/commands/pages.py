"""`lab pages`: write the figures of README, docs and the weights' card anew from the committed records."""

from dataclasses import dataclass
from pathlib import Path

from blip.errors import InputError
from lab.claims_overview import drawn, is_drawn_from
from lab.claims_report import decided_of, read_records
from lab.pages import OVERVIEW, PAGES, ROOT, filled


@dataclass(frozen=True, kw_only=True)
class Options:
    """Fill README, docs and the card of the shipped weights from lab/results, and draw the picture of the claims."""

    check: bool = False
    """Only say which pages are out of date; exit status 1 if one is."""


def main(options: Options) -> int:
    """Write, or check."""
    if missing := [page for page in PAGES if not page.is_file()]:
        raise InputError(f"There is no {missing[0].name} to write; run lab pages in a clone of the repository.")
    stale = {page: filled(page.read_text(encoding="utf-8")) for page in PAGES}
    stale = {page: new for page, new in stale.items() if new != page.read_text(encoding="utf-8")}
    for page, new in stale.items():
        if not options.check:
            page.write_text(new, encoding="utf-8")
        _told(page, options)
    found = decided_of(read_records())
    if not is_drawn_from(OVERVIEW, found):
        stale[OVERVIEW] = ""
        if not options.check:
            OVERVIEW.write_bytes(drawn(found))
        _told(OVERVIEW, options)
    if not stale:
        print("every page says what the records say")
    return 1 if options.check and stale else 0


def _told(page: Path, options: Options) -> None:
    print(f"{page.relative_to(ROOT)}: {'out of date' if options.check else 'written'}")
