"""Which metric of a record tells an arm, and which of its seeds count: what its claims leave out, no mean has."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from blip.capfilt import Policy
from lab.ablation.arms import Arm
from lab.ablation.table import TRUTH, Ablation
from lab.claim import Claim, Difference
from lab.mixes import BOTH, Mix

KEPT, TRUE = "capfilt.kept_of_synthetic", "capfilt.origins.synthetic.true_before"
Value = TypeVar("Value")


def path_of(table: Ablation | None, arm: str, path: str) -> str | None:
    """Where a record has a metric of an arm; None where what it has there is not the arm's.

    CapFilt's run notes what ITM keeps at 0.5, whatever an arm makes of its ledger afterwards. Where truth filters, the
    share kept is the true one; that of other policies is not noted. table: None where it is not known.
    """
    mix = next((one.mix for one in table.arms if one.name == arm and isinstance(one, Arm)), None) if table else None
    if path != KEPT or mix is None or _keeps_as_itm(mix):
        return path
    return TRUE if mix == TRUTH else None


def chosen(claims: Iterable[Claim]) -> dict[str, str]:
    """The seeds that count in no claim of an ablation, since they chose its arms, and what of these they chose."""
    each = [{str(seed): claim.chose for seed in claim.chosen_on} for claim in claims]
    shared = set[str].intersection(*map(set, each)) if each else set()
    return {seed: what for own in each for seed, what in own.items() if seed in shared}


def without(own: Mapping[str, Value], seeds: Iterable[str]) -> dict[str, Value]:
    """What an arm found by seed, without these seeds."""
    left_out = set(seeds)
    return {seed: one for seed, one in own.items() if seed not in left_out}


def told_by(claims: Sequence[Claim], path: str) -> dict[str, str]:
    """The arms that claims set against others of this metric by another one, and by which."""
    found: dict[str, str] = {}
    for value in (claim.value for claim in claims):
        if isinstance(value, Difference) and path in value.metrics:
            own = {arm: [metric for name, metric, _ in value.terms if name == arm] for arm in value.arms}
            found |= {arm: metrics[0] for arm, metrics in own.items() if path not in metrics}
    return found


def at(found: Mapping[str, Any], path: str | None) -> float | None:
    """A metric of one arm and seed by its path, as in worth.retrieval.all.r1; None where it has none."""
    value: Any = found if path else None
    for name in (path or "").split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _keeps_as_itm(mix: Mix) -> bool:
    """Whether a mix has as many synthetic captions as ITM keeps at 0.5."""
    if mix.as_many_as == Policy():
        return replace(mix, policy=Policy(), as_many_as=None, ranked_with=None) == BOTH
    return replace(mix, policy=replace(mix.policy, web=Policy().web)) == BOTH
