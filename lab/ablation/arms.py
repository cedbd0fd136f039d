"""An arm of an ablation as a value, and the runs that it takes: each done once, whichever claims share it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from blip.checkpoint import Card, Loaded, load, save
from blip.checkpoint.own import file_fingerprint
from blip.config import to_json
from blip.generate import Decoding
from lab import stages
from lab.ablation import protocol
from lab.mixes import BOTH, Mix
from lab.progress import bar
from lab.recipes import Recipe, overridden
from lab.rounds import MODEL, Steps
from lab.runs import Run, Step, Work
from lab.sources import array_source
from lab.world.sets import World

NUCLEUS = Decoding(temperature=0.5)
"""p = 0.9 as published, and sharpened: at temperature 1 half of a small captioner's draws are false (lab/LOG.md),
where the paper's filter removes a quarter. Other temperatures are arms of their own."""
VERSION = 1
# The web pairs that filters are measured on: the same in every arm, and far behind those of any training.
_UNSEEN = {"start": 10_000_000, "noise": 0.5}


class Runs(Protocol):
    """Where runs are done or planned: a home of runs, or a plan of them."""

    def run(self, step: Step, work: Work) -> Run: ...
    def run_all(self, jobs: Sequence[tuple[Step, Work]]) -> list[Run]: ...


@dataclass(frozen=True)
class Lab:
    """Where and with what a cell is done."""

    home: Runs
    recipe: Recipe
    seed: int


@dataclass(frozen=True)
class Trained:
    """What an arm has trained: the student, and what its texts came from where CapFilt made them."""

    student: Steps
    model: Run
    mix: Mix = BOTH
    decoding: Decoding = NUCLEUS
    captioner: Run | None = None
    matcher: Run | None = None
    capfilt: Run | None = None


Measure = Callable[[Trained], Run]


def worth(trained: Trained) -> Run:
    """The student, fine-tuned as captioner and as filter (paper 5.1 and 5.2), by the one protocol."""
    return measured(trained.student, *trained.student.tune(trained.model))


def teacher(trained: Trained) -> Run:
    """The captioner and the filter that made the texts, by the same protocol."""
    return measured(trained.student, trained.captioner, trained.matcher)


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One row of a table: a student pre-trained on a mix of texts, and measured."""

    name: str
    about: str
    mix: Mix | None = BOTH
    """None: the web's texts, without CapFilt."""
    everywhere: tuple[str, ...] = ()
    """Fields of the recipe, changed for the student and for the model that captioner and filter come from."""
    student: tuple[str, ...] = ()
    """Fields changed for the student alone."""
    teacher: tuple[str, ...] = ()
    """Fields changed for captioner and filter alone."""
    teacher_width: int = 1
    """Captioner and filter are so many times as wide as the student."""
    more_web: int = 1
    """So many times the web pairs."""
    times: float = 1.0
    """So many times the student's pre-training samples."""
    teacher_times: float = 1.0
    """So many times the pre-training samples of the model that captioner and filter come from."""
    budget: Mix | None = None
    """As many epochs as the web arm has, counted on these texts."""
    decoding: Decoding = NUCLEUS
    rounds: int = 1
    continued: bool = False
    """The student goes on from the model that captioner and filter come from (paper Table 13)."""
    one_model: bool = False
    """Captioner and filter share all parameters (paper Table 4)."""
    measures: tuple[Measure, ...] = (worth,)

    def runs(self, lab: Lab) -> dict[str, Run]:
        """The runs whose results are measured, by name; `capfilt` is CapFilt's own summary."""
        recipe = replace(lab.recipe, web=self.more_web * lab.recipe.web)
        recipe = overridden(recipe, self.everywhere)
        student = Steps(lab.home, _longer(overridden(recipe, self.student), self.times), lab.seed)
        trained = Trained(student, student.pretrain()) if self.mix is None else self._bootstrapped(lab, recipe, student)
        found = {measure.__name__: measure(trained) for measure in self.measures}
        return found | ({"capfilt": trained.capfilt} if trained.capfilt else {})

    def _bootstrapped(self, lab: Lab, recipe: Recipe, student: Steps) -> Trained:
        other = overridden(replace(recipe, widen=self.teacher_width * recipe.widen), self.teacher)
        source = Steps(lab.home, _longer(other, self.teacher_times), lab.seed)
        model, capfilt = source.pretrain(), None
        for number in range(1, self.rounds + 1):
            if capfilt is not None:
                model = source.pretrain(capfilt, mix=self.mix)
            captioner, matcher = (joint(source, model),) * 2 if self.one_model else source.tune(model)
            capfilt = source.capfilt(captioner, matcher, round=number, decoding=self.decoding)
        start = model if self.continued else None
        new = student.pretrain(capfilt, start, mix=self.mix, budget=self.budget)
        return Trained(student, new, self.mix, self.decoding, captioner, matcher, capfilt)


def measured(steps: Steps, captioner: Run, matcher: Run) -> Run:
    """What a captioner and a filter are worth by the protocol; held-out scenes and web pairs that no run has seen."""
    recipe = steps.recipe
    config = {"level": recipe.level, "count": recipe.evaluation, "device": recipe.device} | _UNSEEN

    def work(folder: Path) -> dict[str, Any]:
        return protocol.worth(
            model_of(captioner),
            model_of(matcher),
            World.of(recipe.level),
            count=recipe.evaluation,
            device=recipe.device,
            **_UNSEEN,
        )

    return steps.home.run(step("worth", config, captioner, matcher), work)


def joint(steps: Steps, model: Run) -> Run:
    """Captioner and filter in one model: ITC, ITM and LM on the human-annotated pairs, with the captioner's budget."""
    recipe = replace(steps.recipe, pretrain=steps.recipe.captioner)
    config = to_json(recipe) | {"seed": steps.seed}
    done = step("joint", {k: v for k, v in config.items() if k not in _NOT_JOINT}, model)

    def work(folder: Path) -> dict[str, Any]:
        before, px = model_of(model), steps.world.level.px
        pairs = steps.world.human(recipe.human, captions_each=2)
        queue = min(recipe.objectives.queue, len(pairs) // 10)
        fitting = replace(recipe, objectives=replace(recipe.objectives, queue=queue))
        with bar(recipe.pretrain.steps, done.id) as show:
            source = array_source(pairs, px, recipe.device)
            tuned = stages.pretrain(
                fitting, source, before.tokenizer, seed=steps.seed, out=folder, progress=show, start=before.model
            )
        card = Card(stage="joint", notes={"run": folder.name, "level": recipe.level})
        return {"model": file_fingerprint(save(folder / MODEL, tuned, before.tokenizer, card))}

    return steps.home.run(done, work)


def step(kind: str, config: dict[str, Any], *parents: Run) -> Step:
    """A step of the ablations by what decides it."""
    ids = tuple(dict.fromkeys(parent.id for parent in parents))
    return Step(kind=kind, config=config, parents=ids, version=VERSION)


def model_of(run: Run) -> Loaded:
    """The model that a run has left."""
    return load(run.folder / MODEL)


_NOT_JOINT = {"name", "captioner", "filter", "evaluation"}


def _longer(recipe: Recipe, times: float) -> Recipe:
    samples = round(times * recipe.pretrain.samples)
    return replace(recipe, pretrain=replace(recipe.pretrain, samples=samples))
