"""`lab bench studio`: what people wait for in the studio over a million captions, timed inside a real browser.

Each round starts the studio and a blank Gradio page anew and visits both with an empty cache, so that what is
asked for first is measured as often as all else.
"""

import os
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blip.errors import InputError
from lab.bench import studio_browser as browsing
from lab.bench import studio_serving as serving
from lab.bench.rounds import spread
from lab.bench.running import check_counts, record_place
from lab.bench.simulated_ledger import EACH
from lab.bench.studio_ledger import write_ledgers
from lab.records import WRITTEN, record, write_record

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FIRST, BLANK = "first view of Decisions", "first view of a blank Gradio page"
USABLE = "page at work"
KEY, BUTTON = "page turn by key", "page turn by button"
STEP, DRAG = "threshold move by key", "threshold move by dragging"
AT_ONCE = "page turn by key while Compare is opened first"
SIGN = "first sign of Compare"
MOST = {FIRST: 3000, USABLE: 3000, KEY: 300, BUTTON: 300, STEP: 500, DRAG: 500, AT_ONCE: 1000, SIGN: 500}
MOST |= {f"first opening of {room}": 3000 for room in browsing.ROOMS}
"""The milliseconds that no wait may take, whatever the round."""
RATIO = 1.5
"""How many times a blank page's first view the studio's may take, median by median."""
GROWTH = 0.05
"""How much more memory the studio may hold after its last page than after a quarter of them, as a share."""
_STRETCH = 10  # pages between two looks at memory
HOW = (
    "Milliseconds from the input event to the frame after the one in which all is there, pictures decoded. The ledger "
    "is simulated; a modest number of different drawn pictures stands for all images, and no thumbnail is remembered "
    "from one image to another. Compare joins it with a second ledger of the same images, other captions; Search has an "
    "index of drawn features. Memory is what the studio's process holds (resident)."
)
_SEARCHES = ("a red ball near a cup", "two big blue boxes", "something green")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure in a browser how long the studio lets people wait over a large ledger, and how much memory it holds."""

    out: Path = WRITTEN / "bench" / "studio-cpu.json"
    """The record, JSON."""
    rows: int = 1_000_000
    """Captions of the ledger, 5 an image."""
    pictures: int = 256
    """Different pictures that stand for all images."""
    rounds: int = 3
    """Starts of the studio."""
    turns: int = 20
    """Page turns by key, and by button, a round."""
    moves: int = 10
    """Moves of a threshold by key, and by dragging, a round."""
    pages: int = 200
    """Pages turned in each round while memory is watched; 40 or more."""
    folder: Path | None = None
    """Where the ledgers are written for the time of the measurement; by default a temporary folder."""
    seed: int = 0
    """Of pictures, keys, texts and scores."""


def main(options: Options) -> int:
    """Write the ledgers, measure every round, print, record; 1 if a target is missed."""
    _check(options)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="studio-", dir=options.folder) as name, browsing.chromium() as browser:
        ledger, other = write_ledgers(Path(name), options.rows, options.pictures, options.seed)
        rounds = [_round(options, browser, ledger, other, number) for number in range(options.rounds)]
        version = browser.version
    result = {"how": HOW, "rows": options.rows // EACH * EACH, "browser": f"Chromium {version}", **judged(rounds)}
    result["load_average_before"] = round(load, 2)
    config = asdict(options) | {"out": options.out.name, "folder": None}
    path = record_place(options, rows=options.rows, rounds=options.rounds)
    write_record(path, record("bench-studio", result, seed=options.seed, config=config))
    print(table(result))
    print(f"record: {path}")
    return 0 if result["reached"] else 1


def _check(options: Options) -> None:
    check_counts(options, "pictures", "rounds", "turns", "moves")
    needed = EACH * 12 * (1 + 2 * options.turns + options.pages)
    if options.rows < needed:
        raise InputError(f"--rows {options.rows} are too few to turn so many pages; give {needed:,} or more, or fewer --turns and --pages.")
    if options.pages < 4 * _STRETCH:
        raise InputError(f"--pages {options.pages} cannot tell growth; give {4 * _STRETCH} or more.")
    if options.folder is not None and not options.folder.is_dir():
        raise InputError(f"There is no folder {options.folder}; make it, or leave --folder out.")


@dataclass(frozen=True)
class Round:
    """What one start of the studio showed: seconds to start, milliseconds of waits by name, MiB by pages turned."""

    start: float
    waits: dict[str, list[float]]
    mib: dict[int, float]


def _round(options: Options, browser: "Browser", ledger: Path, other: Path, number: int) -> Round:
    waits: dict[str, list[float]] = {}
    with serving.blank() as served, browsing.visit(browser, served.url, browsing.BLANK_THERE) as (_, first):
        waits[BLANK] = [first]
    with serving.studio(ledger, other) as served:
        with browsing.visit(browser, served.url, browsing.STUDIO_THERE) as (page, first):
            waits |= {FIRST: [first], USABLE: [browsing.at_work(page)], **_decisions(options, page)}
            waits |= _rooms(browser, served.url, page)
        with browsing.visit(browser, served.url, browsing.STUDIO_THERE) as (page, _):
            mib = dict(_paging(page, served, options.pages))
    print(f"round {number + 1}: " + ", ".join(f"{name} {max(own):.0f} ms" for name, own in waits.items()), flush=True)
    return Round(round(served.seconds, 2), waits, mib)


def _decisions(options: Options, page: "Page") -> dict[str, list[float]]:
    return {
        KEY: browsing.turns(page, options.turns, button=False),
        BUTTON: browsing.turns(page, options.turns, button=True),
        STEP: browsing.moves(page, options.moves),
        DRAG: browsing.drags(page, options.moves),
    }


def _rooms(browser: "Browser", url: str, page: "Page") -> dict[str, list[float]]:
    """The first openings of the other rooms; while Compare joins, somebody else turns a page."""
    found = {}
    with browsing.visit(browser, url, browsing.STUDIO_THERE) as (elsewhere, _):
        browsing.at_work(elsewhere)
        found[SIGN] = [browsing.opening(page, "Compare")]
        found[AT_ONCE] = browsing.turns(elsewhere, 1, button=False)
        found["first opening of Compare"] = [browsing.opened(page)]
    for room in ("Review", "Search"):
        browsing.opening(page, room)
        found[f"first opening of {room}"] = [browsing.opened(page)]
    return found | {"search for a text": browsing.searches(page, _SEARCHES)}


def _paging(page: "Page", served: serving.Served, pages: int) -> Iterator[tuple[int, float]]:
    """The studio's MiB by the number of pages turned, every ten pages."""
    browsing.at_work(page)
    for turned in range(0, pages + 1, _STRETCH):
        if turned:
            browsing.turns(page, _STRETCH, button=True)
        yield turned, round(served.mib(), 1)


