"""A whole round of the paper's Figure 3 in the generated world, up to captioner and filter."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from blip.capfilt import Job, Ledger, kept
from blip.captioner import Captioner
from blip.checkpoint import Card, Loaded, load, save
from blip.config import to_json
from blip.data.pairs import Pair
from blip.generate import Decoding
from blip.matching import Matcher
from blip.model import BLIP
from blip.tasks.captioning import PROMPT
from blip.tiles import TILE
from blip.tokenizer import Tokenizer
from lab import stages
from lab.evaluate import bootstrap_quality
from lab.made_of import digest
from lab.progress import bar
from lab.recipes import Recipe
from lab.sources import array_source, tokenizer_of
from lab.world.checker import check
from lab.world.sets import World, WorldPair

NAMES = ("pretrained", "captioner", "filter")
GPU_TILE = 256  # images that small models on a GPU see at once


@dataclass
class Seconds:
    """Wall-clock seconds by stage, in order."""

    of: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a block."""
        start = time.perf_counter()
        yield
        self.of[name] = round(time.perf_counter() - start, 2)


def train_models(
    recipe: Recipe, world: World, out: Path, *, seed: int = 0, seconds: Seconds | None = None
) -> dict[str, Loaded]:
    """Pre-train, fine-tune captioner and filter from the same weights; files NAME.safetensors in `out`.

    A run that was cut off continues where it was; InputError where `out` holds one of another recipe.
    """
    seconds = seconds or Seconds()
    with seconds.stage("draw"):
        web = world.web(recipe.web, recipe.noise)
        tokenizer = tokenizer_of(web)
        human = world.human(recipe.human, captions_each=2)
        web_source, human_source = (array_source(pairs, world.level.px) for pairs in (web, human))
        decides = _decides(recipe, tokenizer, [*web, *human])
    keep = _keeper(recipe, tokenizer, out, seed)
    with seconds.stage("pretrain"), bar(recipe.pretrain.steps, "pretrain") as show:
        model = stages.pretrain(recipe, web_source, tokenizer, seed=seed, out=out, progress=show, made_of=decides)
        keep("pretrained", model)
    with seconds.stage("tune captioner"), bar(recipe.captioner.steps, "captioner") as show:
        tuned = stages.tune_captioner(
            recipe, model, human_source, tokenizer, seed=seed, out=out, progress=show, made_of=decides
        )
        keep("captioner", tuned)
    with seconds.stage("tune filter"), bar(recipe.filter.steps, "filter") as show:
        tuned = stages.tune_filter(
            recipe, model, human_source, tokenizer, seed=seed, out=out, progress=show, made_of=decides
        )
        keep("filter", tuned)
    return {name: load(out / f"{name}.safetensors") for name in NAMES}


def _decides(recipe: Recipe, tokenizer: Tokenizer, pairs: Sequence[WorldPair]) -> dict[str, Any]:
    """What of a recipe and its pairs decides on the weights, by names that can be read."""
    settings = {name.replace("_", " "): value for name, value in to_json(recipe).items() if name not in ("name", "evaluation")}
    return settings | {"data": digest((one.key, one.caption) for one in pairs), "vocabulary": tokenizer.fingerprint}


def _keeper(recipe: Recipe, tokenizer: Tokenizer, out: Path, seed: int) -> Callable[[str, BLIP], None]:
    """Writes a model of the run under its stage's name."""

    def keep(stage: str, model: BLIP) -> None:
        notes = {"recipe": recipe.name, "level": recipe.level, "seed": seed}
        prompt = PROMPT if stage == "captioner" else ""
        save(out / f"{stage}.safetensors", model, tokenizer, Card(stage=stage, prompt=prompt, notes=notes))

    return keep


def world_job(
    captioner: Loaded,
    matcher: Loaded,
    items: Sequence[WorldPair],
    drawn: dict[str, Any],
    *,
    decoding: Decoding,
    seed: int = 0,
    round: int = 0,
    device: str = "cpu",
) -> Job:
    """CapFilt over web pairs of the generated world, whose truth is known.

    drawn: level, noise and start of the pairs; with them the studio and the notebooks draw the scenes again.
    """
    scenes = {item.key: item.scene for item in items}
    tile = TILE if device == "cpu" else GPU_TILE
    return Job(
        captioner=Captioner(captioner, decoding, device=device, tile=tile),
        filters={"itm": Matcher(matcher, device=device, tile=tile)},
        seed=seed,
        round=round,
        judge=lambda key, text: check(text, scenes[key]).truth,
        notes={"world": drawn, "device": device, "precision": "float32"},  # the precision is both models' default
    )


def strictly_true(ledger: Ledger, items: Sequence[WorldPair]) -> float:
    """Share of synthetic captions that are true and name every object with its colour."""
    scenes = {item.key: item.scene for item in items}
    rows = ledger.table("candidates", ["image_key", "caption", "origin"]).to_pylist()
    strict = [
        check(row["caption"], scenes[row["image_key"]]).strict for row in rows if row["origin"] == "synthetic"
    ]
    return float(np.mean(strict))


def bootstrapped(ledger: Ledger, items: Sequence[WorldPair]) -> list[WorldPair]:
    """What the filter kept of web and synthetic captions (paper 3.3), as pairs with the scenes of `items`."""
    scenes = {item.key: item for item in items}
    images = {item.key: Pair(item.key, "", b"") for item in items}
    return [
        replace(scenes[pair.key], caption=pair.caption, origin=pair.origin) for pair, _ in kept(ledger, images=images)
    ]


def second_model(
    recipe: Recipe,
    world: World,
    ledger: Ledger,
    items: Sequence[WorldPair],
    out: Path,
    *,
    seed: int = 0,
    seconds: Seconds | None = None,
) -> dict[str, dict]:
    """A new model pre-trained from scratch on the bootstrapped set, beside one on the web texts alone.

    Both see the same images for the same number of samples (paper 3.3: the new model starts anew,
    not from the old weights). Returns each one's quality on held-out scenes and unseen web pairs.
    """
    seconds = seconds or Seconds()
    human = world.human(recipe.human, captions_each=2)
    sets = {"web": [*items, *human], "bootstrapped": [*bootstrapped(ledger, items), *human]}
    found, tokenizer = {}, tokenizer_of(sets["web"])  # one vocabulary, so that they begin with the same weights
    for name, pairs in sets.items():
        with seconds.stage(f"pretrain on {name}"), bar(recipe.pretrain.steps, f"on {name}") as show:
            source = array_source(pairs, world.level.px)
            decides = _decides(recipe, tokenizer, pairs)
            model = stages.pretrain(recipe, source, tokenizer, seed=seed, out=out / name, progress=show, made_of=decides)
            _keeper(recipe, tokenizer, out / name, seed)("pretrained", model)
        loaded = load(out / name / "pretrained.safetensors")
        found[name] = {"pairs": len(pairs)} | bootstrap_quality(
            loaded, loaded, world, count=recipe.evaluation, start=recipe.web + len(items)
        )
    return found
