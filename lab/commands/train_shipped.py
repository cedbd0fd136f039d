"""`lab train-shipped`: train the weights that come with the package, by a committed recipe."""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from blip.config import to_json
from blip.errors import InputError
from lab.ablation.binding import preferred
from lab.bootstrap import NAMES, Seconds, train_models
from lab.evaluate import bootstrap_quality
from lab.page_parts import number
from lab.recipes import overridden, recipe
from lab.records import WRITTEN, record, write_record
from lab.weights import WEIGHTS
from lab.world.sets import World


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train pre-trained model, captioner and filter for the generated world, and measure them."""

    out: Path
    """Folder for checkpoints, metrics, the three models and record.json; run again to continue."""
    recipe: str = "shipped"
    """shipped, cell (about four minutes on two cores) or smoke (seconds)."""
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
    chosen, seconds = overridden(recipe(options.recipe), options.set), Seconds()
    world = World.of(chosen.level)
    models = train_models(chosen, world, options.out, seed=options.seed, seconds=seconds)
    with seconds.stage("evaluate"):
        quality = bootstrap_quality(
            models["captioner"], models["filter"], world, count=chosen.evaluation, start=chosen.web
        )
        quality["binding"] = {name: preferred(models[name], world, chosen.evaluation) for name in ("pretrained", "filter")}
    files = {name: (options.out / f"{name}.safetensors").stat().st_size for name in NAMES}
    result = quality | {"seconds": seconds.of, "bytes": files}
    config = {"recipe": asdict(chosen), "model": to_json(models["pretrained"].model.config)}
    name = f"train-{chosen.name}"
    path = write_record(options.out / "record.json", record(name, result, seed=options.seed, config=config))
    if options.install:
        for stage in NAMES:
            shutil.copy(options.out / f"{stage}.safetensors", WEIGHTS / f"{stage}.safetensors")
        shutil.copy(path, WRITTEN / f"{name}.json")
    _print(quality, seconds)
    print(f"weights and record: {options.out}")
    return 0


def _print(quality: dict, seconds: Seconds) -> None:
    print("captions decoded greedily on held-out scenes:")
    for domain, shares in quality["captioner"].items():
        print(f"  {domain:7} true {shares['true']:.3f}  strictly true {shares['strictly_true']:.3f}")
    print("filter AUC on unseen web pairs:")
    for kind, value in quality["filter"]["auc"].items():
        print(f"  {kind:12} {number(value)}")
    print("a true text of two objects scored above the same with its colours swapped (chance 0.5):")
    for name, found in quality["binding"].items():
        print(f"  {name:12} ITM {number(found['itm']['swapped'])}  ITC {number(found['itc']['swapped'])}")
    print("seconds: " + ", ".join(f"{name} {value:.0f}" for name, value in seconds.of.items()))
