"""CapFilt's ledger with one more filter's scores: what lets an arm choose its texts by them."""

import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from blip.capfilt import Ledger
from blip.capfilt.scoring import FilterLike, score
from blip.tiles import TILE
from lab.ablation.arms import NUCLEUS
from lab.ablation.steps import model_of, step
from lab.rounds import LEDGER, Steps
from lab.runs import Run


@dataclass(frozen=True)
class ScoredBy:
    """An arm's `rescored`: the scores of a filter of a source that `lab ledger score --filter` takes.

    source: text, MODULE:FUNCTION, open_clip:MODEL:CHECKPOINT or weights, or NAME=SOURCE; its name in the ledger is the
    one that `--filter` would give it. A run is named by what the filter says of itself: a function's file that was
    changed is scored anew.
    """

    source: str

    def __call__(self, steps: Steps, captioner: Run, matcher: Run, capfilt: Run) -> Run:
        """The run whose ledger has these scores as well."""
        name, judge = _opened(self.source, steps.recipe.device)

        def work(folder: Path) -> dict[str, Any]:
            return with_scores(folder, steps, captioner, matcher, capfilt, {name: judge})

        config = {"filter": judge.id, "name": name, "device": steps.recipe.device}
        return steps.home.run(step("scores", config, capfilt), work)


@cache
def _opened(source: str, device: str) -> tuple[str, FilterLike]:
    """A filter's name and itself; a plan asks for it again and again."""
    # Here, so that open_clip and transformers are not needed where nobody asks for them.
    from lab.plugins import Machine, filters

    machine = Machine(device=device, precision="float32", tile=TILE, image_size=None, vocab=None)
    ((name, judge),) = filters([source], machine).items()
    return name, judge


def with_scores(
    folder: Path, steps: Steps, captioner: Run, matcher: Run, capfilt: Run, judges: dict[str, FilterLike]
) -> dict[str, Any]:
    """Copy the ledger of a CapFilt run into a folder, add the scores of filters by name, and sum it up.

    A copy: a run that is done is never written to.
    """
    shutil.rmtree(folder / LEDGER, ignore_errors=True)
    shutil.copytree(capfilt.folder / LEDGER, folder / LEDGER)
    models, recipe = (model_of(captioner), model_of(matcher)), steps.recipe
    _, pairs = steps.ground.capfilt(*models, steps.web, recipe, decoding=steps.ground.fitting(NUCLEUS, recipe), seed=steps.seed, round=1)
    ledger = Ledger.open(folder / LEDGER)
    running = {"device": recipe.device, "precision": "float32"}
    score(ledger, judges, images={pair.key: pair for pair in pairs.images}, running=running)
    return steps.ground.summary(ledger, steps.web)
