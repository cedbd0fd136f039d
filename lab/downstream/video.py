"""Video retrieval with models that were trained on single images, and what they make of the order of frames (paper 5.6)."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch

from blip.checkpoint import Loaded
from blip.data.text import clean_caption
from blip.data.video import RETRIEVAL_FRAMES
from blip.model import BLIP
from blip.precision import precision
from blip.tasks.ranking import SHORTLIST
from blip.tasks.retrieval import retrieval_model, retrieval_scores
from blip.tasks.video import MAX_TOKENS, MAX_WORDS, clip_scores, rank_videos
from blip.tokenizer import Tokenizer, Tokens
from lab.downstream import retrieval
from lab.downstream.clip_rows import HELD_OUT, ClipRows, clip_batches, world_clips
from lab.downstream.spread import Intervals, Items, intervals
from lab.finetuning import Tuning
from lab.inference import Machine
from lab.sources import array_source
from lab.world.checker import check
from lab.world.clip_order import order_queries
from lab.world.clips import CaptionedClip, captioned_clips
from lab.world.sets import World

PAIRS = 8_000  # single images with captions to train on
STEPS, BATCH, PEAK = 600, 32, 5e-4  # of the comparison at nano
TIED = 1e-4  # scores that differ by less are equal: a sum in another order is rounded otherwise
_FIRST = (1, 5, 10)


def run(
    start: Loaded, level: str, *, steps: int = STEPS, seed: int = 0, out: Path | None = None
) -> dict[str, float]:
    """Fine-tune for retrieval on single images of the world, and retrieve among held-out clips, zero-shot.

    video_r1 and so on find a video for a text, text_r1 a text for a video; chance and ceiling are those of
    video_r1. `start` is not changed; with `out` the training can be resumed.
    """
    world, px = World.of(level), start.model.config.vision.image_size
    tuning = Tuning(steps=steps, batch=BATCH, peak=PEAK, seed=seed)
    model, _ = retrieval.tuned(start, array_source(world.web(PAIRS, noise=0.0), px), tuning, out=out)
    held_out = captioned_clips(world, HELD_OUT, "held-out")
    rows, own = world_clips([one.clip for one in held_out], px, RETRIEVAL_FRAMES), np.arange(len(held_out))
    machine = Machine(device=tuning.device, batch=64)
    found, _ = measured(model, start.tokenizer, rows, [one.caption for one in held_out], own, machine)
    return found | {"chance": chance(own, len(rows))["video_r1"], "ceiling": ceiling(held_out)["video_r1"]}


def measured(
    model: BLIP,
    tokenizer: Tokenizer,
    rows: ClipRows,
    texts: Sequence[str],
    clip_of: np.ndarray,
    machine: Machine,
    *,
    frames: int = RETRIEVAL_FRAMES,
    k: int = SHORTLIST,
) -> tuple[dict[str, float], Intervals]:
    """R@1, R@5, R@10 (shares), median and mean rank of a video for a text, and of a text for a video; and intervals.

    rows give `frames` frames each; clip_of (T,) is the row of each text's clip. The model is on the machine's
    device. InputError names a clip without a text, or one that cannot be read.
    """
    model = retrieval_model(model).eval()
    tokens = caption_tokens(tokenizer, texts).to(machine.device)
    with precision(torch.device(machine.device), machine.precision):
        found = rank_videos(model, partial(clip_batches, rows, frames, machine), tokens, k=k)
    scores = retrieval_scores(found.of_images, found.of_texts, clip_of)
    sides = {"video": asdict(scores.image), "text": asdict(scores.text)}
    named = {f"{side}_{name}": value for side, values in sides.items() for name, value in values.items()}
    ranks = {"video": (scores.image_ranks, clip_of.tolist()), "text": (scores.text_ranks, range(len(scores.text_ranks)))}
    means = [Items({f"{side}_mean_rank": own}, about, shares=False) for side, (own, about) in ranks.items()]
    return named, intervals(*retrieval.hits(scores, clip_of, text="text_r", image="video_r"), *means)


def caption_tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> Tokens:
    """Texts as video retrieval reads them: at most 40 words and 35 tokens, as published."""
    return tokenizer([clean_caption(text, MAX_WORDS) for text in texts], MAX_TOKENS)


def chance(clip_of: np.ndarray, clips: int) -> dict[str, float]:
    """The expected recalls of a random order; clip_of (T,) is the row of each text's clip."""
    found = retrieval.chance(clip_of, clips)
    sides = {"video": "ir", "text": "tr"}
    return {f"{side}_r{k}": found[f"{short}{k}"] for side, short in sides.items() for k in _FIRST}


def ceiling(held_out: Sequence[CaptionedClip]) -> dict[str, float]:
    """The expected recalls of one who knows which captions are true of which clips, and nothing more."""
    shown = [one.clip.shown() for one in held_out]
    true = np.array([[check(one.caption, scene).truth == "true" for one in held_out] for scene in shown])
    fits = {"video": true.sum(axis=0), "text": true.sum(axis=1)}
    return {f"{side}_r{k}": float(np.minimum(1, k / n).mean()) for side, n in fits.items() for k in _FIRST}


def run_order(start: Loaded, level: str) -> dict[str, float]:
    """Which of a clip and its reversed twin a text means that only the order of frames can tell: held-out clips.

    accuracy by the score of retrieval (match logit plus cosine), where scores that differ by less than TIED
    count half; largest_difference is that of any two scores. The twin has the same sampled frames, last first:
    sampled anew, a reversed clip would show other frames, and a difference would not be one of order.
    """
    world, model = World.of(level), retrieval_model(start.model).eval()
    asked = order_queries(world, HELD_OUT, "held-out")
    rows = world_clips([one.clip for one in asked], model.config.vision.image_size, RETRIEVAL_FRAMES)
    tokens = caption_tokens(start.tokenizer, [one.text for one in asked])
    machine = Machine(device=str(next(model.parameters()).device), batch=64)
    ahead: list[float] = []
    for clip in (clip for batch in clip_batches(rows, RETRIEVAL_FRAMES, machine) for clip in batch.split(1)):
        text = tokens.rows(torch.tensor([len(ahead)])).to(machine.device)
        there, back = clip_scores(model, torch.cat([clip, clip.flip(1)]), text).flatten().tolist()
        ahead.append(there - back)
    differences = np.array(ahead)
    right = np.where(np.abs(differences) < TIED, 0.5, differences > 0)
    largest = float(np.abs(differences).max())
    return {"accuracy": float(right.mean()), "largest_difference": largest, "chance": 0.5, "ceiling": 1.0}
