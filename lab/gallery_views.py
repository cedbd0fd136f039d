"""A gallery of the generated world searched, captioned and classified, each result beside the truth (paper 5.1, 5.2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from blip.checkpoint import Loaded
from blip.data.benchmarks.captions import CaptionedImage, captions_and_images
from blip.data.text import clean_caption
from blip.tasks.classification import (
    class_cosines,
    class_features,
    class_likelihoods,
    class_texts,
    class_tokens,
)
from blip.tasks.ranking import Shortlist
from blip.tasks.retrieval import MAX_TOKENS, Rankings, rank
from lab.captioned import Gallery
from lab.inference import Machine, pixels
from lab.task_cards import Said
from lab.world.checker import check
from lab.world.draw import PEOPLE_PX, draw
from lab.world.figures import Tile
from lab.world.sets import World

ITC, LM = "ITC prompts", "caption likelihood"


@dataclass(frozen=True)
class Searches:
    """All T captions of a gallery as queries: own (T,) is the row of each one's image, ways the images in each order."""

    texts: list[str]
    own: list[int]
    ways: dict[str, Shortlist]


def search(loaded: Loaded, found: Gallery, texts: Sequence[str], k: int) -> Rankings:
    """T texts ranked for each of I images of a gallery, and its images for each text, as published."""
    machine, side = _machine(loaded), loaded.model.config.vision.image_size
    tokens = loaded.tokenizer([clean_caption(text) for text in texts], MAX_TOKENS).to(machine.device)
    return rank(loaded.model, lambda: pixels(found.images, side, machine), tokens, k=k)


def orders(rankings: Rankings) -> dict[str, Shortlist]:
    """The images for each text without and with re-ranking."""
    return {"ITC alone": rankings.cosine_of_texts, "ITC, then ITM": rankings.of_texts}


def searches(loaded: Loaded, found: Gallery, k: int) -> Searches:
    """An image for every caption of a gallery: by ITC, re-ranked by ITM, and by the likelihood of LM."""
    texts, own = captions_and_images(found.images)
    ways = orders(search(loaded, found, texts, k))
    return Searches(texts, own, ways | {"ordered by LM": by_likelihood(loaded, found, texts)})


def hits(ranking: Shortlist, query: int, text: str, found: Gallery, count: int) -> list[Tile]:
    """The first so many images for a text, best first, with their scores, and whether the text is true of them."""
    tiles = []
    for place in (-ranking.scores[query]).argsort(kind="stable")[:count]:
        scene = found.scenes[ranking.rows[query, place]]
        note = f"score {ranking.scores[query, place]:.2f}"
        tiles.append(Tile(draw(scene, PEOPLE_PX), "", note, check(text, scene).truth))
    return tiles


def places(ranking: Shortlist, own: Sequence[int]) -> np.ndarray:
    """The rank (Q,) from 1 of each query's own candidate, one a query; k + 1 where it is not on the shortlist."""
    order = (-ranking.scores).argsort(axis=1, kind="stable")
    ranked = np.take_along_axis(ranking.rows, order, axis=1) == np.asarray(own)[:, None]
    return np.where(ranked.any(axis=1), ranked.argmax(axis=1) + 1, ranked.shape[1] + 1)


@torch.inference_mode()
def by_likelihood(loaded: Loaded, found: Gallery, texts: Sequence[str]) -> Shortlist:
    """All I images of a gallery for each of T texts, by the log-likelihood that the decoder gives the text.

    Not in the paper, which ranks by ITC and ITM. The other way round it would favour short and common texts.
    """
    model, machine = loaded.model, _machine(loaded)
    tokens = loaded.tokenizer([clean_caption(text) for text in texts], MAX_TOKENS).to(machine.device)
    batches = pixels(found.images, model.config.vision.image_size, machine)
    parts = [class_likelihoods(model, model.encode_image(batch), tokens, len(texts)) for batch in batches]
    scores = torch.cat(parts).T.float().cpu().numpy()
    rows = np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    return Shortlist(rows, scores, scores.shape[1])


def twins(found: Gallery) -> np.ndarray:
    """Whether (I,) the gallery shows the same kinds and the same colours elsewhere, but each on another thing."""
    looks = [sorted(thing.look for thing in scene.things) for scene in found.scenes]
    words = [tuple(sorted(word for look in own for word in look)) for own in looks]
    others: dict[tuple[str, ...], set[tuple]] = {}
    for own, word in zip(looks, words, strict=True):
        others.setdefault(word, set()).add(tuple(own))
    return np.array([len(others[word]) > 1 for word in words])


def first_right(
    ways: Mapping[str, Shortlist], found: Gallery, own: Sequence[int]
) -> dict[str, dict[str, float]]:
    """R@1 (shares) of each way to find an image for a text: of all texts, and with and without a twin in the gallery.

    own (T,) is the row of each text's image.
    """
    twin = twins(found)[np.asarray(own)]
    groups = {"all texts": np.ones(len(own), bool), "no such twin": ~twin, "a twin with colours swapped": twin}
    right = {name: places(ranking, own) == 1 for name, ranking in ways.items()}
    return {
        name: {group: float(hit[rows].mean()) for group, rows in groups.items() if rows.any()}
        for name, hit in right.items()
    }


def captions_of(found: Gallery, said: Mapping[str, Sequence[str]], rows: Sequence[int]) -> list[dict[str, Said]]:
    """Captions of some images by who wrote them, people first, each with what the checker says of it."""
    cards = []
    for row in rows:
        texts = {"people": found.images[row].captions[0]} | {name: own[row] for name, own in said.items()}
        truths = {name: check(text, found.scenes[row]).truth == "true" for name, text in texts.items()}
        cards.append({name: Said(text, truths[name]) for name, text in texts.items()})
    return cards


def pictures_of(found: Gallery, rows: Sequence[int]) -> list[np.ndarray]:
    """Pictures (H, W, 3) uint8 of some images, as large as people look at them."""
    return [draw(found.scenes[row], PEOPLE_PX) for row in rows]


def single_things(world: World, count: int, style: str) -> tuple[Gallery, list[str]]:
    """Of so many held-out scenes those of a single thing, drawn in a style, and its colour and kind."""
    items = [one for one in world.evaluation(count, style=style) if len(one.scene.things) == 1]
    images = [CaptionedImage(one.key, one.image(world.level.px), one.references) for one in items]
    true = [f"{one.scene.things[0].colour} {one.scene.things[0].kind}" for one in items]
    return Gallery(images, tuple(one.scene for one in items)), true


@torch.inference_mode()
def classified(
    loaded: Loaded, found: Gallery, labels: Sequence[str], prompts: Sequence[str]
) -> dict[str, list[str]]:
    """The label of each image by ITC prompts and by caption likelihood, without training."""
    model, machine = loaded.model, _machine(loaded)
    texts = [clean_caption(text) for text in class_texts(labels, prompts)]
    tokens = class_tokens(loaded.tokenizer, texts, MAX_TOKENS).to(machine.device)
    features = class_features(model, tokens, len(labels))
    best: dict[str, list[str]] = {ITC: [], LM: []}
    for batch in pixels(found.images, model.config.vision.image_size, machine):
        states = model.encode_image(batch)
        scores = {ITC: class_cosines(model, states, features)}
        scores[LM] = class_likelihoods(model, states, tokens, len(labels))
        for way, own in scores.items():
            best[way] += [labels[at] for at in own.argmax(dim=1).tolist()]
    return best


def _machine(loaded: Loaded) -> Machine:
    return Machine(batch=64, device=str(next(loaded.model.parameters()).device))
