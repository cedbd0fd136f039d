"""The recipe of a cell on your own pairs by scale, and which arms they allow.

smoke says nothing: it shows that data and commands work. cpu: size tiny, hours a cell on one core. gpu: size base
(ViT-B/16 at 224 pixels) with the paper's rates, hours a cell on one device. All were chosen without a trial on any
data set. Momentum encoders and queue wait two epochs, at most half of the steps, unless both encoders begin with
trained weights, as in `lab pretrain` (lab/LOG.md).
"""

from collections.abc import Sequence
from dataclasses import replace

from blip.errors import InputError
from blip.tasks.pretrain import ObjectiveConfig
from lab.ablation.arms import Arm, teacher, worth
from lab.ablation.measures import cost, diversity
from lab.ablation.peer_arms import PeerArm, clip_scored, scores
from lab.ablation.start import RANDOM, Start
from lab.ablation.table import Ablation, HasRuns
from lab.claim import Claim
from lab.recipes import Recipe, Stage

LEVEL = "own"
"""Stands in a recipe where the level of the generated world would be."""
# Of each, web, human and queue give way to those of the data.
_SMOKE = Recipe(
    name="own-smoke",
    level=LEVEL,
    web=160,
    noise=0.0,
    human=16,
    size="nano",
    dropout=0.1,
    objectives=ObjectiveConfig(queue=16),
    pretrain=Stage(samples=64, batch=16, peak=3e-4, alpha_ramp=0.2),
    captioner=Stage(samples=32, batch=8, peak=1e-4),
    filter=Stage(samples=32, batch=8, peak=1e-4),
    evaluation=32,
)
_CPU = replace(
    _SMOKE,
    name="own-cpu",
    web=576_000,
    size="tiny",
    objectives=ObjectiveConfig(queue=57_600),
    pretrain=Stage(samples=32_000, batch=64, peak=3e-4, warmup=0.1, alpha_ramp=0.2),
    captioner=Stage(samples=8_000, batch=32, peak=1e-4),
    filter=Stage(samples=8_000, batch=32, peak=1e-4),
    evaluation=1_000,
)
_GPU = replace(
    _CPU,
    name="own-gpu",
    size="base",
    pretrain=Stage(samples=1_280_000, batch=128, peak=3e-4, warmup=0.1, alpha_ramp=0.2),
    captioner=Stage(samples=64_000, batch=64, peak=1e-5),
    filter=Stage(samples=64_000, batch=64, peak=1e-5),
    evaluation=5_000,
    precision="bf16",
    device="cuda",
)
_SCALES = {"smoke": _SMOKE, "cpu": _CPU, "gpu": _GPU}
_MEASURES = {worth, teacher, diversity, cost, scores}  # those that need no truth, or are empty without it
_OF_TRUTH = "strictly_true"  # what a metric ends with that only the generated world can give
_SIZES = {"size", "widen", "widen_image"}
OF_THE_WORLD = {"level", "noise", "web", "human"}
"""Fields of a recipe that own pairs decide."""


def own_recipe(
    scale: str, *, web: int, human: int, size: str | None, samples: int | None, start: Start = RANDOM
) -> Recipe:
    """The recipe of a scale by name for so many web and human-annotated pairs; size and samples where not None."""
    if scale not in _SCALES:
        raise InputError(f"There is no scale {scale!r}; choose one of {', '.join(_SCALES)}.")
    base = _SCALES[scale]
    pretrain = base.pretrain if samples is None else replace(base.pretrain, samples=samples)
    batch = max(stage.batch for stage in (pretrain, base.captioner, base.filter))
    if human < batch:
        raise InputError(f"{human} human-annotated pairs are less than a batch of {batch} at scale {scale}; give more of them.")
    waits = 0 if start.whole else min(2 * (web + human) // pretrain.batch, pretrain.steps // 2)
    objectives = replace(base.objectives, queue=min(base.objectives.queue, web // 10), teacher_start=waits)
    return replace(base, web=web, human=human, size=size or base.size, pretrain=pretrain, objectives=objectives)


def decidable(table: str, claims: Sequence[Claim]) -> tuple[Claim, ...]:
    """The claims that can be decided without knowing what is true; InputError where the table has claims, but no such."""
    rest = tuple(claim for claim in claims if not any(metric.endswith(_OF_TRUTH) for metric in claim.value.metrics))
    if any(claim.ablation == table for claim in claims) and not any(claim.ablation == table for claim in rest):
        raise InputError(
            f"The ablation {table} cannot be done on your own pairs: its claims are decided by how many captions are true, "
            "and only the generated world knows that; leave --data, --human and --val out."
        )
    return rest


def possible(table: Ablation, *, begun: bool = False) -> tuple[Ablation, dict[str, str]]:
    """The ablation with the arms that own pairs allow, and why each of the others is left out.

    begun: models begin with weights of their size, so that no arm has another one.

    InputError where none is left.
    """
    left_out = {arm.name: why for arm in table.arms if (why := _why_not(arm, begun)) is not None}
    arms = tuple(arm for arm in table.arms if arm.name not in left_out)
    if not arms:
        why = next(iter(left_out.values()))
        raise InputError(f"The ablation {table.name} cannot be done on your own pairs: {why}; leave --data, --human and --val out.")
    return replace(table, arms=arms), left_out


def _why_not(arm: HasRuns, begun: bool) -> str | None:
    if isinstance(arm, PeerArm):
        return "it is a model of open_clip, and those are trained and measured in the generated world only"
    if not isinstance(arm, Arm):
        return "it is made for the generated world, where the truth of every caption is known"
    if any(mix is not None and mix.by_truth for mix in (arm.mix, arm.budget)):
        return "truth is its filter, and only the generated world knows it"
    if unknown := [measure.__name__ for measure in arm.measures if measure not in _MEASURES]:
        return f"its measure {unknown[0]} is made of the generated world"
    if arm.more_web > 1:
        return f"it needs {arm.more_web} times the web pairs, and there are only yours"
    changed = {change.partition("=")[0] for change in (*arm.everywhere, *arm.student, *arm.teacher)}
    if changed & OF_THE_WORLD:
        return "it sets what the generated world shows or how noisy it is, and your pairs are what they are"
    if arm.more_scenes > 1:
        return f"it is measured on {arm.more_scenes} times the scenes of the generated world, and there are only yours"
    if begun and arm.rescored is clip_scored:
        return "its CLIP would begin with random weights beside models that begin with --init-vision and --init-text"
    if begun and (arm.teacher_width > 1 or changed & _SIZES):
        return "it has a model of another size than the weights of --init-vision and --init-text"
    return None
