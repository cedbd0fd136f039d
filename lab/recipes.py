"""Complete, frozen runs by name. A recipe derives from another by changing fields; nothing else decides a run."""

from dataclasses import dataclass, field, replace

from blip.config import SHARE_ALL_BUT_SA, BlipConfig, TextConfig, VisionConfig
from blip.errors import InputError
from blip.schedules import Schedule
from blip.tasks.pretrain import ObjectiveConfig
from blip.train import TrainConfig


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
    """Human-annotated pairs: at most 9% of the web set, as 1.34M of 15.3M in the paper."""
    vision: VisionConfig
    text: TextConfig
    embed_dim: int
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
        text = replace(self.text, vocab_size=vocab_size)
        return BlipConfig(vision=self.vision, text=text, embed_dim=self.embed_dim)
