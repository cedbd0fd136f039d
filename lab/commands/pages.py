"""`lab pages`: write the figures of README, docs and the weights' card anew from the committed records."""

from dataclasses import dataclass

from blip.errors import InputError
from lab.pages import PAGES, ROOT, filled


@dataclass(frozen=True, kw_only=True)
class Options:
    """Fill README, docs and the card of the shipped weights from lab/results."""

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
        print(f"{page.relative_to(ROOT)}: {'out of date' if options.check else 'written'}")
    if not stale:
        print("every page says what the records say")
    return 1 if options.check and stale else 0
