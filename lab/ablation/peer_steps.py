"""The trainings of CLIP and CoCa on the pairs that BLIP is trained on, each a run that is done once.

Alike are pairs, their order, token ids, optimizer, schedule and batch; each peer has open_clip's own model and losses.
Fine-tuned they are as ours: for captions with the captioner's budget, for retrieval (and as filter) with the filter's.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from blip.config import to_json
from blip.data.transforms import FINETUNE_SCALE, PRETRAIN_SCALE
from blip.errors import InputError
from blip.feed import PairFeed
from blip.model import BLIP
from blip.tasks.pretrain import Pretrain
from blip.tokenizer import Tokenizer
from blip.train import train
from lab import stages
from lab.ablation.steps import step
from lab.peers.files import LoadedPeer, load, save
from lab.peers.kinds import Lost, Parts, Peer
from lab.peers.operations import COUNTED, let_a_step_pass, mean_flops
from lab.progress import bar
from lab.recipes import Stage
from lab.rounds import MODEL, Steps
from lab.runs import Run, Step

_BLIP = "BLIP"
_NOT_OURS = {"name", "evaluation", "sharing", "objectives"}  # of a recipe, what no peer reads
_TUNED_ON = {"web", "noise", "pretrain"}  # what a fine-tuned peer has from its parent


def pretrained(steps: Steps, peer: Peer, *, equal_operations: bool = False) -> Run:
    """A peer pre-trained on the web's texts and the human-annotated pairs, as `Steps.pretrain` does it for BLIP.

    For the recipe's samples, or as many floating-point operations as BLIP takes for these (`operations`): its result
    says pairs and samples.
    """
    costs = [operations(steps), operations(steps, peer)] if equal_operations else []
    steps = _at_own_rate(steps, peer)
    more = {"operations_of": _BLIP} if equal_operations else {}
    made = step(f"{peer.name.lower()}-pretrain", _config(steps, {"captioner", "filter"}) | {"peer": peer.name} | more, *costs)

    def work(folder: Path) -> dict[str, Any]:
        stage, parts, (pairs, tokenizer, context) = steps.recipe.pretrain, peer.parts(), _read(steps)
        if costs:
            blip, own = (run.result["flop_a_sample"] for run in costs)
            stage = replace(stage, samples=stage.batch * max(1, math.ceil(stage.steps * blip / own)))
        config = steps.recipe.model(len(tokenizer), steps.ground.px(steps.recipe))
        torch.manual_seed(steps.seed)
        model = parts.model(config, tokenizer.special, context)
        loader = stages.loader(steps.ground.source(pairs, steps.recipe, PRETRAIN_SCALE), stage, steps.seed)
        task = peer.task(model, parts.pretraining(tokenizer.special.pad))
        _train(task, PairFeed(loader, tokenizer, max_length=context), steps, stage, folder, made.id)
        about = {"pairs": len(pairs), "samples": stage.samples}
        return about | {"model": save(folder / MODEL, model, config, tokenizer)}

    return steps.home.run(made, work)


def tuned_for_retrieval(steps: Steps, peer: Peer, model: Run) -> Run:
    """A pre-trained peer fine-tuned by its contrast on human-annotated pairs, with our filter's budget."""
    return _tuned(steps, peer, "filter", steps.recipe.filter, lambda parts: parts.retrieval, model)


def tuned_for_captions(steps: Steps, peer: Peer, model: Run) -> Run:
    """A pre-trained peer fine-tuned by its captioning loss on human-annotated pairs, with our captioner's budget."""

    def losses(parts: Parts) -> Callable[[int], Lost]:
        if parts.captioning is None:
            raise InputError(f"{peer.name} makes no captions; fine-tune it for retrieval alone.")
        return parts.captioning

    return _tuned(steps, peer, "captioner", steps.recipe.captioner, losses, model)


