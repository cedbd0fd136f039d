"""What a cell is worth, by one protocol: retrieval, captions and filter, on held-out scenes whose truth is known."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from PIL import Image

from blip.checkpoint import Loaded
from blip.matching import Matcher
from blip.metrics.captions import cider_d
from blip.metrics.retrieval import image_to_text_ranks, recalls, text_to_image_ranks
from blip.metrics.words import caption_words
from blip.tasks.retrieval import MAX_TOKENS, rank
from lab.captioned import distinct
from lab.evaluate import captions_of, filter_quality
from lab.world.checker import check
from lab.world.sets import DOMAINS, World, WorldPair

REFERENCES = 2  # captions of a scene that are searched among
SHORTLIST = 32  # candidates of ITC that ITM ranks anew
WEB_PAIRS_A_SCENE = 4  # unseen web pairs for the filter, so that the rare kinds of noise are measured too
_IMAGES_AT_ONCE = 64


def worth(
    captioner: Loaded, matcher: Loaded, world: World, *, count: int, start: int, noise: float, device: str = "cpu"
) -> dict[str, Any]:
    """A fine-tuned captioner and filter, the latter as retrieval model too, as the paper's tables measure them.

    count held-out scenes a domain; the filter reads 4 times as many web pairs beginning at `start`. retrieval: on
    all domains and on the second drawing style; captions: by domain and style; filter: AUC per noise kind. items:
    a digit an evaluation item, 1 where it came out right, so that cells can be compared item by item.
    """
    px, items = world.level.px, world.evaluation(count, "all")
    sketches = world.evaluation(count, "all", style="sketch")
    found, hits = retrieval(matcher, items, px, device)
    captions = {domain: world.evaluation(count, domain) for domain in DOMAINS if domain != "all"}
    captions |= {"all": items, "sketch": sketches}
    said = {name: caption_quality(captioner, own, px, device) for name, own in captions.items()}
    web = world.web(WEB_PAIRS_A_SCENE * count, noise, start=start)
    return {
        "retrieval": {"all": found, "sketch": retrieval(matcher, sketches, px, device)[0]},
        "captions": {name: quality for name, (quality, _) in said.items()},
        "filter": filter_quality(matcher, web, px, device),
        "items": {"r1": _digits(hits), "strictly_true": _digits(said["all"][1])},
    }


def retrieval(
    loaded: Loaded, items: Sequence[WorldPair], px: int, device: str = "cpu"
) -> tuple[dict[str, float], np.ndarray]:
    """Recalls (shares) both ways among the distinct scenes of items, r1 the mean of TR@1 and IR@1; a hit a query.

    Ranked by ITC, then ITM, as published (paper 5.1); a scene has two texts.
    """
    scenes = distinct(items)
    texts = [text for scene in scenes for text in scene.references[:REFERENCES]]
    image_of = np.repeat(np.arange(len(scenes)), [len(scene.references[:REFERENCES]) for scene in scenes])
    matcher = Matcher(loaded, device=device)

    def images() -> Iterator[torch.Tensor]:
        for first in range(0, len(scenes), _IMAGES_AT_ONCE):
            part = scenes[first : first + _IMAGES_AT_ONCE]
            yield torch.stack([matcher.prepare(Image.fromarray(one.image(px))) for one in part]).to(device)

    tokens = loaded.tokenizer(texts, MAX_TOKENS).to(device)
    ranked = rank(matcher.model, images, tokens, k=min(SHORTLIST, len(scenes)))
    of_images = image_to_text_ranks(ranked.of_images.table(), image_of)
    of_texts = text_to_image_ranks(ranked.of_texts.table().T, image_of)
    sides = {"tr": asdict(recalls(of_images)), "ir": asdict(recalls(of_texts))}
    found = {f"{side}{k}": own[f"r{k}"] for side, own in sides.items() for k in (1, 5, 10)}
    found |= {"r1": (found["tr1"] + found["ir1"]) / 2, "images": len(scenes)}
    return found, np.concatenate([of_images == 1, of_texts == 1])


def caption_quality(
    loaded: Loaded, items: Sequence[WorldPair], px: int, device: str = "cpu"
) -> tuple[dict[str, float], np.ndarray]:
    """Greedy captions: shares that are true and strictly true, CIDEr-D in [0, 10]; which are strictly true (N,)."""
    said = [own[0] for own in captions_of(loaded, items, px, device=device)]
    verdicts = [check(text, item.scene) for text, item in zip(said, items, strict=True)]
    strict = np.array([one.strict for one in verdicts])
    references = [[caption_words(text) for text in item.references] for item in items]
    cider = cider_d([caption_words(text) for text in said], references)
    return {
        "true": float(np.mean([one.truth == "true" for one in verdicts])),
        "strictly_true": float(strict.mean()),
        "cider": float(cider.mean()),
    }, strict


def _digits(right: np.ndarray) -> str:
    return "".join("1" if one else "0" for one in right)
