"""Complete, frozen runs by name. A recipe derives from another by changing fields; nothing else decides a run."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from blip.config import SHARING, BlipConfig, named
from blip.errors import InputError
from blip.schedules import Schedule
from blip.tasks.pretrain import ObjectiveConfig
from blip.train import TrainConfig
from lab.world.levels import level


def _at_least_one(config: Any, *names: str) -> None:
    for name in names:
        if getattr(config, name) < 1:
            raise InputError(f"{name}={getattr(config, name)} cannot be; give 1 or more.")


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

    def __post_init__(self) -> None:
        _at_least_one(self, "samples", "batch")

    @property
    def steps(self) -> int:
        """Optimizer steps."""
        return max(1, self.samples // self.batch)

    def training(self, *, alpha: float, seed: int, precision: str = "float32", alpha_from: int = 0) -> TrainConfig:
        """The training configuration of this stage; alpha_from: the step at which momentum encoders come in."""
        schedule = Schedule(
            steps=self.steps,
            peak=self.peak,
            warmup=round(self.warmup * self.steps),
            alpha=alpha,
            alpha_ramp=round(self.alpha_ramp * self.steps),
            alpha_from=alpha_from,
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
    sharing: str = "all-but-sa"
    """What text encoder and decoder share, a row of the paper's Table 3: all, all-but-ca, all-but-sa or none."""
    widen: int = 1
    """Both encoders are so many times as wide as the size says, with as many times the heads."""
    widen_image: int = 1
    """The image encoder alone is so many times as wide again."""
    device: str = "cpu"
    """Where it is trained and captions are made: cpu or cuda."""

    def __post_init__(self) -> None:
        _at_least_one(self, "web", "human", "evaluation", "widen", "widen_image")
        if self.sharing not in SHARING:
            raise InputError(f"There is no sharing {self.sharing!r}; choose one of {', '.join(SHARING)}.")
        if self.objectives.queue > self.web / 10:
            raise InputError(
                f"A queue of {self.objectives.queue} keys over {self.web} web pairs is more than a "
                "tenth of the data set; make it smaller."
            )

    def model(self, vocab_size: int, image_size: int | None = None) -> BlipConfig:
        """The model's configuration for a vocabulary, and for pictures of a side in pixels: by default the level's."""
        shared, side = SHARING[self.sharing], image_size or level(self.level).px
        config = named(self.size, vocab_size=vocab_size, image_size=side, shared=shared)
        seen, read = config.vision, config.text
        vision, text = self.widen * self.widen_image, self.widen
        return replace(
            config,
            vision=replace(seen, width=vision * seen.width, heads=vision * seen.heads),
            text=replace(
                read,
                width=text * read.width,
                heads=text * read.heads,
                mlp_width=text * read.mlp_width,
                memory_width=vision * seen.width,
                dropout=self.dropout,
                max_positions=MAX_POSITIONS,
            ),
        )


MAX_POSITIONS = 64  # no text of the generated world is longer

# Found by trial on two CPU cores (lab/LOG.md): small batches beat larger ones per sample. Fine-tuning is short and slow, as in the paper (1e-5 after 3e-4): a captioner tuned longer
# forgets what the human-annotated set does not show, a filter tuned longer rejects it.
CELL = Recipe(
    name="cell",
    level="nano",
    web=40_000,
    noise=0.4,
    human=3_600,
    size="nano",
    dropout=0.0,
    objectives=ObjectiveConfig(queue=4_000),
    pretrain=Stage(samples=64_000, batch=16, peak=1.5e-3, alpha_ramp=0.2),
    captioner=Stage(samples=12_000, batch=32, peak=1e-4),
    filter=Stage(samples=4_000, batch=32, peak=1e-4),
    evaluation=600,
)
SHIPPED = replace(
    CELL,
    name="shipped",
    web=100_000,
    human=9_000,
    pretrain=replace(CELL.pretrain, samples=288_000),
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


def overridden(chosen: Recipe, changes: Sequence[str]) -> Recipe:
    """The recipe with fields changed by `field=value` or `stage.field=value`; strict about names and types."""
    wanted: dict[str, Any] = {}
    for change in changes:
        path, equals, text = change.partition("=")
        if not equals:
            raise InputError(f"{change!r} changes nothing; write it as field=value, for example pretrain.batch=64.")
        value, inner = _value(chosen, path.strip().split("."), text.strip(), change), wanted
        *outer, last = path.strip().split(".")
        for name in outer:
            inner = inner.setdefault(name, {})
        inner[last] = value
    return _replaced(chosen, wanted)


def _replaced(config: Any, wanted: dict[str, Any]) -> Any:
    """All changes of a dataclass at once, since its fields may only fit together."""
    new = {n: _replaced(getattr(config, n), v) if isinstance(v, dict) else v for n, v in wanted.items()}
    return replace(config, **new)


def _value(config: Any, path: list[str], text: str, change: str) -> Any:
    name, *deeper = path
    names = [f.name for f in fields(config)]
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(names)}."
        raise InputError(f"{change!r}: there is no field {name!r}; {hint}")
    old = getattr(config, name)
    if is_dataclass(old) != bool(deeper):
        raise InputError(f"{change!r}: {name} {'has fields of its own' if is_dataclass(old) else 'has no fields'}.")
    return _value(old, deeper, text, change) if deeper else _parsed(old, text, change)


def _parsed(old: Any, text: str, change: str) -> Any:
    """The text as a value of the old one's type; "none" where the field may be left out, and is no name."""
    if text.lower() == "none" and not isinstance(old, str):
        return None
    kind = float if old is None else type(old)
    try:
        return kind(text.replace("_", "")) if kind in (int, float) else kind(text)
    except ValueError:
        raise InputError(f"{change!r}: {text!r} is no {kind.__name__}.") from None
