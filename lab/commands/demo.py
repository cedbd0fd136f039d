"""`lab demo`: CapFilt on a generated noisy web, held against the truth."""

import sys
import webbrowser
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from blip.capfilt import Job, Ledger, Policy, run
from blip.capfilt.ledger import AnotherJob
from blip.capfilt.store import store_at
from blip.checkpoint import Loaded
from blip.data.pairset import PairSet
from blip.errors import InputError
from blip.generate import Decoding
from lab import figures
from lab.bootstrap import Seconds, second_model, strictly_true, train_models, world_job
from lab.cards import chosen_cards
from lab.datacard import CARD
from lab.datacard_page import write_card
from lab.ledgers import set_aside
from lab.progress import images_bar
from lab.recipes import SHIPPED, Recipe, recipe
from lab.records import command_line, record, write_record
from lab.report import seconds_line, summarize, table
from lab.weights import shipped
from lab.world.sets import World, WorldPair, as_pairs

UNSEEN_PAIRS = 2_400


@dataclass(frozen=True, kw_only=True)
class Options:
    """Generate noisy web pairs, caption and filter them, and compare with the truth."""

    out: Path = Path("runs/demo")
    """Folder of the ledger, summary.json and contact-sheet.png; another demo's ledger there is set aside."""
    pairs: int | None = None
    """Noisy web pairs; by default 2,400 unseen ones, or with --from-scratch all that were trained on."""
    noise: float = 0.4
    """Share of the web texts that are noise; with --from-scratch of those that are trained on."""
    from_scratch: bool = False
    """Train pre-trained model, captioner and filter first, then a new model on the bootstrapped set."""
    recipe: str = "cell"
    """Recipe of --from-scratch: cell (minutes on two cores) or smoke (seconds, and learns nothing)."""
    seed: int = 0
    """Of training and of the draws of captions."""
    open: bool = True
    """Show the contact sheet when done."""


def main(options: Options) -> int:
    """Run the main job from noisy pairs to an explained, cleaned data set."""
    if options.pairs is not None and options.pairs < 1:
        raise InputError(f"--pairs {options.pairs} cannot be; give 1 or more.")
    store_at(options.out)  # a place that cannot be is told before anything is trained or drawn
    seconds = Seconds()
    used = replace(recipe(options.recipe), noise=options.noise) if options.from_scratch else SHIPPED
    # Unseen pairs for the shipped weights; its own training pairs from scratch, as in the paper.
    count, start = (used.web, 0) if options.from_scratch else (UNSEEN_PAIRS, used.web)
    count = options.pairs or count
    world = World.of(used.level)
    models = _models(options, used, world, seconds)
    with seconds.stage("draw web pairs"):
        items = world.web(count, options.noise, start=start)
        pairs = PairSet.of(as_pairs(items, world.level.px))
    job = _job(options, models, items, {"level": used.level, "noise": options.noise, "start": start})
    with seconds.stage("capfilt"), images_bar(len(pairs.images), "capfilt") as show:
        ledger = run(job, pairs, _place(options.out, job, pairs), show)
    with seconds.stage("decide"):
        summary = summarize(ledger) | {"strictly_true_synthetic": strictly_true(ledger, items)}
    if options.from_scratch:
        summary["models"] = second_model(
            used, world, ledger, items, options.out / "training", seed=options.seed, seconds=seconds
        )
    with seconds.stage("contact sheet"):
        sheet = figures.contact_sheet(chosen_cards(ledger, items), _title(summary))
        path = figures.save(sheet, options.out / "contact-sheet.png")
    with seconds.stage("data card"):
        write_card(ledger, Policy(), command_line())
    _write(options, summary | {"seconds": seconds.of}, used)
    print(_said(options, summary, seconds, path))
    if options.open and sys.stdout.isatty():
        webbrowser.open(path.resolve().as_uri())
    return 0


def _models(options: Options, used: Recipe, world: World, seconds: Seconds) -> dict[str, Loaded]:
    if options.from_scratch:
        return train_models(used, world, options.out / "training", seed=options.seed, seconds=seconds)
    with seconds.stage("load weights"):
        return {name: shipped(name) for name in ("captioner", "filter")}


def _job(
    options: Options, models: dict[str, Loaded], items: Sequence[WorldPair], drawn: dict[str, Any]
) -> Job:
    return world_job(
        models["captioner"], models["filter"], items, drawn, decoding=Decoding(), seed=options.seed
    )


def _place(out: Path, job: Job, pairs: PairSet) -> Path:
    """Where the ledger goes; one of other weights or options that is already there is set aside, not lost."""
    place = out / "ledger"
    try:
        Ledger.create(place, job.about_data(pairs))
    except AnotherJob:
        print(f"{place} was another demo's: it is now {set_aside(place)}.")
    return place


def _title(summary: dict[str, Any]) -> str:
    kept, filtered = summary["kept"], summary["filtered"]
    return (
        f"CapFilt kept {kept['web']:,} of {kept['web'] + filtered['web']:,} web captions and "
        f"{kept['synthetic']:,} of {kept['synthetic'] + filtered['synthetic']:,} synthetic ones"
    )


def _write(options: Options, summary: dict[str, Any], used: Recipe) -> None:
    settings = asdict(options) | {"out": str(options.out)}
    config = {"options": settings, "recipe": asdict(used)}
    written = record("demo", summary, seed=options.seed, config=config)
    write_record(options.out / "summary.json", written | summary)


def _said(options: Options, summary: dict[str, Any], seconds: Seconds, sheet: Path) -> str:
    strict = f"synthetic captions strictly true: {100 * summary['strictly_true_synthetic']:.1f}%"
    where = [
        f"contact sheet:  {sheet}",
        f"ledger:         {options.out / 'ledger'}   (lab ledger summary, verify, show, decide)",
        f"data card:      {options.out / 'ledger' / CARD}",
        f"in the browser: lab studio {options.out / 'ledger'}",
        "in a notebook:  make notebooks, then open 02_capfilt_step_by_step.ipynb",
    ]
    return "\n".join(["", table(summary), "", strict, seconds_line(seconds.of), "", *where])
