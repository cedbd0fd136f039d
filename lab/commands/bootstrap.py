"""`lab bootstrap`: rounds of pre-training, captioner and filter, CapFilt, and a new model, in the generated world."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from blip.capfilt import Ledger, Policy
from blip.capfilt.diff import diff
from blip.config import to_json
from lab.datacard import CARD
from lab.ledgers import write_card
from lab.recipes import overridden, recipe
from lab.records import record, write_record
from lab.rounds import Bootstrap, Round, Steps, bootstrap
from lab.runs import Home


@dataclass(frozen=True, kw_only=True)
class Options:
    """Bootstrap in rounds: each step is done once and kept, so that more rounds continue and a stop loses little."""

    rounds: int = 2
    """CapFilt passes; a final model is trained on what the last one kept."""
    recipe: str = "cell"
    """smoke (seconds, and learns nothing), cell (about five minutes a round on two cores) or shipped."""
    set: tuple[str, ...] = ()
    """Fields of the recipe to change: pretrain.batch=64 dropout=0.1."""
    noise: float | None = None
    """Share of the web texts that are noise; by default the recipe's."""
    images: int | None = None
    """Web images that a CapFilt pass covers, from the first one on; by default all."""
    continued: bool = False
    """Train each model on from the one before, in place of a new one (paper Table 13)."""
    seed: int = 0
    """Of initial weights, order and draws; the world itself is always that of seed 0."""
    out: Path | None = None
    """Folder of summary.json; by default one in the home of runs (BLIP_LAB_HOME, else ~/.cache/blip-lab)."""


def main(options: Options) -> int:
    """Do what is not done yet, write summary.json, print a table and where the ledgers are."""
    chosen = overridden(recipe(options.recipe), options.set)
    if options.noise is not None:
        chosen = replace(chosen, noise=options.noise)
    home = Home.default()
    steps = Steps(home, chosen, options.seed)
    done = bootstrap(steps, options.rounds, images=options.images, continued=options.continued)
    summary = _summary(done)
    settings = asdict(options) | {"out": options.out and str(options.out)}
    config = {"options": settings, "recipe": to_json(chosen)}
    out = options.out or home.folder / "bootstrap" / done.model.id
    written = record("bootstrap", summary, seed=options.seed, config=config)
    path = write_record(out / "summary.json", written | summary)
    print(_said(summary))
    for one in done.rounds:
        print(f"data card of round {one.number}: {_card(one.ledger)}")
    print(f"summary: {path}")
    return 0


def _card(ledger: Path) -> str:
    """The data card of a round, written where there is none."""
    path = ledger / CARD
    return str(path) if path.exists() else write_card(Ledger.open(ledger), Policy())


def _summary(done: Bootstrap) -> dict[str, Any]:
    pairs = zip(done.rounds, done.rounds[1:], strict=False)
    return {
        "rounds": [_round(one) for one in done.rounds],
        "final": {
            "runs": {"model": done.model.id, "quality": done.quality.id},
            "pairs": done.model.result["pairs"],
            "quality": done.quality.result,
            "seconds": {"model": done.model.seconds, "quality": done.quality.seconds},
        },
        "diffs": [_diff(before, after) for before, after in pairs],
    }


def _round(one: Round) -> dict[str, Any]:
    runs = {name: run for name, run in vars(one).items() if name != "number"}
    return {
        "round": one.number,
        "runs": {name: run.id for name, run in runs.items()},
        "pairs": one.model.result["pairs"],
        "quality": one.quality.result,
        "tuned_quality": one.tuned_quality.result,
        "capfilt": one.capfilt.result,
        "ledger": str(one.ledger),
        "seconds": {name: run.seconds for name, run in runs.items()},
    }


def _diff(before: Round, after: Round) -> dict[str, Any]:
    found = diff(Ledger.open(before.ledger), Ledger.open(after.ledger), Policy())
    return {"rounds": [before.number, after.number]} | asdict(found)


def _said(summary: dict[str, Any]) -> str:
    rounds, diffs = summary["rounds"], summary["diffs"]
    trained = [*rounds, summary["final"]]
    heads = [*(f"round {one['round']}" for one in rounds), "final"]
    lines = [_row("", heads), *_lines(trained, _TRAINED)]
    lines += ["", "captioner and filter, held out", *_lines(rounds, _TUNED), "", "CapFilt", *_lines(rounds, _CAPFILT)]
    if diffs:
        heads = [f"{before} to {after}" for before, after in (one["rounds"] for one in diffs)]
        lines += ["", _row("texts between rounds", heads), *_lines(diffs, _CHANGED)]
    return "\n".join([*lines, "", *_ledgers(rounds)])


Cell = Callable[[dict[str, Any]], str]


def _lines(columns: Sequence[dict[str, Any]], rows: dict[str, Cell]) -> list[str]:
    return [_row(name, [cell(column) for column in columns]) for name, cell in rows.items()]


def _row(name: str, cells: Sequence[str]) -> str:
    return f"{name:34}" + "".join(f"{cell:>14}" for cell in cells)


def _quality(name: str) -> dict[str, Cell]:
    """Rows of a `bootstrap_quality`: captions of all held-out scenes, and what the filter tells apart."""
    return {
        "  captions strictly true %": lambda c: _percent(c[name]["captioner"]["all"]["strictly_true"]),
        "  AUC mismatched": lambda c: _number(c[name]["filter"]["auc"]["mismatched"]),
        "  AUC near miss": lambda c: _number(c[name]["filter"]["auc"]["near_miss"]),
    }


_TRAINED: dict[str, Cell] = {"pre-trained on pairs": lambda c: f"{c['pairs']:,}"} | _quality("quality")
_TUNED = _quality("tuned_quality")
_CAPFILT: dict[str, Cell] = {
    "  web captions kept %": lambda c: _kept(c["capfilt"], "web"),
    "  synthetic captions kept %": lambda c: _kept(c["capfilt"], "synthetic"),
    "  synthetic strictly true %": lambda c: _percent(c["capfilt"]["strictly_true_synthetic"]),
    "  false before %": lambda c: _percent(c["capfilt"]["false_share_before"]),
    "  false after %": lambda c: _percent(c["capfilt"]["false_share_after"]),
}
_CHANGED: dict[str, Cell] = {
    "  added": lambda c: f"{c['added']['count']:,}",
    "  dropped": lambda c: f"{c['dropped']['count']:,}",
    "  now kept": lambda c: f"{c['now_kept']['count']:,}",
    "  now filtered": lambda c: f"{c['now_filtered']['count']:,}",
    "  words of kept texts": lambda c: f"{c['before']['vocabulary']:,} to {c['after']['vocabulary']:,}",
    "  distinct texts %": lambda c: f"{_percent(c['before']['distinct'])} to {_percent(c['after']['distinct'])}",
    "  mean change of score": lambda c: "-" if c["score_drift"] is None else f"{c['score_drift']:+.4f}",
}


def _ledgers(rounds: Sequence[dict[str, Any]]) -> list[str]:
    lines = [f"ledger of round {one['round']}: {one['ledger']}" for one in rounds]
    if len(rounds) > 1:
        lines.append("compare two with lab ledger diff, look at one with lab studio, see all runs with lab runs list")
    return lines


def _kept(capfilt: dict[str, Any], origin: str) -> str:
    kept, filtered = capfilt["kept"][origin], capfilt["filtered"][origin]
    return _percent(kept / max(1, kept + filtered))


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
