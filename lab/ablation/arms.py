"""An arm of an ablation as a value, and the runs that it takes: each done once, whichever claims share it."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from blip.checkpoint.own import vocabulary
from blip.errors import InputError
from blip.generate import Decoding
from blip.tasks.captioning import PROMPT
from lab.ablation.budget import DECLARES, Budget
from lab.ablation.ground import WORLD, Ground
from lab.ablation.steps import model_of, step
from lab.ablation.tunings import APART, tuned
from lab.mixes import BOTH, Mix
from lab.recipes import Recipe, overridden
from lab.rounds import MODEL, Steps
from lab.runs import Run, Runs

NUCLEUS = Decoding(temperature=0.5)
"""p = 0.9 as published, and sharpened: at temperature 1 half of a small captioner's draws are false (lab/LOG.md),
where the paper's filter removes a quarter. Other temperatures are arms of their own."""


@dataclass(frozen=True)
class Lab:
    """Where and with what a cell is done."""

    home: Runs
    recipe: Recipe
    seed: int
    ground: Ground = WORLD


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

    @property
    def makers(self) -> tuple[Run, Run, Run]:
        """Captioner, filter and CapFilt's run, which made its texts; InputError where they are the web's own."""
        if self.captioner is None or self.matcher is None or self.capfilt is None:
            raise InputError("This arm has no captioner and no filter of its own; measure its student alone.")
        return self.captioner, self.matcher, self.capfilt


Measure = Callable[[Trained], Run]
Rescored = Callable[[Steps, Run, Run, Run], Run]
"""From the steps, captioner, filter and CapFilt's run to a run with its ledger and one more filter's scores."""


def worth(trained: Trained) -> Run:
    """The student, fine-tuned as captioner and as filter (paper 5.1 and 5.2), by the one protocol."""
    return measured(trained.student, *trained.student.tune(trained.model))


def teacher(trained: Trained) -> Run:
    """The captioner and the filter that made the texts, by the same protocol."""
    captioner, matcher, _ = trained.makers
    return measured(trained.student, captioner, matcher)


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
    more_scenes: int = 1
    """So many times the held-out scenes that it is measured on."""
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
    tuning: str = APART
    """How captioner and filter are fine-tuned, one of TUNINGS: apart, or as one model (paper Table 4), or between these, or on other captions."""
    prompt: str = PROMPT
    """Words that begin what a captioner says that is fine-tuned by its own loss; a model of all three losses has none."""
    rescored: Rescored | None = None
    """CapFilt's ledger with the scores of a further filter, for mixes that read them."""
    measures: tuple[Measure, ...] = (worth,)

    @property
    def declared(self) -> tuple[str, ...]:
        """The fields that change samples or web, for the student or for what its texts came from."""
        plain = {one.name: one.default for one in fields(self)}
        changes = {one.partition("=")[0] for one in (*self.everywhere, *self.student, *self.teacher)}
        own = [name for name in DECLARES if name in plain and getattr(self, name) != plain[name]]
        return (*own, *(name for name in DECLARES if name in changes))

    def runs(self, lab: Lab) -> dict[str, Run]:
        """The runs whose results are measured, by name; `capfilt` is CapFilt's own summary."""
        trained = self._trained(lab)
        found = {measure.__name__: measure(trained) for measure in self.measures}
        return found | ({"capfilt": trained.capfilt} if trained.capfilt else {})

    def seen(self, lab: Lab) -> Budget | None:
        """What its student's pre-training saw; None where that is not done."""
        trained = self._trained(lab)
        found = trained.model.result
        if not found:
            return None
        samples = found.get("samples", trained.student.recipe.pretrain.samples)
        return Budget(samples, found["pairs"], _words_of(trained.model))

    def recipe_of(self, recipe: Recipe) -> Recipe:
        """The student's recipe, from that of the ablation."""
        return _longer(overridden(self._common(recipe), self.student), self.times)

    def _common(self, recipe: Recipe) -> Recipe:
        larger = replace(recipe, web=self.more_web * recipe.web, evaluation=self.more_scenes * recipe.evaluation)
        return overridden(larger, self.everywhere)

    def _trained(self, lab: Lab) -> Trained:
        student = Steps(lab.home, self.recipe_of(lab.recipe), lab.seed, lab.ground)
        return Trained(student, student.pretrain()) if self.mix is None else self._bootstrapped(lab, student, self.mix)

    def _bootstrapped(self, lab: Lab, student: Steps, mix: Mix) -> Trained:
        recipe = self._common(lab.recipe)
        other = overridden(replace(recipe, widen=self.teacher_width * recipe.widen), self.teacher)
        source = Steps(lab.home, _longer(other, self.teacher_times), lab.seed, lab.ground)
        model = source.pretrain()
        captioner, matcher, capfilt = self._round(source, model, 1)
        for number in range(2, self.rounds + 1):
            model = source.pretrain(capfilt, mix=mix)
            captioner, matcher, capfilt = self._round(source, model, number)
        if self.rescored is not None:
            capfilt = self.rescored(source, captioner, matcher, capfilt)
        start = model if self.continued else None
        new = student.pretrain(capfilt, start, mix=mix, budget=self.budget)
        return Trained(student, new, mix, self.decoding, captioner, matcher, capfilt)

    def _round(self, source: Steps, model: Run, number: int) -> tuple[Run, Run, Run]:
        """Captioner, filter and CapFilt's run of a round, from its pre-trained model."""
        captioner, matcher = tuned(source, model, self.tuning, self.prompt)
        return captioner, matcher, source.capfilt(captioner, matcher, round=number, decoding=self.decoding)


def measured(steps: Steps, captioner: Run, matcher: Run) -> Run:
    """What a captioner and a filter are worth by the ground's protocol, on what no run has seen."""
    ground, recipe = steps.ground, steps.recipe

    def work(folder: Path) -> dict[str, Any]:
        return ground.worth(model_of(captioner), model_of(matcher), recipe)

    return steps.home.run(step("worth", ground.measured_by(recipe), captioner, matcher), work)


def _words_of(model: Run) -> str:
    return hashlib.sha256("\n".join(vocabulary(model.folder / MODEL)).encode()).hexdigest()[:8]


def _longer(recipe: Recipe, times: float) -> Recipe:
    samples = round(times * recipe.pretrain.samples)
    return replace(recipe, pretrain=replace(recipe.pretrain, samples=samples))
