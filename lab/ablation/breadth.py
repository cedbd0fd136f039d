"""What a pre-trained student can be used for beside retrieval and captions: dialog, questions, and kinds named alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from blip.answering import Ranker
from blip.capfilt import Ledger, decide
from blip.checkpoint import Loaded
from blip.data.transforms import eval_transform
from blip.matching import MAX_TOKENS, Matcher
from blip.tasks.classification import class_likelihoods, class_tokens
from lab.ablation.arms import Trained
from lab.ablation.steps import model_of, step
from lab.captioned import distinct
from lab.downstream import visdial, vqa
from lab.downstream.dialog_rows import world_dialogs
from lab.downstream.vqa_rows import world_questions
from lab.finetuning import Tuning
from lab.inference import Machine
from lab.rounds import LEDGER
from lab.runs import Run
from lab.world.checker import check
from lab.world.language import Mention
from lab.world.questions import answer_list
from lab.world.scene import Scene
from lab.world.sets import World, WorldPair

SAID = ("alone", "coloured")
"""How a kind is named: without its colour ("a hat"), and with it ("a red hat")."""
SHOWN = ("one", "more")
"""Of kinds named alone: in pictures of one object, of which that says all, and in pictures of more, of which it says a part."""
SCORES = ("itm", "itc", "lm")
SAYS = ("whole", "part", "false")
"""What a web text says of its picture: all objects with their colours, truly less than that, or something false."""
_AT_ONCE = 64  # pictures whose states are held together


def dialog(trained: Trained) -> Run:
    """NDCG and ranks of answers in visual dialog (paper 5.5), the student fine-tuned on an eighth of its samples."""
    recipe, seed = trained.student.recipe, trained.student.seed
    samples = max(visdial.BATCH, recipe.pretrain.samples // 8)
    tuning = _tuning(visdial.PEAK, visdial.BATCH, samples, seed, recipe.device)

    def work(folder: Path) -> dict[str, Any]:
        start = model_of(trained.model)
        # A dialog has five rounds or ten: hardly a question is seen twice.
        training, held_out = world_dialogs(recipe.level, max(8, samples // 4)), world_dialogs(recipe.level, recipe.evaluation, "held-out")
        transform = eval_transform(start.model.config.vision.image_size)
        model, _ = visdial.tuned(start, training, tuning, transform, out=folder / "dialog")
        return visdial.measures(held_out, visdial.scored(model, start.tokenizer, held_out, Machine(device=recipe.device)))

    return _done("dialog", trained, {"samples": samples, "seed": seed}, work)


def questions(trained: Trained) -> Run:
    """Accuracy in VQA (paper 5.3), the student fine-tuned on a quarter of its samples; answers are ranked."""
    recipe, seed = trained.student.recipe, trained.student.seed
    samples = max(vqa.BATCH, recipe.pretrain.samples // 4)
    tuning = _tuning(vqa.PEAK, vqa.BATCH, samples, seed, recipe.device)

    def work(folder: Path) -> dict[str, Any]:
        start, world = model_of(trained.model), World.of(recipe.level)
        training, held_out = world_questions(world, max(8, samples // 5), "train"), world_questions(world, recipe.evaluation, "held-out")
        torch.manual_seed(seed)
        model = vqa.begun(start.model, drop_path=0.0)
        vqa.tuned(model, start.tokenizer, training, tuning, start.model.config.vision.image_size, out=folder / "questions")
        choose = Ranker(model, start.tokenizer, answer_list(world.level))
        return vqa.measures(held_out, vqa.answered(model, start.tokenizer, held_out, choose))

    return _done("questions", trained, {"samples": samples, "seed": seed}, work)


def kinds(trained: Trained) -> Run:
    """How often the student, without fine-tuning, prefers a kind that is shown to one that is not (`preferred`)."""
    recipe = trained.student.recipe

    def work(folder: Path) -> dict[str, Any]:
        return preferred(model_of(trained.model), World.of(recipe.level), recipe.evaluation, recipe.device)

    return _done("kinds", trained, {"shown": SHOWN}, work)


def kept(trained: Trained) -> Run:
    """Of the web's texts, by what they say (`SAYS`), the share that the filter keeps at the published threshold."""
    steps, (_, _, capfilt) = trained.student, trained.makers

    def work(folder: Path) -> dict[str, Any]:
        judged = {one.key: check(one.caption, one.scene) for one in steps.web}
        rows = decide(Ledger.open(capfilt.folder / LEDGER)).to_pylist()
        of: dict[str, list[bool]] = {says: [] for says in SAYS}
        for row in rows:
            verdict = judged[row["image_key"]]
            if row["origin"] == "web" and verdict.truth != "uninformative":
                of["false" if verdict.truth == "false" else "whole" if verdict.strict else "part"].append(row["kept"])
        return {says: {"texts": len(own), "kept": float(np.mean(own)) if own else None} for says, own in of.items()}

    return steps.home.run(step("kept", {"level": steps.recipe.level}, capfilt), work)


