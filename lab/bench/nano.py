"""`lab bench nano`: pre-training at size nano on the generated world, held against itself over time.

Samples a second, and the samples until the match probability tells other images' captions from true ones with an
AUC of 0.95. Several seeds train at once, each in a process of its own: small models share a GPU.
"""

import json
import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from blip.checkpoint import Card, Loaded
from blip.feed import PairFeed
from blip.model import BLIP
from blip.tasks.pretrain import ObjectiveConfig, Pretrain
from blip.tokenizer import Tokenizer
from blip.train import train
from lab.bench.rounds import spread
from lab.bench.running import check_counts, check_running, record_path
from lab.evaluate import filter_quality
from lab.recipes import CELL, Recipe, overridden
from lab.records import record, write_record
from lab.sources import array_source, tokenizer_of
from lab.stages import MAX_TOKENS, loader
from lab.world.sets import World, WorldPair

AUC, KIND = 0.95, "mismatched"
"""What is waited for, and of which noise."""
HOW = (
    "Recipe cell with its whole schedule. Every `every` samples the model scores unseen web pairs: the AUC of the match "
    "probability, mismatched against clean texts. Samples a second leave these evaluations out, those of all seeds "
    "together do not; drawing the world is in neither."
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure how fast a small model learns the generated world."""

    seeds: int = 1
    """Seeds of weights, order and draws; the world is one."""
    jobs: int = 1
    """Seeds at once."""
    every: int = 4_000
    """Samples between two evaluations."""
    pairs: int = 1_000
    """Unseen web pairs an evaluation."""
    recipe: tuple[str, ...] = ()
    """Changes of the recipe cell, as in pretrain.samples=32000."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    """cpu or cuda."""
    out: Path | None = None
    """The record, JSON; by default nano-DEVICE.json among the benches' records."""


def main(options: Options) -> int:
    """Train, evaluate on the way, print, record beside what the record that it replaces found."""
    check_counts(options, "seeds", "jobs", "every", "pairs")
    check_running(options.device, "float32")
    recipe = overridden(CELL, [*options.recipe, f"device={options.device}"])
    start = time.perf_counter()
    with ProcessPoolExecutor(options.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(_trained, *zip(*((recipe, seed, options) for seed in range(options.seeds)), strict=True)))
    path = options.out or record_path("nano", options.device, "float32")
    result = _result(found, recipe, time.perf_counter() - start, options) | {"before": _before(path)}
    config = {"options": asdict(options) | {"out": path.name}, "recipe": asdict(recipe)}
    write_record(path, record("bench-nano", result, seed=0, config=config))
    print(_said(result))
    print(f"record: {path}")
    return 0


def _trained(recipe: Recipe, seed: int, options: Options) -> dict[str, Any]:
    """One seed: its speed, and how the AUC grew."""
    if options.jobs > 1:
        torch.set_num_threads(1)
    world = World.of(recipe.level)
    web = world.web(recipe.web, recipe.noise)
    tokenizer = tokenizer_of(web)
    torch.manual_seed(seed)
    task = Pretrain(BLIP(recipe.model(len(tokenizer))), _objectives(recipe, seed)).to(recipe.device)
    source = array_source(web, world.level.px, recipe.device)
    feed = PairFeed(loader(source, recipe.pretrain, seed), tokenizer, max_length=MAX_TOKENS)
    unseen = world.web(options.pairs, recipe.noise, start=recipe.web)
    exam = Exam(task.model, tokenizer, unseen, world.level.px, recipe, options.every)
    start = time.perf_counter()
    train(task, feed, recipe.pretrain.training(alpha=recipe.objectives.alpha, seed=seed), progress=exam)
    rate = exam.samples / (time.perf_counter() - start - exam.seconds)
    return {"seed": seed, "samples_per_second": round(rate, 1), "samples_to_auc": exam.first(AUC), "auc": exam.found}


def _objectives(recipe: Recipe, seed: int) -> ObjectiveConfig:
    return replace(recipe.objectives, seed=seed)


class Exam:
    """Evaluations of a model while it trains, called with each logged row. found: (samples, AUC) one after another."""

    def __init__(
        self, model: BLIP, tokenizer: Tokenizer, unseen: Sequence[WorldPair], px: int, recipe: Recipe, every: int
    ) -> None:
        self._loaded = Loaded(model, tokenizer, Card(stage="pretrained"), fingerprint="in training")
        self._unseen, self._px, self._device = unseen, px, recipe.device
        self._batch, self._every = recipe.pretrain.batch, every
        self.samples, self.seconds = 0, 0.0
        self.found: list[tuple[int, float]] = []

    def __call__(self, row: dict[str, float]) -> None:
        """Evaluate where that is due; the model trains on as it was."""
        self.samples = int(row["step"]) * self._batch
        if self.samples < self._every * (len(self.found) + 1):
            return
        start, model = time.perf_counter(), self._loaded.model
        model.eval()
        quality = filter_quality(self._loaded, self._unseen, self._px, self._device)
        model.train()
        self.found.append((self.samples, round(quality["auc"][KIND], 4)))
        self.seconds += time.perf_counter() - start

    def first(self, least: float) -> int | None:
        """The samples after which the AUC first was so much; None where it never was."""
        return next((samples for samples, auc in self.found if auc >= least), None)


def _result(found: Sequence[dict[str, Any]], recipe: Recipe, seconds: float, options: Options) -> dict[str, Any]:
    reached = [one["samples_to_auc"] for one in found]
    samples = len(found) * recipe.pretrain.steps * recipe.pretrain.batch
    return {
        "how": HOW,
        "device": options.device,
        "better": "higher",
        "samples_per_second": spread([one["samples_per_second"] for one in found]),
        "samples_per_second_together": round(samples / seconds, 1),
        "at_once": min(options.jobs, options.seeds),
        "auc_waited_for": AUC,
        "samples_to_auc": None if None in reached else spread(reached),
        "load_average_after": round(os.getloadavg()[0], 2),
        "seeds": list(found),
    }


def _before(path: Path) -> dict[str, Any] | None:
    """What the record found that this one replaces."""
    if not path.is_file():
        return None
    old = json.loads(path.read_text(encoding="utf-8"))
    told = {name: old["result"][name] for name in ("samples_per_second", "samples_to_auc")}
    return told | {name: old[name] for name in ("commit", "date", "machine")}


def _said(result: dict[str, Any]) -> str:
    rate, auc = result["samples_per_second"]["median"], result["samples_to_auc"]
    said = [f"{rate:,.0f} samples a second; {result['samples_per_second_together']:,.0f} of all seeds together, with evaluations"]
    said.append(f"AUC {AUC:g} after {auc['median']:,.0f} samples" if auc else f"AUC {AUC:g} was not reached by every seed")
    if result["before"]:
        old = result["before"]
        said.append(f"before ({old['commit']}): {old['samples_per_second']['median']:,.0f} samples a second")
    return "\n".join(said)
