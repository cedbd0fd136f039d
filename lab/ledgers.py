"""What commands on ledgers share: folders that have moved, pictures that are drawn again, the data card."""

from collections.abc import Sequence
from importlib.util import find_spec

from blip.capfilt import Ledger, Policy
from blip.data.pairs import Pair
from blip.errors import InputError
from lab.records import command_line
from lab.world.sets import World, as_pairs


def image_roots(words: Sequence[str]) -> dict[str, str]:
    """Old folder to new, from OLD=NEW; InputError for words of another form."""
    roots = {}
    for word in words:
        old, _, new = word.partition("=")
        if not old or not new:
            raise InputError(f"--image-root {word!r} must be OLD=NEW: the folder then and the folder now.")
        roots[old] = new
    return roots


def world_images(ledger: Ledger) -> dict[str, Pair] | None:
    """The pictures of a ledger over the generated web, drawn again, by key; None for any other ledger."""
    drawn = ledger.about.get("notes", {}).get("world")
    if drawn is None:
        return None
    world = World.of(drawn["level"])
    items = world.web(ledger.about["data"]["images"], drawn["noise"], start=drawn["start"])
    return {pair.key: pair for pair in as_pairs(items, world.level.px)}


def write_card(ledger: Ledger, policy: Policy) -> str:
    """Write the data card of a run; where it lies, or what it needs: a bare GPU machine lacks DuckDB and matplotlib."""
    if missing := [name for name in ("duckdb", "matplotlib") if find_spec(name) is None]:
        return f"none, for it needs {' and '.join(missing)}; install that and run lab ledger card {ledger.folder}"
    from lab import datacard_page

    return str(datacard_page.write_card(ledger, policy, command_line()))
