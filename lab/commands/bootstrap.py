"""`lab bootstrap`: rounds of pre-training, captioner and filter, CapFilt, and a new model (paper Figure 3)."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from blip.capfilt import Ledger, Policy
from blip.capfilt.diff import diff
from blip.config import to_json
from blip.errors import InputError
from blip.tasks.captioning import PROMPT
from lab.ablation.command import device_for
from lab.ablation.ground import WORLD, Ground
from lab.ablation.own_pairs import OwnPairs
from lab.ablation.own_reading import Own, opened, told
from lab.ablation.own_scales import OF_THE_WORLD
from lab.ablation.scales import SCALES
from lab.datacard import CARD
from lab.finetuning import plain
from lab.ledgers import write_card
from lab.recipes import Recipe, overridden, recipe
from lab.records import record, write_record
from lab.rounds import Bootstrap, Round, Steps, bootstrap
from lab.runs import Home


@dataclass(frozen=True, kw_only=True)
class Options:
    """Bootstrap in rounds, in the generated world or on your own pairs: --data, --human and --val. Each step is done
    once and kept, so that more rounds continue and a stop loses little."""

    rounds: int = 2
    """CapFilt passes; a final model is trained on what the last one kept."""
    recipe: str | None = None
    """smoke (seconds, and learns nothing), cell (about five minutes a round on two cores; the default) or shipped; of
    your own pairs smoke, cpu (hours a round; the default) or gpu, as in lab ablate."""
    set: tuple[str, ...] = ()
    """Fields of the recipe to change: pretrain.batch=64 dropout=0.1."""
    noise: float | None = None
    """Share of the web texts that are noise; by default the recipe's."""
    images: int | None = None
    """Web images that a CapFilt pass covers, from the first one on; by default all, and of your own always all."""
    continued: bool = False
    """Train each model on from the one before, in place of a new one (paper Table 13)."""
    prompt: str = PROMPT
    """Words that every caption of the captioners begins with, in fine-tuning and in what they say, as published; ""
    for none, as claim no-prompt has it."""
    seed: int = 0
    """Of initial weights, order and draws; the world itself is always that of seed 0."""
    out: Path | None = None
    """Folder of summary.json; by default one in the home of runs (BLIP_LAB_HOME, else ~/.cache/blip-lab)."""
    own: Own = field(default_factory=Own)
    """Where the pairs come from."""


def main(options: Options) -> int:
    """Do what is not done yet, write summary.json, print a table and where the ledgers are."""
    home = Home.default()
    chosen, ground = _chosen(options)
    steps = Steps(home, chosen, options.seed, ground)
    done = bootstrap(steps, options.rounds, images=options.images, continued=options.continued, prompt=options.prompt)
    summary = _summary(done)
    if isinstance(ground, OwnPairs):
        summary["own_pairs"] = ground.about()
    settings = plain(asdict(options)) | {"out": options.out and str(options.out)}
    config = {"options": settings, "recipe": to_json(chosen)}
    out = options.out or home.folder / "bootstrap" / done.model.id
    written = record("bootstrap", summary, seed=options.seed, config=config)
    path = write_record(out / "summary.json", written | summary)
    print(_said(summary))
    for one in done.rounds:
        print(f"data card of round {one.number}: {_card(one.ledger)}")
    print(f"summary: {path}")
    return 0


def _chosen(options: Options) -> tuple[Recipe, Ground]:
    """The recipe with its changes, and where the pairs come from; InputError where the two do not go together."""
    if not options.own.given:
        chosen = overridden(recipe(options.recipe or "cell"), options.set)
        return (chosen if options.noise is None else replace(chosen, noise=options.noise)), WORLD
    for name in ("noise", "images"):
        if getattr(options, name) is not None:
            raise InputError(f"--{name} is of the generated world; your own pairs are taken as they are, so leave it out.")
    if fixed := next((change for change in options.set if change.partition("=")[0] in OF_THE_WORLD), None):
        raise InputError(f"--set {fixed} cannot be; your own pairs are taken as they are, so leave it out.")
    scale = options.recipe or "cpu"
    if scale not in SCALES:
        raise InputError(f"There is no --recipe {scale!r} for your own pairs; choose one of {', '.join(SCALES)}.")
    pairs, chosen = opened(options.own, scale)
    told(options.own, pairs)
    chosen = overridden(chosen, options.set)
    device_for(chosen)
    return chosen, pairs


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
    trained, rows = [*rounds, summary["final"]], _OWN if "own_pairs" in summary else _WORLD
    heads = [*(f"round {one['round']}" for one in rounds), "final"]
    lines = [_row("", heads), *_lines(trained, _PAIRS | rows.quality("quality"))]
    lines += ["", "captioner and filter, held out", *_lines(rounds, rows.quality("tuned_quality"))]
    lines += ["", "CapFilt", *_lines(rounds, _KEPT | rows.capfilt)]
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


def _own_quality(name: str) -> dict[str, Cell]:
    """Rows of what models are worth on held-out images of one's own."""
    return {
        "  TR@1 %": lambda c: _percent(c[name]["retrieval"]["all"]["tr1"]),
        "  IR@1 %": lambda c: _percent(c[name]["retrieval"]["all"]["ir1"]),
        "  CIDEr-D": lambda c: _number(c[name]["captions"]["all"]["cider"]),
    }


@dataclass(frozen=True)
class _Rows:
    """What can be told of models and of a CapFilt pass on a ground."""

    quality: Callable[[str], dict[str, Cell]]
    capfilt: dict[str, Cell]


_PAIRS: dict[str, Cell] = {"pre-trained on pairs": lambda c: f"{c['pairs']:,}"}
_KEPT: dict[str, Cell] = {
    "  web captions kept %": lambda c: _kept(c["capfilt"], "web"),
    "  synthetic captions kept %": lambda c: _kept(c["capfilt"], "synthetic"),
}
_OF_TRUTH: dict[str, Cell] = {
    "  synthetic strictly true %": lambda c: _percent(c["capfilt"]["strictly_true_synthetic"]),
    "  false before %": lambda c: _percent(c["capfilt"]["false_share_before"]),
    "  false after %": lambda c: _percent(c["capfilt"]["false_share_after"]),
}
_WORLD, _OWN = _Rows(_quality, _OF_TRUTH), _Rows(_own_quality, {})
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
