"""Complete, frozen runs by name. A recipe derives from another by changing fields; nothing else decides a run."""

from dataclasses import dataclass, replace

from blip.config import BlipConfig, named
from blip.errors import InputError
from blip.schedules import Schedule
from blip.tasks.pretrain import ObjectiveConfig
from blip.train import TrainConfig
from lab.world.levels import level


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One training: how many samples are seen, in which batches, at which rate."""

    samples: int
    batch: int
    peak: float
    warmup: float = 0.05
    """Share of the steps spent warming up."""
    alpha_ramp: float = 0.1
    """Share of the steps over which the soft targets come in."""

    @property
    def steps(self) -> int:
        """Optimizer steps."""
        return max(1, self.samples // self.batch)

    def training(self, *, alpha: float, seed: int, precision: str = "float32") -> TrainConfig:
        """The training configuration of this stage."""
        schedule = Schedule(
            steps=self.steps,
            peak=self.peak,
            warmup=round(self.warmup * self.steps),
            alpha=alpha,
            alpha_ramp=round(self.alpha_ramp * self.steps),
        )
        return TrainConfig(schedule=schedule, seed=seed, precision=precision, log_every=50)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A whole bootstrapping run in the generated world: data, model, and its trainings."""

    name: str
    level: str
    web: int
    """Web pairs."""
    noise: float
    """Share of the web pairs whose text is noise."""
    human: int
    """Human-annotated pairs, two a scene: at most 9% of the web set, as 1.34M of 15.3M in the paper."""
    size: str
    """Model size by name; its pictures are the level's."""
    dropout: float
    objectives: ObjectiveConfig
    pretrain: Stage
    captioner: Stage
    filter: Stage
    evaluation: int
    """Held-out scenes of an evaluation."""
    precision: str = "float32"

    def __post_init__(self) -> None:
        if self.objectives.queue > self.web / 10:
            raise InputError(
                f"A queue of {self.objectives.queue} keys over {self.web} web pairs is more than a "
                "tenth of the data set; make it smaller."
            )

    def model(self, vocab_size: int) -> BlipConfig:
        """The model's configuration for a vocabulary."""
        config = named(self.size, vocab_size=vocab_size, image_size=level(self.level).px)
        return replace(config, text=replace(config.text, dropout=self.dropout, max_positions=MAX_POSITIONS))


MAX_POSITIONS = 64  # no text of the generated world is longer

# Found by trial on two CPU cores (lab/LOG.md): small batches and a high rate beat larger ones per
# sample, dropout and a wider model only cost, and a queue longer than a few thousand changes nothing.
CELL = Recipe(
    name="cell",
    level="nano",
    web=40_000,
    noise=0.4,
    human=3_600,
    size="nano",
    dropout=0.0,
    objectives=ObjectiveConfig(queue=4_000),
    pretrain=Stage(samples=64_000, batch=32, peak=1.5e-3, alpha_ramp=0.2),
    captioner=Stage(samples=16_000, batch=32, peak=7e-4),
    filter=Stage(samples=16_000, batch=32, peak=7e-4),
    evaluation=600,
)
SHIPPED = replace(
    CELL,
    name="shipped",
    web=100_000,
    human=9_000,
    objectives=ObjectiveConfig(queue=8_192),
    pretrain=replace(CELL.pretrain, samples=288_000),
    captioner=replace(CELL.captioner, samples=48_000),
    filter=replace(CELL.filter, samples=48_000),
    evaluation=2_000,
)
SMOKE = replace(
    CELL,
    name="smoke",
    web=640,
    human=56,
    objectives=ObjectiveConfig(queue=64),
    pretrain=replace(CELL.pretrain, samples=640),
    captioner=replace(CELL.captioner, samples=96),
    filter=replace(CELL.filter, samples=96),
    evaluation=32,
)
RECIPES = {recipe.name: recipe for recipe in (SMOKE, CELL, SHIPPED)}


def recipe(name: str) -> Recipe:
    """A recipe by name: smoke, cell or shipped."""
    if name not in RECIPES:
        raise InputError(f"There is no recipe {name!r}; choose one of {', '.join(RECIPES)}.")
    return RECIPES[name]
