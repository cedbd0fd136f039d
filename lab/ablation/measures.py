"""What else an arm is measured by: how varied its captions are, what its sharing costs, and two-image statements."""

import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from blip.capfilt import Ledger
from blip.config import to_json
from blip.data.transforms import PRETRAIN_SCALE
from blip.feed import PairFeed
from blip.metrics.diversity import diversity as diversity_of
from blip.metrics.diversity import self_bleu
from blip.metrics.words import caption_words
from blip.model import BLIP, count_parameters
from blip.tasks.pretrain import Pretrain
from blip.train import build_optimizer, forward_backward
from lab import stages
from lab.ablation.arms import Trained
from lab.ablation.ground import Judge
from lab.ablation.scales import SCALES
from lab.ablation.steps import model_of, step
from lab.downstream import nlvr as two_images
from lab.downstream.nlvr_rows import world_statements
from lab.finetuning import Tuning
from lab.mixes import selected
from lab.rounds import LEDGER
from lab.runs import Run
from lab.world.draw import STYLES

_SAMPLED = 3  # captions of an image for self-BLEU
_IMAGES = 100  # of self-BLEU
_STEPS = 12  # timed, of which the first two are left out


def diversity(trained: Trained) -> Run:
    """How varied and how true the synthetic captions are: before any filter, and of those that are trained on."""
    steps, mix, decoding = trained.student, trained.mix, trained.decoding
    speaker, _, capfilt = trained.makers
    config = {"level": steps.recipe.level, "mix": mix.to_json(), "decoding": str(decoding), "seed": steps.seed}
    config |= {"self_bleu": "short captions too"}  # runs without it took those of fewer than four words as unlike any other

    def work(folder: Path) -> dict[str, Any]:
        ground, items = steps.ground, steps.web
        judge = ground.judge(items)
        ledger = Ledger.open(capfilt.folder / LEDGER)
        rows = ledger.table("candidates", ["image_key", "caption", "origin"]).to_pylist()
        made = [(row["image_key"], row["caption"]) for row in rows if row["origin"] == "synthetic"]
        taken = [(one.key, one.caption) for one in selected(ledger, mix, ground.images(items)) if one.origin == "synthetic"]
        sampling = replace(decoding, candidates=_SAMPLED, num_beams=max(_SAMPLED, decoding.num_beams))
        captioner = model_of(speaker)
        said = ground.captions(captioner, items, steps.recipe, count=_IMAGES, decoding=sampling)
        return {
            "all": _described(made, judge),
            "kept": _described(taken, judge),
            "self_bleu": self_bleu([[caption_words(text) for text in own] for own in said]),
        }

    return steps.home.run(step("diversity", config, capfilt), work)


def _described(captions: list[tuple[str, str]], judge: Judge | None) -> dict[str, float | None]:
    """Diversity and share of true captions of (image key, caption); None where there is no caption, or no truth."""
    if not captions:
        return {"captions": 0, "true": None}
    found = vars(diversity_of([caption_words(text) for _, text in captions]))
    true = judge and float(np.mean([judge(key, text) == "true" for key, text in captions]))
    return {"captions": len(captions), "true": true} | found


def cost(trained: Trained) -> Run:
    """Parameters, bytes and seconds a step of pre-training (paper Table 3): exact, exact, and the median of ten.

    state_bytes: weights, gradients and optimizer; saved_bytes: what the forward keeps for the backward.
    """
    steps = trained.student
    recipe = steps.recipe

    def work(folder: Path) -> dict[str, Any]:
        ground, items = steps.ground, steps.ground.few(recipe, max(2 * recipe.pretrain.batch, 64))
        tokenizer = ground.tokenizer([*steps.web, *steps.human])
        config = recipe.model(len(tokenizer), ground.px(recipe))
        torch.manual_seed(0)
        task = Pretrain(BLIP(config), replace(recipe.objectives, queue=0)).to(recipe.device)
        loader = stages.loader(ground.source(items, recipe, PRETRAIN_SCALE), recipe.pretrain, 0)
        feed = PairFeed(loader, tokenizer, max_length=stages.MAX_TOKENS)
        seconds, saved = _stepped(task, feed, recipe)
        parameters = count_parameters(config)
        return {"parameters": parameters, "state_bytes": 16 * parameters, "saved_bytes": saved, "step_seconds": seconds}

    config = {k: v for k, v in to_json(recipe).items() if k not in ("name", "captioner", "filter", "evaluation", "web")}
    config |= steps.ground.decides() | {"vocabulary": "web"}  # runs without it had that of a few pairs
    if recipe.web not in (one.web for one in SCALES.values()):
        config["web"] = recipe.web  # decides the vocabulary; runs of a scale's own web were named without it
    return steps.home.run(step("cost", config), work)


def _stepped(task: Pretrain, feed: PairFeed, recipe: Any) -> tuple[float, int]:
    """Median seconds of a step, and bytes that the first forward saves for its backward."""
    training = recipe.pretrain.training(alpha=recipe.objectives.alpha, seed=0, precision=recipe.precision)
    optimizer, taken, kept = build_optimizer(task, training), [], {}

    def note(saved: torch.Tensor) -> torch.Tensor:
        storage = saved.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return saved

    task.train()
    for number in range(_STEPS):
        batch, start = next(feed), time.perf_counter()
        if number:
            losses, _ = forward_backward(task, batch, 0.4, training)
        else:
            with torch.autograd.graph.saved_tensors_hooks(note, lambda saved: saved):
                losses, _ = forward_backward(task, batch, 0.4, training)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        task.after_step([] if losses.features is None else [losses.features])
        if recipe.device != "cpu":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    return median(taken[2:]), sum(kept.values())


def nlvr(trained: Trained) -> Run:
    """Accuracy on statements about two images (paper 5.4), fine-tuned and judged in either drawing style."""
    steps = trained.student
    recipe, samples = steps.recipe, max(32, steps.recipe.pretrain.samples // 4)
    config = {"level": recipe.level, "samples": samples, "count": recipe.evaluation, "seed": steps.seed}

    def work(folder: Path) -> dict[str, Any]:
        return {style: _judged(model_of(trained.model), steps, samples, style, folder / style) for style in STYLES}

    return steps.home.run(step("nlvr", config | {"device": recipe.device}, trained.model), work)


def _judged(start: Any, steps: Any, samples: int, style: str, out: Path) -> float:
    px, tuning = steps.world.level.px, Tuning(
        steps=max(1, samples // two_images.BATCH),
        batch=two_images.BATCH,
        peak=two_images.PEAK,
        seed=steps.seed,
        workers=1,
        device=steps.recipe.device,
    )
    torch.manual_seed(steps.seed)
    model = two_images.begun(start.model, drop_path=0.0)
    # Two passes over statements of four pairs each.
    training = world_statements(steps.world, max(8, samples // 8), "train", style)
    held_out = world_statements(steps.world, steps.recipe.evaluation, "held-out", style)
    two_images.tuned(model, start.tokenizer, training, tuning, px, out=out)
    verdicts = two_images.judged(model, start.tokenizer, held_out)
    return two_images.measures(held_out, verdicts)["accuracy"]
