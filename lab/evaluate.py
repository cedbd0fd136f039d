"""What a captioner and a filter are worth, measured against the generated world's known truth."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from blip.capfilt.quality import auc
from blip.captioner import Captioner
from blip.checkpoint import Loaded
from blip.generate import Decoding
from blip.matching import Matcher
from blip.tasks.captioning import MAX_TOKENS
from lab.world.checker import check
from lab.world.levels import level
from lab.world.noise import CLEAN, KINDS
from lab.world.sets import DOMAINS, World, WorldPair

GREEDY = Decoding(strategy="greedy")


def captioner_quality(
    loaded: Loaded, items: Sequence[WorldPair], px: int, decoding: Decoding = GREEDY
) -> dict[str, float]:
    """Shares of captions that are true, strictly true (every object with its colour), false, uninformative."""
    found = captions_of(loaded, items, px, decoding)
    verdicts = [check(text, item.scene) for item, texts in zip(items, found, strict=True) for text in texts]
    shares = {t: _share(v.truth == t for v in verdicts) for t in ("true", "false", "uninformative")}
    return shares | {"strictly_true": _share(v.strict for v in verdicts)}


def with_room(decoding: Decoding, name: str) -> Decoding:
    """The decoding with room for what is said at a level of the world: where texts tell how objects stand to each other,
    the published 20 tokens would cut a third of them."""
    return replace(decoding, max_length=MAX_TOKENS) if level(name).relations else decoding


def captions_of(
    loaded: Loaded, items: Sequence[WorldPair], px: int, decoding: Decoding = GREEDY, device: str = "cpu"
) -> list[list[str]]:
    """The captions of each item's picture, `decoding.candidates` of them."""
    captioner, texts = Captioner(loaded, decoding, device=device), []
    for tile in _tiles(items, captioner.tile):
        found = captioner(_prepared(captioner, tile, px), [item.key for item in tile])
        texts += [[one.text for one in own] for own in found]
    return texts


def filter_scores(loaded: Loaded, items: Sequence[WorldPair], px: int, device: str = "cpu") -> np.ndarray:
    """Match probability of each item's caption with its scene, (N,)."""
    matcher = Matcher(loaded, device=device)
    scores = []
    for tile in _tiles(items, matcher.tile):
        scores += matcher(_prepared(matcher, tile, px), [[item.caption] for item in tile])
    return np.array([score[0][1] for score in scores])


def filter_quality(loaded: Loaded, items: Sequence[WorldPair], px: int, device: str = "cpu") -> dict[str, Any]:
    """AUC of the match probability per noise kind against clean text, and what a threshold of 0.5 keeps."""
    scores = filter_scores(loaded, items, px, device)
    truths = np.array([item.truth for item in items])
    return {
        "auc": noise_auc(scores, items),
        "kept_of_true": _share(scores[truths == "true"] >= 0.5),
        "kept_of_false": _share(scores[truths == "false"] >= 0.5),
    }


def noise_auc(scores: np.ndarray, items: Sequence[WorldPair]) -> dict[str, float | None]:
    """AUC of scores (N,) per noise kind against clean text; noise that happens to be true counts as neither."""
    kinds = np.array([item.noise_kind for item in items])
    truths = np.array([item.truth for item in items])
    clean = scores[kinds == CLEAN]
    return {kind: auc(clean, scores[(kinds == kind) & (truths != "true")]) for kind in KINDS}


def bootstrap_quality(
    captioner: Loaded, matcher: Loaded, world: World, *, count: int, start: int
) -> dict[str, Any]:
    """Both, on held-out scenes of every domain and on `count` unseen web pairs beginning at `start`."""
    px, greedy = world.level.px, with_room(GREEDY, world.level.name)
    web = world.web(count, start=start)
    captioning = {
        domain: captioner_quality(captioner, world.evaluation(count, domain), px, greedy) for domain in DOMAINS
    }
    sketch = captioner_quality(captioner, world.evaluation(count, "all", style="sketch"), px, greedy)
    return {"captioner": captioning | {"sketch": sketch}, "filter": filter_quality(matcher, web, px)}


def _prepared(reader: Captioner | Matcher, items: Iterable[WorldPair], px: int) -> list[Tensor]:
    return [reader.prepare(Image.fromarray(item.image(px))) for item in items]


def _tiles(items: Sequence[WorldPair], size: int) -> Iterator[tuple[WorldPair, ...]]:
    iterator = iter(items)
    while tile := tuple(itertools.islice(iterator, size)):
        yield tile


def _share(holds: Iterable[bool] | Tensor | np.ndarray) -> float:
    values = np.fromiter((bool(x) for x in holds), dtype=bool)
    return float(values.mean()) if len(values) else float("nan")
