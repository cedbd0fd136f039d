"""Image-text retrieval, trained and measured: recalls both ways, chance, and what truth allows (paper 5.1)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import torch

from blip.checkpoint import Loaded
from blip.checkpoint.stored import NO_ID, Training, continue_from, continue_teacher
from blip.data.benchmarks.captions import CaptionedImage, captions_and_images
from blip.data.loading import Loader, Source
from blip.data.text import clean_caption
from blip.distributed import is_main
from blip.errors import InputError
from blip.feed import PairFeed
from blip.model import BLIP
from blip.precision import precision
from blip.tasks.pretrain import Pretrain
from blip.tasks.ranking import SHORTLIST
from blip.tasks.retrieval import (
    MAX_TOKENS,
    RETRIEVAL,
    RetrievalScores,
    rank,
    retrieval_model,
    retrieval_scores,
    retrieval_task,
)
from blip.tokenizer import Tokenizer
from lab.before import of_images
from lab.captioned import Gallery, Material, gallery, training
from lab.downstream.spread import Items, intervals
from lab.finetuning import Tuning, fit
from lab.inference import Machine, pixels
from lab.world.checker import check

STEPS, BATCH, PEAK = 600, 32, 5e-4  # of the comparison at nano
_FIRST = (1, 5, 10)


def run(
    start: Loaded, level: str, *, steps: int = STEPS, seed: int = 0, out: Path | None = None
) -> dict[str, float]:
    """Fine-tune on the world's human-annotated pairs and retrieve among held-out scenes.

    r1 is the mean of TR@1 and IR@1, with its chance and ceiling; tr1 to ir10 are the six recalls, all shares.
    `start` is not changed; with `out` the training can be resumed.
    """
    material, px = Material(world=level), start.model.config.vision.image_size
    held_out = gallery(material, px)
    tuning = Tuning(steps=steps, batch=BATCH, peak=PEAK, seed=seed)
    model, _ = tuned(start, training(material).source(px), tuning, out=out)
    found = measured(model, start.tokenizer, held_out.images, machine=Machine(device=tuning.device))
    best = ceiling(held_out)
    return found["reranked"] | {"r1": _r1(found["reranked"]), "chance": _r1(found["chance"]), "ceiling": _r1(best)}


def tuned(
    start: Loaded,
    source: Source,
    tuning: Tuning,
    *,
    out: Path | None,
    queue: int | None = None,
    momentum: float = 0.995,
    alpha: float = RETRIEVAL.alpha,
    negatives: str = RETRIEVAL.negatives,
    held_out: Sequence[CaptionedImage] = (),
    k: int = SHORTLIST,
    stored: Training | None = None,
    made_of: Mapping[str, Any] | None = None,
) -> tuple[BLIP, dict[str, Any]]:
    """A retrieval model fine-tuned on a source with the published rules, and what `fit` says of it.

    queue: None for 57,600 keys, at most a tenth of the pairs. negatives: of ITM. held_out images are measured before and
    after. stored: momentum encoders to go on with, as published, and queues, if they are of that length; without it the
    momentum encoders begin as copies of the model, and the queues with random keys.
    """
    torch.manual_seed(tuning.seed)
    model = retrieval_model(start.model)
    task = retrieval_task(model, pairs=len(source), queue=queue, momentum=momentum, negatives=negatives, seed=tuning.seed)
    if stored is not None:
        _go_on(task, stored)
    loader = Loader(source, tuning.batch, seed=tuning.seed, workers=tuning.workers)
    feed = PairFeed(loader, start.tokenizer, by_image=True, max_length=MAX_TOKENS)
    machine = Machine(device=tuning.device, precision=tuning.precision, workers=tuning.workers)
    evaluate = partial(measured, model, start.tokenizer, held_out, k=k, machine=machine) if held_out else None
    config = tuning.config(len(loader), alpha=alpha)
    on, task = {"images": of_images(held_out), "k": k}, task.to(tuning.device)
    result = fit("retrieval", task, feed, config, out, evaluate=evaluate, made_of=made_of, measured_on=on)
    return model, result


def _go_on(task: Pretrain, stored: Training) -> None:
    have, want = len(task.image_queue.rows), len(stored.ids)
    if have == want:
        # Its ids number the images of another list, and equal ones here would pass for positives.
        continue_from(task, replace(stored, ids=torch.full_like(stored.ids, NO_ID)))
        return
    continue_teacher(task, stored)
    if is_main():
        print(f"The stored queue of {want} keys is left out, for this one holds {have}; --queue {want} goes on with it.")


def refuse_one(held_out: Gallery, place: str) -> None:
    """InputError where there is one image alone: every text would find it first, whatever the model."""
    if len(held_out.images) < 2:
        raise InputError(f"{place} has one image, and retrieval needs two or more; give more images.")


def measured(
    model: BLIP,
    tokenizer: Tokenizer,
    images: Sequence[CaptionedImage],
    *,
    machine: Machine,
    k: int = SHORTLIST,
) -> dict[str, Any]:
    """Recalls (shares) of ITC alone, re-ranked by ITM, and of chance, among images and all their captions.

    intervals: of those re-ranked, with other images and their texts as queries in the same gallery.
    """
    for image in images:
        if not image.captions:
            raise InputError(f"The image {image.image_id!r} has no caption to retrieve; leave it out of the data.")
    texts, owners = captions_and_images(images)
    image_of = np.array(owners, dtype=np.int64)
    tokens = tokenizer([clean_caption(text) for text in texts], MAX_TOKENS).to(machine.device)
    side = model.config.vision.image_size
    with precision(torch.device(machine.device), machine.precision):
        found = rank(model, lambda: pixels(images, side, machine), tokens, k=k)
    reranked = retrieval_scores(found.of_images, found.of_texts, image_of)
    return {
        "images": len(images),
        "texts": len(texts),
        "shortlist": k,
        "itc": recalls_by_name(retrieval_scores(found.cosine_of_images, found.cosine_of_texts, image_of)),
        "reranked": recalls_by_name(reranked),
        "intervals": intervals(*hits(reranked, image_of, text="tr", image="ir")),
        "chance": chance(image_of, len(images)),
    }


def chance(image_of: np.ndarray, images: int) -> dict[str, float]:
    """The expected recalls of a random order; image_of (T,) is the row of each text's image."""
    own, texts = np.bincount(image_of, minlength=images), len(image_of)
    found = {f"tr{k}": float(np.mean([_hit(int(n), texts, k) for n in own])) for k in _FIRST}
    return found | {f"ir{k}": min(1.0, k / images) for k in _FIRST}