def preferred(loaded: Loaded, world: World, count: int, device: str = "cpu") -> dict[str, Any]:
    """By score (`SCORES`) and by how kinds are named (`SAID`, `SHOWN`): how often a kind that a held-out picture shows has a
    higher score than one that it does not show, over all such pairs; chance is 50%.

    scenes: the distinct ones among `count`; a share without any is None. A wrong kind has the colour of the one that it
    stands for.
    """
    scenes = distinct(world.evaluation(count))
    level, texts = world.level, texts_of(world)
    found: dict[str, Any] = {"scenes": len(scenes)}
    for name, scores in _scores(loaded, scenes, texts, level.px, device).items():
        each = scores.reshape(len(scenes), 1 + len(level.colour_names), len(level.kind_names))
        right = [(len(one.scene.things), *pair) for one, own in zip(scenes, each, strict=True) for pair in _right(one.scene, own, world)]
        things, alone, coloured = np.array(right).T
        parts = (alone, coloured, alone[things == 1], alone[things > 1])
        found[name] = {said: float(part.mean()) if len(part) else None for said, part in zip((*SAID, *SHOWN), parts, strict=True)}
    return found


def texts_of(world: World) -> list[str]:
    """Every kind alone, then every kind in the first colour, the next, and so on."""
    colours = (None, *world.level.colour_names)
    return [Mention(kind, colour).words() for colour in colours for kind in world.level.kind_names]


def _right(scene: Scene, scores: np.ndarray, world: World) -> list[tuple[bool, bool]]:
    """Of each thing and each kind that is not shown: whether the thing's kind has the higher score, by `SAID`."""
    names, colours = world.level.kind_names, world.level.colour_names
    shown = {thing.kind for thing in scene.things}
    wrong = [at for at, kind in enumerate(names) if kind not in shown]
    return [
        (bool(scores[0, kind] > scores[0, other]), bool(scores[colour, kind] > scores[colour, other]))
        for thing in scene.things
        for kind, colour in [(names.index(thing.kind), 1 + colours.index(thing.colour))]
        for other in wrong
    ]


def _scores(loaded: Loaded, scenes: list[WorldPair], texts: list[str], px: int, device: str) -> dict[str, np.ndarray]:
    """Scores of every text about every scene (scenes, texts), by `SCORES`."""
    matcher = Matcher(loaded, device=device)
    pictures = [matcher.prepare(Image.fromarray(one.image(px))) for one in scenes]
    margin, _, cosine = np.array(matcher(pictures, [texts] * len(scenes))).transpose(2, 0, 1)
    tokens = class_tokens(loaded.tokenizer, texts, MAX_TOKENS).to(device)
    with torch.inference_mode():
        parts = [matcher.model.encode_image(torch.stack(pictures[at : at + _AT_ONCE]).to(device)) for at in range(0, len(pictures), _AT_ONCE)]
        said = torch.cat([class_likelihoods(matcher.model, states, tokens, len(texts)) for states in parts])
    return dict(zip(SCORES, (margin, cosine, said.float().cpu().numpy()), strict=True))


def _tuning(peak: float, batch: int, samples: int, seed: int, device: str) -> Tuning:
    return Tuning(steps=samples // batch, batch=batch, peak=peak, seed=seed, workers=1, device=device)


def _done(name: str, trained: Trained, config: dict[str, Any], work: Callable[[Path], dict[str, Any]]) -> Run:
    recipe = trained.student.recipe
    about = {"level": recipe.level, "count": recipe.evaluation, "device": recipe.device}
    return trained.student.home.run(step(name, about | config, trained.model), work)
