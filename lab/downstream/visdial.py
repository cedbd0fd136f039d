"""Visual dialog, trained and measured: the answers' ranks, and what chance and the best model reach (paper 5.5)."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from blip.checkpoint import Loaded
from blip.data.benchmarks.captions import CaptionedImage
from blip.data.loading import Loader
from blip.data.pictures import PhotoRows
from blip.data.transforms import Transform, eval_transform
from blip.distributed import from_all, own_rows
from blip.feed import BuiltFeed
from blip.metrics.dialog import dialog_scores, ndcg, true_ranks
from blip.model import BLIP
from blip.precision import precision
from blip.tasks.visdial import (
    MAX_TOKENS,
    NEGATIVES,
    DialogBuilder,
    VisualDialog,
    candidate_scores,
    caption_tokens,
    dialog_memory,
    dialog_tokens,
    visdial_from,
)
from blip.tokenizer import Tokenizer
from lab.downstream.dialog_rows import DialogSet, Made, Name, world_dialogs
from lab.downstream.spread import Intervals, Items, intervals
from lab.finetuning import Tuning, fit
from lab.inference import Machine, pixels
from lab.made_of import digest

TRAINING, HELD_OUT = 3_000, 300  # dialogs of the generated world
STEPS, BATCH, PEAK = 400, 32, 1e-3  # of the comparison at nano
_FIRST = (1, 5, 10)

Scores = dict[Name, np.ndarray]
"""Of each question's candidates (C,), higher is better."""


def run(
    start: Loaded, level: str, *, steps: int = STEPS, seed: int = 0, out: Path | None = None
) -> dict[str, float]:
    """Fine-tune on the world's dialogs and rank the candidates of held-out ones.

    NDCG with its chance and ceiling, and MRR, R@1, R@5, R@10 (shares) and the mean rank of the answer that was
    given. `start` is not changed; with `out` the training can be resumed.
    """
    training, held_out = world_dialogs(level, TRAINING), world_dialogs(level, HELD_OUT, "held-out")
    tuning = Tuning(steps=steps, batch=BATCH, peak=PEAK, seed=seed)
    transform = eval_transform(start.model.config.vision.image_size)
    model, _ = tuned(start, training, tuning, transform, out=out)
    found = measures(held_out, scored(model, start.tokenizer, held_out, Machine(device=tuning.device)))
    return found | {"chance": chance(held_out)["ndcg"], "ceiling": ceiling(held_out)["ndcg"]}


def tuned(
    start: Loaded,
    training: DialogSet,
    tuning: Tuning,
    transform: Transform,
    *,
    negatives: int = NEGATIVES,
    max_tokens: int = MAX_TOKENS,
    held_out: DialogSet | None = None,
    out: Path | None = None,
    made_of: Mapping[str, Any] | None = None,
) -> tuple[BLIP, dict[str, Any]]:
    """A dialog model fine-tuned from `start`, in eval mode, and what `fit` reports; measured on `held_out` if given."""
    task = VisualDialog(visdial_from(start.model)).to(tuning.device).eval()
    photos = Made(len(training.names), lambda row: (training.images[row],))
    loader = Loader(PhotoRows(photos, transform), tuning.batch, seed=tuning.seed, workers=tuning.workers)
    length = room(start.model, max_tokens)
    builder = DialogBuilder(
        training.asked, start.tokenizer, negatives=negatives, max_length=length, seed=tuning.seed
    )
    machine = Machine(device=tuning.device, precision=tuning.precision, workers=tuning.workers)
    judge = partial(scored, task.model, start.tokenizer, machine=machine, max_tokens=max_tokens)
    evaluate = (lambda: measures(held_out, judge(held_out))) if held_out else None
    feed, config = BuiltFeed(loader, builder), tuning.config(len(loader))
    on = {"dialogs": digest(held_out.told())} if held_out else None
    result = fit("visdial", task, feed, config, out, evaluate=evaluate, made_of=made_of, measured_on=on)
    return task.model, result


def room(model: BLIP, max_tokens: int) -> int:
    """Tokens of a dialog: as many as were asked for, if the model has positions for them."""
    return min(max_tokens, model.config.text.max_positions)


