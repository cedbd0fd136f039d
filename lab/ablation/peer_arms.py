"""Arms with models of others: CLIP as filter of CapFilt's captions, and BLIP beside CLIP and CoCa."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.ablation import peer_protocol as protocol
from lab.ablation.arms import Lab, Trained
from lab.ablation.budget import Budget
from lab.ablation.ground import WORLD
from lab.ablation.peer_steps import loaded, operations, pretrained, tuned_for_captions, tuned_for_retrieval
from lab.ablation.scored import with_scores
from lab.ablation.steps import model_of, step
from lab.peers.kinds import CLIP, Peer
from lab.rounds import Steps
from lab.runs import Run

CLIP_SCORES = "clip"
"""The filter's name in the ledger; its column is cosine."""


def clip_filter(steps: Steps) -> Run:
    """A CLIP of like size trained by open_clip's loss on the web's texts, then fine-tuned as our filter is."""
    return tuned_for_retrieval(steps, CLIP, pretrained(steps, CLIP))


def clip_scored(steps: Steps, captioner: Run, matcher: Run, capfilt: Run) -> Run:
    """CapFilt's ledger again, with the cosines of a CLIP trained on the same pairs as one more filter."""
    clip = clip_filter(steps)

    def work(folder: Path) -> dict[str, Any]:
        from lab.peers.reading import CosineFilter

        peer, recipe = loaded(clip, CLIP, steps.recipe.device), steps.recipe
        judge = CosineFilter(peer.model, peer.tokenizer, steps.ground.px(recipe), peer.fingerprint, recipe.device)
        return with_scores(folder, steps, captioner, matcher, capfilt, {CLIP_SCORES: judge})

    config = {"peer": CLIP.name, "device": steps.recipe.device}
    return steps.home.run(step("clip-scores", config, capfilt, clip), work)


def scores(trained: Trained) -> Run:
    """AUC per noise kind of our filter's scores and of CLIP's, on the same unseen web pairs; none of own pairs."""
    steps, recipe = trained.student, trained.student.recipe
    clip = clip_filter(steps)
    _, matcher, _ = trained.makers

    def work(folder: Path) -> dict[str, Any]:
        if steps.ground != WORLD:  # by value: a worker has a copy of its own
            return {}
        return protocol.filter_auc(model_of(matcher), loaded(clip, CLIP, recipe.device), recipe)

    config = steps.ground.measured_by(recipe) | {"peer": CLIP.name}
    return steps.home.run(step("filter-auc", config, matcher, clip), work)


def zero_shot(trained: Trained) -> Run:
    """A BLIP straight after pre-training, before any human-annotated pair tunes it: retrieval and captions."""
    steps, model = trained.student, trained.model
    work = lambda folder: protocol.before_tuning(model_of(model), steps.recipe)
    return steps.home.run(step("zero-shot", WORLD.measured_by(steps.recipe), model), work)


def flops(trained: Trained) -> Run:
    """Floating-point operations a sample of pre-training."""
    return operations(trained.student)


@dataclass(frozen=True, kw_only=True)
class PeerArm:
    """CLIP or CoCa in BLIP's place: trained from scratch on the same pairs, measured by the same protocol."""

    name: str
    about: str
    peer: Peer
    equal_operations: bool = False
    """As many floating-point operations as BLIP's pre-training takes, in place of as many samples."""
    declared: tuple[str, ...] = ()
    """None: a claim that compares at equal operations says so itself."""

    def runs(self, lab: Lab) -> dict[str, Run]:
        """Before and after fine-tuning, keyed as a BLIP's, and the operations of a sample."""
        steps, peer = Steps(lab.home, lab.recipe, lab.seed, lab.ground), self.peer
        model = self._model(steps)
        tuned = tuned_for_retrieval(steps, peer, model)
        speaker = tuned_for_captions(steps, peer, model) if peer.speaks else None
        return {
            "zero_shot": self._worth(steps, model, model if peer.speaks else None),
            "worth": self._worth(steps, tuned, speaker),
            "flops": operations(steps, peer),
        }

    def seen(self, lab: Lab) -> Budget | None:
        """Of its pre-training; None where that is not done."""
        found = self._model(Steps(lab.home, lab.recipe, lab.seed, lab.ground)).result
        return Budget(found["samples"], found["pairs"]) if found else None

    def _model(self, steps: Steps) -> Run:
        return pretrained(steps, self.peer, equal_operations=self.equal_operations)

    def _worth(self, steps: Steps, reader: Run, speaker: Run | None) -> Run:
        recipe, parents = steps.recipe, [reader] if speaker is None else [reader, speaker]

        def work(folder: Path) -> dict[str, Any]:
            models = [loaded(run, self.peer, recipe.device) for run in parents]
            return protocol.of_peer(models[0], models[1] if speaker else None, recipe)

        config = WORLD.measured_by(recipe) | {"peer": self.peer.name}
        return steps.home.run(step("peer-worth", config, *parents), work)