def ceiling(held_out: Gallery) -> dict[str, float]:
    """The expected recalls of one who knows the truth: what names all of a scene first, in random order."""
    texts, owners = captions_and_images(held_out.images)
    true = np.array([[check(text, scene).strict for text in texts] for scene in held_out.scenes])
    own = np.bincount(owners, minlength=len(true))
    of_image, of_text = true.sum(axis=1).tolist(), true.sum(axis=0).tolist()
    found = {
        f"tr{k}": float(np.mean([_hit(int(n), fit, k) for n, fit in zip(own, of_image, strict=True)])) for k in _FIRST
    }
    return found | {f"ir{k}": float(np.mean([min(1.0, k / fit) for fit in of_text])) for k in _FIRST}


def columns(found: dict[str, Any]) -> dict[str, dict[str, float]]:
    """The recalls that are known as columns of a table: ITC alone, re-ranked by ITM, chance, ceiling."""
    names = {"itc": "ITC alone", "reranked": "re-ranked", "chance": "chance", "ceiling": "ceiling"}
    return {name: found[key] for key, name in names.items() if key in found}


def recalls_by_name(scores: RetrievalScores) -> dict[str, float]:
    """tr1 to ir10: the six recalls, shares of queries."""
    sides = {"tr": asdict(scores.text), "ir": asdict(scores.image)}
    return {f"{side}{k}": recalls[f"r{k}"] for side, recalls in sides.items() for k in _FIRST}


def hits(scores: RetrievalScores, image_of: np.ndarray, *, text: str, image: str) -> list[Items]:
    """Whether each query's match is among the first 1, 5, 10, under the names that the two directions go by."""
    of_text = {f"{text}{k}": scores.text_ranks <= k for k in _FIRST}
    of_image = {f"{image}{k}": scores.image_ranks <= k for k in _FIRST}
    return [Items(of_text, range(len(scores.text_ranks))), Items(of_image, image_of.tolist())]


def _r1(recalls: dict[str, float]) -> float:
    return (recalls["tr1"] + recalls["ir1"]) / 2


def _hit(own: int, of: int, k: int) -> float:
    """The chance that a random order of `of` things has one of `own` among its first k."""
    return 1 - comb(of - own, k) / comb(of, k) if k <= of else 1.0
