"""Arms that train no student: confirmation bias of captioner and filter (paper Table 4), and the threshold sweep."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from blip.capfilt import Ledger, Policy
from blip.capfilt.decide import verdicts
from blip.capfilt.quality import auc
from blip.generate import Decoding
from blip.tasks.captioning import PROMPT
from lab.ablation.arms import NUCLEUS, Lab
from lab.ablation.steps import model_of, step
from lab.ablation.tunings import APART, tuned
from lab.evaluate import captions_of, filter_scores, with_room
from lab.rounds import LEDGER, Steps
from lab.runs import Run
from lab.world.checker import check
from lab.world.noise import CLEAN, KINDS
from lab.world.sets import WorldPair

OTHER, SEPARATE = 1_000, 2_000
"""Added to a cell's seed: of the model compared with, and of filters that were pre-trained separately. A cell's two
models belong to it alone, so that the cells of an interval are independent."""
RECALL = 0.9
"""Thresholds are matched where a filter keeps this share of the true captions."""
THRESHOLDS = tuple(round(0.05 * n, 2) for n in range(21))
_IMAGES_A_SCENE = 5  # web images that are captioned for the bias, an evaluated scene


@dataclass(frozen=True, kw_only=True)
class Sharing:
    """A degree of sharing between captioner and filter, whose confirmation bias is measured in a crossed design."""

    name: str
    about: str
    declared: tuple[str, ...] = ()
    tuning: str = APART
    prompt: str = PROMPT
    """Of a captioner that is fine-tuned by its own loss."""
    separate: bool = False
    longer: int = 1
    """So many times the samples that a captioner, and so the one model and twins, are fine-tuned on."""

    def runs(self, lab: Lab) -> dict[str, Run]:
        """The run of the bias between seeds a and b."""
        (a, own), (b, other) = self._pair(lab, lab.seed), self._pair(lab, lab.seed + OTHER)
        count = min(lab.recipe.web, _IMAGES_A_SCENE * lab.recipe.evaluation)
        config = {"level": lab.recipe.level, "noise": lab.recipe.noise, "images": count, "seed": lab.seed}
        decoding = with_room(NUCLEUS, lab.recipe.level)
        config |= {"decoding": str(decoding), "recall": RECALL, "device": lab.recipe.device}
        # A shared model stands for both; its place says which is which.
        config |= {"order": [a.id, own.id, b.id, other.id]}

        def work(folder: Path) -> dict[str, Any]:
            steps = Steps(lab.home, lab.recipe, lab.seed)
            items, px, device = steps.world.web(count, lab.recipe.noise), steps.world.level.px, lab.recipe.device
            said = [_captioned(model_of(run), items, px, decoding, device) for run in (a, b)]
            scores = [[filter_scores(model_of(run), own, px, device) for own in said] for run in (own, other)]
            return crossed_bias(scores, [np.array([one.truth for one in own]) for own in said])

        return {"bias": lab.home.run(step("bias", config, a, own, b, other), work)}

    def seen(self, lab: Lab) -> None:
        """Nothing: it trains no student."""

    def _pair(self, lab: Lab, seed: int) -> tuple[Run, Run]:
        """A captioner and its filter."""
        stage = replace(lab.recipe.captioner, samples=self.longer * lab.recipe.captioner.samples)
        recipe = replace(lab.recipe, captioner=stage)
        steps = Steps(lab.home, recipe, seed)
        captioner, matcher = tuned(steps, steps.pretrain(), self.tuning, self.prompt)
        if self.separate:
            apart = Steps(lab.home, recipe, seed + SEPARATE)
            matcher = apart.tune(apart.pretrain())[1]
        return captioner, matcher


def _captioned(loaded: Any, items: list[WorldPair], px: int, decoding: Decoding, device: str) -> list[WorldPair]:
    """The items with a synthetic caption each, and its truth."""
    said = captions_of(loaded, items, px, decoding, device)
    return [
        replace(item, caption=own[0], origin="synthetic", truth=check(own[0], item.scene).truth)
        for item, own in zip(items, said, strict=True)
    ]


def crossed_bias(scores: list[list[np.ndarray]], truths: list[np.ndarray]) -> dict[str, Any]:
    """How much rather a filter lets its own captioner's false captions pass than another's: crossed, so that a
    captioner with easier mistakes or a filter that lets more pass cannot be taken for it.

    `scores[f][c]` (N,): filter f on the captions of captioner c, 0 and 1 for a and b; `truths[c]` (N,). Thresholds are
    those at which each filter keeps 90% of all true captions. bias is the mean over both filters of pass(own)
    - pass(other's); noise_ratio the paper's, the share of its own captioner's captions that a filter drops at 0.5.
    None where no caption is true, or none false.
    """
    false, true = ([own == truth for own in truths] for truth in ("false", "true"))
    ratio = float(np.mean([(scores[i][i] < 0.5).mean() for i in (0, 1)]))
    counts = {"noise_ratio": ratio, "false": [int(own.sum()) for own in false], "images": len(truths[0])}
    if not all(own.any() for own in false) or not any(own.any() for own in true):
        return counts | {"bias": None, "pass": None}
    passed = np.empty((2, 2))
    for f in (0, 1):
        threshold = np.quantile(np.concatenate([scores[f][c][true[c]] for c in (0, 1)]), 1 - RECALL)
        passed[f] = [(scores[f][c][false[c]] >= threshold).mean() for c in (0, 1)]
    bias = (passed[0, 0] - passed[0, 1] + passed[1, 1] - passed[1, 0]) / 2
    return counts | {"bias": float(bias), "pass": passed.tolist()}


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Every threshold over one ledger; nothing is trained but captioner and filter, nothing is scored again."""

    name: str
    about: str
    declared: tuple[str, ...] = ()

    def runs(self, lab: Lab) -> dict[str, Run]:
        """The run of the sweep."""
        steps = Steps(lab.home, lab.recipe, lab.seed)
        capfilt = steps.capfilt(*steps.tune(steps.pretrain()), decoding=NUCLEUS)

        def work(folder: Path) -> dict[str, Any]:
            rows = verdicts(Ledger.open(capfilt.folder / LEDGER), Policy(), ("origin", "truth", "noise_kind"))
            table = pa.concat_tables(rows)
            return swept(*(np.array(table[n].to_pylist()) for n in ("score", "origin", "truth", "noise_kind")))

        return {"sweep": lab.home.run(step("sweep", {"thresholds": THRESHOLDS}, capfilt), work), "capfilt": capfilt}

    def seen(self, lab: Lab) -> None:
        """Nothing: it trains no student."""


def swept(scores: np.ndarray, origins: np.ndarray, truths: np.ndarray, kinds: np.ndarray) -> dict[str, Any]:
    """Keep rate, precision and recall at each threshold by origin; what is kept of each noise kind, and its AUC;
    calibration: of the captions in each of ten bins of match probability the mean probability and the true share.
    """
    true, synthetic = truths == "true", origins == "synthetic"
    parts = {"web": ~synthetic, "synthetic": synthetic}
    for kind in (CLEAN, *KINDS):
        parts[kind] = ~synthetic & (kinds == kind) & (true if kind == CLEAN else ~true)
    clean = scores[parts[CLEAN]]
    return {
        "thresholds": list(THRESHOLDS),
        "kept": {name: [_mean(scores[own] >= t) for t in THRESHOLDS] for name, own in parts.items()},
        "precision": {n: [_mean(true[parts[n] & (scores >= t)]) for t in THRESHOLDS] for n in ("web", "synthetic")},
        "recall": {n: [_mean(scores[parts[n] & true] >= t) for t in THRESHOLDS] for n in ("web", "synthetic")},
        "auc": {kind: auc(clean, scores[parts[kind]]) for kind in KINDS},
        "calibration": {n: _calibration(scores[parts[n]], true[parts[n]]) for n in ("web", "synthetic")},
    }


def _calibration(scores: np.ndarray, true: np.ndarray) -> list[list[float | None]]:
    bins = np.minimum((10 * scores).astype(int), 9)
    return [[_mean(scores[bins == n]), _mean(true[bins == n]), int((bins == n).sum())] for n in range(10)]


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None