@torch.inference_mode()
def scored(
    model: BLIP, tokenizer: Tokenizer, data: DialogSet, machine: Machine, *, max_tokens: int = MAX_TOKENS
) -> Scores:
    """Scores of all candidates. What a model reads of an image is computed once for all that is asked about it.

    The model is on the machine's device and in eval mode. InputError names an image that cannot be used. Of several
    processes each scores what is asked about its own images, and all get all scores.
    """
    length, scores = room(model, max_tokens), {}
    images = [CaptionedImage(data.names[rows[0]][0], data.images[rows[0]], ()) for rows in data.by_image()]
    groups = islice(data.by_image(), own_rows(len(images), machine.batch).start, None)
    for batch in pixels(images, model.config.vision.image_size, machine):
        own = list(islice(groups, len(batch)))
        captions = caption_tokens(tokenizer, [data.asked[rows[0]].caption for rows in own]).to(machine.device)
        with precision(batch.device, machine.precision):
            memory = dialog_memory(model, batch, captions)
            for at, row in ((at, row) for at, rows in enumerate(own) for row in rows):
                asked = data.asked[row]
                texts = dialog_tokens(tokenizer, [asked], [range(len(asked.candidates))], length)
                one = memory.rows(torch.tensor([at], device=batch.device))
                found = candidate_scores(model, one, texts.to(machine.device))
                scores[data.names[row]] = found.cpu().numpy()
    return dict(from_all(list(scores.items())))


def measures(data: DialogSet, scores: Scores) -> dict[str, float]:
    """ndcg where relevance is known; mrr, r1, r5, r10 and mean_rank where the given answer is."""
    _, ranks = _ranks(data, scores)
    return _mean_gain(data, scores) | (asdict(dialog_scores(ranks)) if len(ranks) else {})


def spread(data: DialogSet, scores: Scores) -> Intervals:
    """The measures' intervals, with other images and the dialogs about them."""
    gains, (images, ranks) = _gains(data, scores), _ranks(data, scores)
    kinds = [Items({"ndcg": list(gains.values())}, [image for image, _ in gains])] if gains else []
    if images:
        shares = {"mrr": 1 / ranks} | {f"r{k}": ranks <= k for k in _FIRST}
        kinds += [Items(shares, images), Items({"mean_rank": ranks}, images, shares=False)]
    return intervals(*kinds)


def chance(data: DialogSet) -> dict[str, float]:
    """The same measures, expected of scores that know nothing."""
    flat = {name: np.zeros(len(data.asked[row].candidates)) for row, name in enumerate(data.names)}
    answered = (row for row in range(len(data.names)) if data.asked[row].true is not None)
    return _mean_gain(data, flat) | _evenly([len(data.asked[row].candidates) for row in answered])


def ceiling(data: DialogSet) -> dict[str, float]:
    """The same measures, expected of who knows what is true but not which of its wordings was given.

    Needs the relevance of every question, as the generated world has it.
    """
    best = {name: data.relevance[name] for name in data.names}
    return _mean_gain(data, best) | _evenly([int(np.count_nonzero(relevance)) for relevance in best.values()])


def _gains(data: DialogSet, scores: Scores) -> dict[Name, float]:
    """NDCG of each question with a candidate of any relevance."""
    known = [name for name in data.names if name in data.relevance and data.relevance[name].any()]
    return {name: float(ndcg(scores[name][None], data.relevance[name][None])[0]) for name in known}


def _mean_gain(data: DialogSet, scores: Scores) -> dict[str, float]:
    gains = list(_gains(data, scores).values())
    return {"ndcg": float(np.mean(gains))} if gains else {}


def _ranks(data: DialogSet, scores: Scores) -> tuple[list[Hashable], np.ndarray]:
    """Of the questions whose given answer is known: the images, and the ranks (N,) of these answers."""
    told = [(name, true) for row, name in enumerate(data.names) if (true := data.asked[row].true) is not None]
    ranks = [true_ranks(scores[name][None], np.array([true])) for name, true in told]
    return [name[0] for name, _ in told], np.concatenate([np.empty(0, np.int64), *ranks])


def _evenly(sizes: Sequence[int]) -> dict[str, float]:
    """The measures of answers whose rank is any of the first so many with equal chance."""
    if not sizes:
        return {}
    counts = np.array(sizes, dtype=np.float64)
    found = {"mrr": float(np.mean([(1 / np.arange(1, size + 1)).mean() for size in sizes]))}
    found |= {f"r{k}": float(np.minimum(k / counts, 1).mean()) for k in _FIRST}
    return found | {"mean_rank": float((counts + 1).mean() / 2)}
