"""`lab runs rm`: delete runs, never one that others were made from unless they go with it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from tyro.conf import Positional, arg

from blip.errors import InputError
from lab.runs import INTERRUPTED, Home


@dataclass(frozen=True, kw_only=True)
class Options:
    """Delete runs in BLIP_LAB_HOME (else ~/.cache/blip-lab)."""

    ids: Annotated[tuple[str, ...], Positional, arg(metavar="IDS")] = ()
    """Runs by id, as lab runs list shows them; the beginning of one, or of its hexadecimal digits, is enough."""
    interrupted: bool = False
    """All runs that were cut off and not continued."""
    with_children: bool = False
    """Also what was made from them."""
    yes: bool = False
    """Do not ask."""


def main(options: Options) -> int:
    """Say what will be deleted, ask, delete."""
    home = Home.default()
    rows = home.rows()
    chosen = {find(rows, asked) for asked in options.ids}
    if options.interrupted:
        chosen |= {row["id"] for row in rows if row["state"] == INTERRUPTED}
    elif not options.ids:
        raise InputError("runs rm needs the id of a run, or --interrupted; see lab runs list.")
    doomed = with_children(rows, chosen)
    made = [run for run in doomed if run not in chosen]
    if made and not options.with_children:
        more = f" and {len(made) - 1} more" if len(made) > 1 else ""
        raise InputError(f"{made[0]}{more} came from what you want to delete; give --with-children to delete them too.")
    if not doomed:
        print("There is nothing to delete.")
        return 0
    print("\n".join(doomed))
    if not options.yes and not _agreed(len(doomed)):
        print("Nothing was deleted.")
        return 1
    home.remove(doomed)
    print(f"{len(doomed)} deleted.")
    return 0


def find(rows: Sequence[dict[str, Any]], asked: str) -> str:
    """The id of the run that is meant; InputError where there is none, or more than one."""
    ids = [row["id"] for row in rows]
    found = [run for run in ids if run.startswith(asked) or run.rpartition("-")[2].startswith(asked)]
    if asked in ids:
        return asked
    if not asked or not found:
        raise InputError(f"There is no run {asked!r}; see lab runs list.")
    if len(found) > 1:
        raise InputError(f"{asked!r} may be {found[0]} or {found[1]}; give more of the id.")
    return found[0]


def with_children(rows: Sequence[dict[str, Any]], chosen: set[str]) -> list[str]:
    """These runs and all that was made from them, from the youngest to the oldest of a line."""
    children: dict[str, list[str]] = {}
    for row in rows:
        for parent in row["parents"]:
            children.setdefault(parent, []).append(row["id"])
    ordered: dict[str, None] = {}

    def descend(run: str) -> Iterator[str]:
        for child in children.get(run, ()):
            yield from descend(child)
        yield run

    for run in sorted(chosen):
        ordered |= dict.fromkeys(descend(run))
    return list(ordered)


def _agreed(count: int) -> bool:
    try:
        return input(f"Delete {'this run' if count == 1 else f'these {count} runs'}? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        raise InputError("Nobody can answer here; give --yes to delete without being asked.") from None
