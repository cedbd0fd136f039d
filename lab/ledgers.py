"""What commands on ledgers share: folders that have moved or are set aside, pictures drawn again, the data card."""

import itertools
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from blip.capfilt import Ledger, Policy, Snapshot
from blip.capfilt.unfinished import REMEDY
from blip.data.pairs import Pair
from blip.data.places import Place
from blip.errors import InputError
from lab.records import command_line
from lab.world.sets import World, as_pairs


def standing(place: Place) -> Ledger:
    """The ledger in a folder or at a URL as it stands now, to be read; `tell_unfinished` of it."""
    ledger = Snapshot.open(place)
    tell_unfinished(ledger)
    return ledger


def finished(place: Place, remedy: str = REMEDY) -> Ledger:
    """The same of a job that is done; InputError where it is not, with what to do about it."""
    ledger = Snapshot.open(place)
    if (stopped := ledger.unfinished) is not None:
        raise InputError(f"{stopped.said}; {remedy}.")
    return ledger


def tell_unfinished(ledger: Ledger) -> None:
    """Say on stderr, in one line, how far a ledger has come whose job is not done."""
    if (stopped := ledger.unfinished) is not None:
        print(stopped, file=sys.stderr)


def image_roots(words: Sequence[str]) -> dict[str, str]:
    """Old folder to new, from OLD=NEW; InputError for words of another form."""
    roots = {}
    for word in words:
        old, _, new = word.partition("=")
        if not old or not new:
            raise InputError(f"--image-root {word!r} must be OLD=NEW: the folder then and the folder now.")
        roots[old] = new
    return roots


def reviews_file(ledger: Path) -> Path:
    """Where people's reviews of the ledger in a folder lie if nobody says otherwise (see lab studio --reviews)."""
    folder = ledger.resolve()
    return folder.with_name(f"{folder.name}.reviews.sqlite")


def set_aside(ledger: Path) -> Path:
    """Rename the folder of a ledger, with the reviews of it, to the first FOLDER-1, FOLDER-2, ... that is free."""
    places = (ledger.with_name(f"{ledger.name}-{number}") for number in itertools.count(1))
    aside = next(place for place in places if not place.exists() and not reviews_file(place).exists())
    reviews, moved = reviews_file(ledger), reviews_file(aside)
    ledger.rename(aside)
    # SQLite keeps what is not in the main file yet in the two others.
    for ending in ("-wal", "-shm", ""):
        if (file := Path(f"{reviews}{ending}")).exists():
            file.rename(f"{moved}{ending}")
    return aside


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
