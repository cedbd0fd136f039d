"""What a cell is worth, by one protocol: retrieval, captions and filter, on held-out scenes whose truth is known."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from PIL import Image

from blip.checkpoint import Loaded
from blip.generate import Decoding
from blip.matching import Matcher
from blip.metrics.captions import cider_d
from blip.metrics.retrieval import image_to_text_ranks, recalls, text_to_image_ranks
from blip.metrics.words import caption_words
from blip.model import BLIP
from blip.tasks.retrieval import MAX_TOKENS, rank
from blip.tokenizer import Tokens
from lab.captioned import distinct
from lab.evaluate import GREEDY, captions_of, filter_quality, with_room
from lab.world.checker import check
from lab.world.sets import DOMAINS, World, WorldPair

VERSION = 2
"""Raised when a measurement gives something else than before."""
REFERENCES = 2  # captions of a scene that are searched among
SHORTLIST = 32  # candidates of ITC that ITM ranks anew
WEB_PAIRS_A_SCENE = 4  # unseen web pairs for the filter, so that the rare kinds of noise are measured too
_IMAGES_AT_ONCE = 64


def worth(
    captioner: Loaded, matcher: Loaded, world: World, *, count: int, start: int, noise: float, device: str = "cpu"
) -> dict[str, Any]:
    """A fine-tuned captioner and filter, the latter as retrieval model too, as the paper's tables measure them.

    count held-out scenes are drawn a domain, and each that shows something else is measured once; the filter reads 4
    times as many web pairs beginning at `start`. retrieval: on all domains and on the second drawing style; captions:
    by domain and style; filter: AUC per noise kind. items: a digit an evaluation item, 1 where it came out right, so
    that cells can be compared item by item, and how many texts an image has.
    """
    px, items = world.level.px, world.evaluation(count, "all")
    sketches = world.evaluation(count, "all", style="sketch")
    found, hits = retrieval(matcher, items, px, device)
    captions = captioned_scenes(world, count, items, sketches)
    greedy = with_room(GREEDY, world.level.name)
    said = {name: caption_quality(captioner, own, px, greedy, device) for name, own in captions.items()}
    web = world.web(WEB_PAIRS_A_SCENE * count, noise, start=start)
    return {
        "retrieval": {"all": found, "sketch": retrieval(matcher, sketches, px, device)[0]},
        "captions": {name: quality for name, (quality, _) in said.items()},
        "filter": filter_quality(matcher, web, px, device),
        "items": {"r1": digits(hits), "texts": REFERENCES, "strictly_true": digits(said["all"][1])},
    }


def captioned_scenes(
    world: World, count: int, items: list[WorldPair], sketches: list[WorldPair]
) -> dict[str, list[WorldPair]]:
    """What is captioned, by domain and style, each scene once; items and sketches are those of all domains.

    A scene of one object is drawn again and again, so that six of them would be a third of what is measured.
    """
    drawn = {domain: world.evaluation(count, domain) for domain in DOMAINS if domain != "all"}
    return {name: distinct(own) for name, own in (drawn | {"all": items, "sketch": sketches}).items()}


def retrieval(
    loaded: Loaded, items: Sequence[WorldPair], px: int, device: str = "cpu"
) -> tuple[dict[str, float], np.ndarray]:
    """Recalls (shares) both ways among the distinct scenes of items, r1 the mean of TR@1 and IR@1; a hit a query.

    Ranked by ITC, then ITM, as published (paper 5.1); a scene has two texts.
    """
    scenes, texts, image_of = searched(items)
    matcher = Matcher(loaded, device=device)

    def images() -> Iterator[torch.Tensor]:
        for first in range(0, len(scenes), _IMAGES_AT_ONCE):
            part = scenes[first : first + _IMAGES_AT_ONCE]
            yield torch.stack([matcher.prepare(Image.fromarray(one.image(px))) for one in part]).to(device)

    return ranked(matcher.model, images, loaded.tokenizer(texts, MAX_TOKENS).to(device), image_of)


def ranked(
    model: BLIP, images: Callable[[], Iterator[torch.Tensor]], tokens: Tokens, image_of: np.ndarray
) -> tuple[dict[str, float], np.ndarray]:
    """As `retrieval`, of T texts (tokens led by [CLS]) whose images are image_of (T,), every image with a text.

    Also itc_r1, r1 by ITC alone, and shortlisted: the queries for which ITC lets ITM see a right answer, above which
    r1 cannot come.
    """
    found = rank(model, images, tokens, k=min(SHORTLIST, int(image_of.max()) + 1))
    by_itc = found.cosine_of_images.table(), found.cosine_of_texts.table().T
    shares, hits = recalled(found.of_images.table(), found.of_texts.table().T, image_of)
    shares |= {"itc_r1": recalled(*by_itc, image_of)[0]["r1"], "shortlisted": _shortlisted(*by_itc, image_of)}
    return shares, hits


def recalled(
    for_images: np.ndarray, for_texts: np.ndarray, image_of: np.ndarray
) -> tuple[dict[str, float], np.ndarray]:
    """As `retrieval`, of scores (I, T) by which texts are ranked for an image, and images for a text."""
    of_images = image_to_text_ranks(for_images, image_of)
    of_texts = text_to_image_ranks(for_texts, image_of)
    sides = {"tr": asdict(recalls(of_images)), "ir": asdict(recalls(of_texts))}
    shares = {f"{side}{k}": own[f"r{k}"] for side, own in sides.items() for k in (1, 5, 10)}
    shares |= {"r1": (shares["tr1"] + shares["ir1"]) / 2, "images": len(for_images)}
    return shares, np.concatenate([of_images == 1, of_texts == 1])


def _shortlisted(for_images: np.ndarray, for_texts: np.ndarray, image_of: np.ndarray) -> float:
    """The mean of both directions of the share of queries that have a right answer among finite scores (I, T)."""
    own = np.arange(len(for_images))[:, None] == image_of
    of_images = (own & np.isfinite(for_images)).any(axis=1)
    of_texts = (own & np.isfinite(for_texts)).any(axis=0)
    return float(of_images.mean() + of_texts.mean()) / 2


def digits(right: np.ndarray) -> str:
    """A digit an item, 1 where it came out right."""
    return "".join("1" if one else "0" for one in right)


def searched(items: Sequence[WorldPair]) -> tuple[list[WorldPair], list[str], np.ndarray]:
    """The distinct scenes of items, the texts that are searched among, and the scene (T,) of each text."""
    scenes = distinct(items)
    own = [scene.references[:REFERENCES] for scene in scenes]
    return scenes, [text for texts in own for text in texts], np.repeat(np.arange(len(scenes)), [len(o) for o in own])


def caption_quality(
    loaded: Loaded, items: Sequence[WorldPair], px: int, decoding: Decoding = GREEDY, device: str = "cpu"
) -> tuple[dict[str, float], np.ndarray]:
    """One caption an image: shares that are true and strictly true, CIDEr-D in [0, 10]; which are strictly true (N,)."""
    return quality_of([own[0] for own in captions_of(loaded, items, px, decoding, device)], items)


def quality_of(said: Sequence[str], items: Sequence[WorldPair]) -> tuple[dict[str, float], np.ndarray]:
    """As `caption_quality`, of a caption an item."""
    verdicts = [check(text, item.scene) for text, item in zip(said, items, strict=True)]
    strict = np.array([one.strict for one in verdicts])
    references = [[caption_words(text) for text in item.references] for item in items]
    cider = cider_d([caption_words(text) for text in said], references)
    return {
        "true": float(np.mean([one.truth == "true" for one in verdicts])),
        "strictly_true": float(strict.mean()),
        "cider": float(cider.mean()),
    }, strict