def operations(steps: Steps, peer: Peer | None = None) -> Run:
    """Floating-point operations a sample of pre-training, forward and backward, of a peer or of BLIP (None).

    Counted by torch in the mean of the first batches, the same for all seeds; optimizer and teacher update are not
    among them.
    """
    recipe, name = steps.recipe, _BLIP if peer is None else peer.name
    left_out = {"name", "evaluation", "captioner", "filter"}
    config = {k: v for k, v in to_json(recipe).items() if k not in left_out} | steps.ground.decides() | {"peer": name}

    def work(folder: Path) -> dict[str, Any]:
        pairs, tokenizer, context = _read(steps)
        loader = stages.loader(steps.ground.source(pairs, recipe, PRETRAIN_SCALE), recipe.pretrain, 0)
        feed = PairFeed(loader, tokenizer, max_length=context)
        batches = [next(feed).to(recipe.device) for _ in range(COUNTED)]
        task = _new_task(steps, peer, tokenizer, context).to(recipe.device)
        let_a_step_pass(task, batches[0])
        return {"flop_a_sample": mean_flops(task, batches) / recipe.pretrain.batch}

    return steps.home.run(step("operations", config), work)


def needs_open_clip(one: Step) -> bool:
    """Whether a step of an ablation cannot be done without open_clip."""
    return one.config.get("peer", _BLIP) != _BLIP


def loaded(run: Run, peer: Peer, device: str) -> LoadedPeer:
    """The model that a run of a peer has left."""
    return load(run.folder / MODEL, peer, device)


def _tuned(
    steps: Steps, peer: Peer, kind: str, stage: Stage, losses: Callable[[Parts], Callable[[int], Lost]], model: Run
) -> Run:
    others = {"captioner", "filter"} - {kind}
    made = step(f"{peer.name.lower()}-{kind}", _config(steps, others | _TUNED_ON) | {"peer": peer.name}, model)

    def work(folder: Path) -> dict[str, Any]:
        before = loaded(model, peer, steps.recipe.device)
        source = steps.ground.source(steps.human, steps.recipe, FINETUNE_SCALE)
        feed = PairFeed(
            stages.loader(source, stage, steps.seed), before.tokenizer, max_length=before.model.context_length
        )
        task = peer.task(before.model, losses(peer.parts())(before.tokenizer.special.pad))
        _train(task, feed, steps, stage, folder, made.id)
        return {"model": save(folder / MODEL, before.model, before.config, before.tokenizer)}

    return steps.home.run(made, work)


def _train(task: nn.Module, feed: PairFeed, steps: Steps, stage: Stage, folder: Path, name: str) -> None:
    recipe = steps.recipe
    config = stage.training(alpha=recipe.objectives.alpha, seed=steps.seed, precision=recipe.precision)
    with bar(stage.steps, name) as show:
        train(task.to(recipe.device), feed, config, out=folder / "training", progress=show)
    task.eval()


def _at_own_rate(steps: Steps, peer: Peer) -> Steps:
    stage = steps.recipe.pretrain
    recipe = replace(steps.recipe, pretrain=replace(stage, peak=peer.peak(stage.peak)))
    return Steps(steps.home, recipe, steps.seed, steps.ground)


def _new_task(steps: Steps, peer: Peer | None, tokenizer: Tokenizer, context: int) -> nn.Module:
    config = steps.recipe.model(len(tokenizer), steps.ground.px(steps.recipe))
    torch.manual_seed(0)
    if peer is None:
        return Pretrain(BLIP(config), steps.recipe.objectives)
    parts = peer.parts()
    return peer.task(parts.model(config, tokenizer.special, context), parts.pretraining(tokenizer.special.pad))


def _read(steps: Steps) -> tuple[Sequence[Any], Tokenizer, int]:
    """The pairs, their vocabulary, and the tokens of the longest text: open_clip pads every text to one length."""
    pairs = [*steps.web, *steps.human]
    tokenizer = steps.ground.tokenizer(pairs)
    return pairs, tokenizer, tokenizer([pair.caption for pair in pairs], stages.MAX_TOKENS).ids.shape[1]


def _config(steps: Steps, left_out: set[str]) -> dict[str, Any]:
    config = {k: v for k, v in to_json(steps.recipe).items() if k not in _NOT_OURS | left_out}
    return config | steps.ground.decides() | {"seed": steps.seed}