def judged(rounds: list[Round]) -> dict[str, Any]:
    """Medians, extremes and every value of all rounds, each beside its target."""
    waits: dict[str, list[float]] = defaultdict(list)
    for own in rounds:
        for name, found in own.waits.items():
            waits[name] += found
    told = {name: _told(found, MOST.get(name)) for name, found in waits.items()}
    ratio = round(statistics.median(waits[FIRST]) / statistics.median(waits[BLANK]), 3)
    last = max(rounds[0].mib)
    settled = last // 4 // _STRETCH * _STRETCH
    growths = [round(own.mib[last] / own.mib[settled] - 1, 4) for own in rounds]
    reached = {name: own["reached"] for name, own in told.items() if "reached" in own}
    reached |= {"ratio": ratio <= RATIO, "memory": max(growths) < GROWTH}
    return {
        "start_seconds": spread([own.start for own in rounds]),
        "milliseconds": told,
        "first_view": {"ratio": ratio, "target": RATIO, "better": "lower", "reached": reached["ratio"]},
        "memory": {
            "judged": f"growth from page {settled} to page {last}, as a share, in each round",
            "growth": spread(growths),
            "target": GROWTH,
            "reached": reached["memory"],
            "mib": [own.mib for own in rounds],
        },
        "reached": all(reached.values()),
    }


def _told(found: list[float], most: float | None) -> dict[str, Any]:
    told = {**spread(found), "measured": len(found), "values": found}
    return told if most is None else told | {"target": most, "reached": max(found) < most}


def table(result: dict[str, Any]) -> str:
    """The result as lines of text."""
    lines = [f"{'milliseconds':46}{'median':>9}{'worst':>9}{'times':>7}   target"]
    for name, own in result["milliseconds"].items():
        said = f"   < {own['target']:,}{'' if own['reached'] else ' MISSED'}" if "target" in own else ""
        lines.append(f"{name:46}{own['median']:>9,.0f}{own['max']:>9,.0f}{own['measured']:>7}{said}")
    first, memory = result["first_view"], result["memory"]
    lines.append(f"first view, times a blank page: {first['ratio']:.2f} (at most {first['target']})")
    lines.append(f"memory: {memory['judged']}: {memory['growth']['max']:.1%} at most (below {memory['target']:.0%})")
    return "\n".join(lines)
