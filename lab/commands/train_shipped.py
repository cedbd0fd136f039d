"""`lab train-shipped`: train the weights that come with the package, by a committed recipe and a round of CapFilt."""

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from blip.capfilt import run
from blip.checkpoint import Loaded
from blip.config import to_json
from blip.data.pairset import PairSet
from blip.errors import InputError
from blip.generate import Decoding
from lab.ablation.binding import preferred
from lab.bootstrap import NAMES, Seconds, bootstrapped, strictly_true, train_models, world_job
from lab.evaluate import bootstrap_quality
from lab.progress import images_bar
from lab.recipes import Recipe, overridden, recipe
from lab.records import WRITTEN, record, write_record
from lab.report import summarize
from lab.weights import WEIGHTS
from lab.world.sets import World, WorldPair, as_pairs


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train pre-trained model, captioner and filter for the generated world, and measure them.

    Twice: first on the web's own texts, then anew on what those captioner and filter make of them (paper 3.3)."""

    out: Path
    """Folder for checkpoints, metrics, the ledger, the three models (those of the web's own texts in first/) and
    record.json; run again to continue."""
    recipe: str = "shipped"
    """shipped, cell (about ten minutes on two cores) or smoke (seconds)."""
    set: tuple[str, ...] = ()
    """Fields of the recipe to change, for a trial: pretrain.batch=64 dropout=0.1."""
    seed: int = 0
    """Of initial weights, order and draws; the world itself is always that of seed 0."""
    install: bool = False
    """Put the weights into the package and the record into lab/results."""


def main(options: Options) -> int:
    """Train, evaluate on held-out scenes and unseen web pairs, write the record, say what came out."""
    if options.install and options.set:
        raise InputError("Shipped weights come from a committed recipe; leave out --set or --install.")
    chosen, out = overridden(recipe(options.recipe), options.set), options.out
    world, first, second = World.of(chosen.level), Seconds(), Seconds()
    models = train_models(chosen, world, out / "first", seed=options.seed, seconds=first)
    result = {"first": _quality(chosen, world, models, first)}
    pairs, result["capfilt"] = _capfilt(chosen, world, models, out / "ledger", options.seed, second)
    models = train_models(chosen, world, out, seed=options.seed, seconds=second, pairs=pairs)
    files = {name: (out / f"{name}.safetensors").stat().st_size for name in NAMES}
    result |= _quality(chosen, world, models, second) | {"bytes": files}
    config = {"recipe": asdict(chosen), "model": to_json(models["pretrained"].model.config)}
    name = f"train-{chosen.name}"
    path = write_record(out / "record.json", record(name, result, seed=options.seed, config=config))
    if options.install:
        for stage in NAMES:
            shutil.copy(out / f"{stage}.safetensors", WEIGHTS / f"{stage}.safetensors")
        shutil.copy(path, WRITTEN / f"{name}.json")
    _print(result)
    print(f"weights and record: {out}")
    return 0


def _capfilt(
    chosen: Recipe, world: World, models: Mapping[str, Loaded], place: Path, seed: int, seconds: Seconds
) -> tuple[list[WorldPair], dict[str, Any]]:
    """What a round makes of the web, with the human-annotated pairs, and the numbers of its ledger."""
    with seconds.stage("capfilt"):
        items = world.web(chosen.web, chosen.noise)
        drawn = {"level": chosen.level, "noise": chosen.noise, "start": 0}
        job = world_job(models["captioner"], models["filter"], items, drawn, decoding=Decoding(), seed=seed)
        pairs = PairSet.of(as_pairs(items, world.level.px))
        with images_bar(len(pairs.images), "capfilt") as show:
            ledger = run(job, pairs, place, show)
        summary = summarize(ledger) | {"strictly_true_synthetic": strictly_true(ledger, items)}
    return [*bootstrapped(ledger, items), *world.human(chosen.human, captions_each=2)], summary


def _quality(chosen: Recipe, world: World, models: Mapping[str, Loaded], seconds: Seconds) -> dict[str, Any]:
    """Captions and filter against the truth, whose colour is whose (lab/ablation/binding.py), and the seconds."""
    with seconds.stage("evaluate"):
        count = chosen.evaluation
        found = bootstrap_quality(models["captioner"], models["filter"], world, count=count, start=chosen.web)
        binding = {name: preferred(models[name], world, count) for name in ("pretrained", "filter")}
    return found | {"binding": binding, "seconds": seconds.of}


def _print(result: Mapping[str, Any]) -> None:
    print("captions decoded greedily on held-out scenes, after a round of CapFilt (before it):")
    for domain, shares in result["captioner"].items():
        before = result["first"]["captioner"][domain]
        told = (f"{name.replace('_', ' ')} {shares[name]:.3f} ({before[name]:.3f})" for name in ("true", "strictly_true"))
        print(f"  {domain:7} " + "  ".join(told))
    print("filter AUC on unseen web pairs:")
    for kind, value in result["filter"]["auc"].items():
        print(f"  {kind:12} {_told(value)} ({_told(result['first']['filter']['auc'][kind])})")
    for name in result["binding"]:
        shares = (_told(one["binding"][name]["itm"]["swapped"]) for one in (result, result["first"]))
        print("{}: true text before one with its colours swapped {} ({})".format(name, *shares))
    seconds = {f"first {name}": value for name, value in result["first"]["seconds"].items()} | result["seconds"]
    print("seconds: " + ", ".join(f"{name} {value:.0f}" for name, value in seconds.items()))


def _told(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
