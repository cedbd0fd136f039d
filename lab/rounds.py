"""Bootstrapping in rounds (paper Figure 3, again and again); every step is a run that is done once.

In round r a model is pre-trained on the web's texts (r = 1) or on what round r-1 kept, with the human-annotated
pairs; captioner and filter are fine-tuned from it; CapFilt goes over the same web images. After the last round a
final model is pre-trained on what that round kept: it is the first step of the round after, should one follow.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from blip.capfilt import run as run_capfilt
from blip.checkpoint import Card, Loaded, load, save
from blip.checkpoint.own import file_fingerprint
from blip.config import to_json
from blip.data.transforms import FINETUNE_SCALE, PRETRAIN_SCALE
from blip.errors import InputError
from blip.generate import Decoding
from blip.model import BLIP
from blip.tasks.captioning import PROMPT
from blip.tokenizer import Tokenizer
from lab import stages
from lab.ablation.ground import WORLD, Ground
from lab.ledgers import finished
from lab.mixes import BOTH, Mix, selected
from lab.progress import bar, images_bar
from lab.recipes import Recipe, Stage
from lab.runs import Run, Runs, Step, Work
from lab.world.sets import World

VERSIONS = {"pretrain": 1, "captioner": 1, "filter": 1, "capfilt": 1, "evaluate": 1}
"""Kinds of steps; a number is raised when the code of its kind gives something else than before."""
MODEL, LEDGER = "model.safetensors", "ledger"
_PUBLISHED = Decoding()
# What of a recipe does not decide a step by itself; what its parents were made by comes in with their ids.
_ELSEWHERE = {
    "pretrain": {"captioner", "filter", "evaluation"},
    "captioner": {"pretrain", "filter", "evaluation"},
    "filter": {"pretrain", "captioner", "evaluation"},
    "capfilt": {"pretrain", "captioner", "filter", "evaluation", "web"},
    "evaluate": {"pretrain", "captioner", "filter"},
}


class Steps:
    """The steps of bootstrapping by one recipe and seed, each a run in a home.

    ground: where the pairs come from, by default the generated world. `seed` is that of initial weights, order and
    draws; the pairs do not depend on it.
    """

    def __init__(self, home: Runs, recipe: Recipe, seed: int = 0, ground: Ground = WORLD) -> None:
        self.home, self.recipe, self.seed, self.ground = home, recipe, seed, ground
        ground.check(recipe)  # before anything is begun

    @property
    def world(self) -> World:
        """The generated world of the recipe's level."""
        return World.of(self.recipe.level)

    @cached_property
    def web(self) -> list[Any]:
        """The web pairs, one a caption."""
        return self.ground.web(self.recipe)

    @cached_property
    def human(self) -> list[Any]:
        """The human-annotated pairs, one a caption."""
        return self.ground.human(self.recipe)

    def pretrain(
        self, capfilt: Run | None = None, start: Run | None = None, *, mix: Mix = BOTH, budget: Mix | None = None
    ) -> Run:
        """A model pre-trained on the web's texts, or on a mix of a CapFilt run's, with the human-annotated pairs.

        A new one, or one that continues from `start` (paper Table 13). All read the vocabulary of the web's and the
        human texts, whatever they are trained on, and so begin with the same weights. budget: as many epochs as the
        recipe's samples are on the web's texts, counted on the texts of this mix (paper Table 12).
        """
        more = (mix.to_json() if capfilt else {}) | ({"budget": budget.to_json()} if capfilt and budget else {})
        if capfilt and not start:
            more["vocabulary"] = "web"  # runs without it had one of their own texts
        if self.recipe.objectives.momentum is None or self.recipe.objectives.teacher_start:
            more["soft targets"] = "of a teacher"  # runs without it scaled ITC down where they had none
        step = self._step("pretrain", [run for run in (capfilt, start) if run], **more)

        def work(folder: Path) -> dict[str, Any]:
            pairs = [*self._texts(capfilt, mix), *self.human]
            recipe = self._fitting(len(pairs))
            if capfilt and budget:
                recipe = self._longer(recipe, len(self._texts(capfilt, budget)))
            before = _model(start) if start else None
            tokenizer = before.tokenizer if before else self.ground.tokenizer([*self.web, *self.human])
            source = self.ground.source(pairs, recipe, PRETRAIN_SCALE)
            with bar(recipe.pretrain.steps, step.id) as show:
                model = stages.pretrain(
                    recipe,
                    source,
                    tokenizer,
                    seed=self.seed,
                    out=folder,
                    progress=show,
                    start=before.model if before else None,
                    image_size=self.ground.px(recipe),
                    begin=self.ground.begin,
                )
            samples = {"samples": recipe.pretrain.samples} if budget else {}
            return {"pairs": len(pairs)} | samples | self._saved(folder, "pretrained", model, tokenizer)

        return self.home.run(step, work)

    def tune(self, model: Run, prompt: str = PROMPT) -> tuple[Run, Run]:
        """A captioner and a filter, each fine-tuned from the same pre-trained model (paper 3.3).

        prompt: words that begin every caption of the captioner, in fine-tuning and in what it says.
        """
        own: dict[str, Any] = {} if prompt == PROMPT else {"prompt": prompt}
        speaking = self._tuning("captioner", self.recipe.captioner, stages.tune_captioner, model, **own)
        captioner, matcher = self.home.run_all([speaking, self._tuning("filter", self.recipe.filter, stages.tune_filter, model)])
        return captioner, matcher

    def capfilt(
        self,
        captioner: Run,
        matcher: Run,
        *,
        round: int = 1,
        images: int | None = None,
        decoding: Decoding = _PUBLISHED,
    ) -> Run:
        """Caption and filter the first `images` of the web (by default all of it) into a ledger."""
        count = self.recipe.web if images is None else images
        more = {"candidates": decoding.candidates} if decoding.candidates > 1 else {}
        decoding = self.ground.fitting(decoding, self.recipe)
        step = self._step("capfilt", [captioner, matcher], images=count, round=round, decoding=str(decoding), **more)

        def work(folder: Path) -> dict[str, Any]:
            items, models = self.web[:count], (_model(captioner), _model(matcher))
            job, pairs = self.ground.capfilt(*models, items, self.recipe, decoding=decoding, seed=self.seed, round=round)
            with images_bar(len(pairs.images), step.id) as show:
                ledger = run_capfilt(job, pairs, folder / LEDGER, show)
            return self.ground.summary(ledger, items)

        return self.home.run(step, work)

    def evaluate(self, captioner: Run, matcher: Run) -> Run:
        """What they are worth on this ground; a pre-trained model can be both."""

        def work(folder: Path) -> dict[str, Any]:
            speaker = _model(captioner)
            judge = speaker if matcher == captioner else _model(matcher)
            return self.ground.quality(speaker, judge, self.recipe)

        return self.home.run(self._step("evaluate", [captioner, matcher], **self.ground.evaluated_by(self.recipe)), work)

    def _tuning(self, kind: str, stage: Stage, tune: Callable[..., BLIP], model: Run, **own: Any) -> tuple[Step, Work]:
        step = self._step(kind, [model], **own, **(stages.of_filter(self.recipe) if kind == "filter" else {}))

        def work(folder: Path) -> dict[str, Any]:
            before = _model(model)
            human = self.ground.source(self.human, self.recipe, FINETUNE_SCALE)
            with bar(stage.steps, step.id) as show:
                tuned = tune(
                    self.recipe, before.model, human, before.tokenizer, seed=self.seed, out=folder, progress=show, **own
                )
            return self._saved(folder, kind, tuned, before.tokenizer, own.get("prompt", PROMPT) if kind == "captioner" else "")

        return step, work

    def _step(self, kind: str, parents: Sequence[Run], **more: Any) -> Step:
        left_out = _ELSEWHERE[kind] | {"name"}
        config = {name: value for name, value in to_json(self.recipe).items() if name not in left_out}
        ids = tuple(dict.fromkeys(run.id for run in parents))
        config |= self.ground.decides() | {"seed": self.seed} | more
        return Step(kind=kind, config=config, parents=ids, version=VERSIONS[kind])

    def _saved(self, folder: Path, stage: str, model: BLIP, tokenizer: Tokenizer, prompt: str = "") -> dict[str, Any]:
        card = Card(stage=stage, prompt=prompt, notes={"run": folder.name, "level": self.recipe.level})
        return {"model": file_fingerprint(save(folder / MODEL, model, tokenizer, card))}

    def _fitting(self, pairs: int) -> Recipe:
        """The recipe with a queue of at most a tenth of the pairs: a filter may leave few."""
        objectives = self.recipe.objectives
        return replace(self.recipe, objectives=replace(objectives, queue=min(objectives.queue, pairs // 10)))

    def _longer(self, recipe: Recipe, texts: int) -> Recipe:
        """The recipe with as many epochs on so many texts and the human pairs as it has on the web's and these."""
        human = len(self.human)
        samples = round(recipe.pretrain.samples * (texts + human) / (self.recipe.web + human))
        return replace(recipe, pretrain=replace(recipe.pretrain, samples=samples))

    def _texts(self, capfilt: Run | None, mix: Mix) -> list[Any]:
        if capfilt is None:
            return self.web
        ledger = finished(capfilt.folder / LEDGER, f"lab runs rm --with-children {capfilt.id} removes it, to be made again")
        return selected(ledger, mix, self.ground.images(self.web))


@dataclass(frozen=True, kw_only=True)
class Round:
    """A round's runs. `quality` measures the pre-trained model, `tuned_quality` captioner and filter."""

    number: int
    model: Run
    captioner: Run
    filter: Run
    capfilt: Run
    quality: Run
    tuned_quality: Run

    @property
    def ledger(self) -> Path:
        """Folder of the ledger."""
        return self.capfilt.folder / LEDGER


@dataclass(frozen=True)
class Bootstrap:
    """All rounds, and the final model with what it is worth."""

    rounds: list[Round]
    model: Run
    quality: Run


def bootstrap(
    steps: Steps, rounds: int, *, images: int | None = None, continued: bool = False, prompt: str = PROMPT
) -> Bootstrap:
    """Do so many rounds, or read those that are done.

    images: web images a CapFilt pass covers, from the first one on. continued: each model goes on from the one
    before with a schedule that begins anew, in place of a new one (paper Table 13). prompt: of every captioner.
    """
    if rounds < 1:
        raise InputError(f"{rounds} rounds cannot be; give 1 or more.")
    if images is not None and not 1 <= images <= steps.recipe.web:
        raise InputError(f"{images} images cannot be; give 1 to {steps.recipe.web}, the web of this recipe.")
    done, model = [], steps.pretrain()
    for number in range(1, rounds + 1):
        captioner, matcher = steps.tune(model, prompt)
        capfilt = steps.capfilt(captioner, matcher, round=number, images=images)
        done.append(
            Round(
                number=number,
                model=model,
                captioner=captioner,
                filter=matcher,
                capfilt=capfilt,
                quality=steps.evaluate(model, model),
                tuned_quality=steps.evaluate(captioner, matcher),
            )
        )
        model = steps.pretrain(capfilt, model if continued else None)
    return Bootstrap(done, model, steps.evaluate(model, model))


def _model(run: Run) -> Loaded:
    return load(run.folder / MODEL)
