"""The findings in few words: sentences, each with what the records must say for it to stand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lab.claim_records import Measured
from lab.claims_report import CEILING
from lab.decided import Decided
from lab.outcomes import OUTCOMES, effect_in
from lab.stats import EQUIVALENT, OPPOSITE, REPRODUCED, UNDECIDED

_R1, _STRICT, _OUT, _CIDER = "R@1 (decides)", "strictly true captions", "strictly true, out of domain", "CIDEr-D"
Known = Mapping[str, tuple[Decided, Measured]]
"""Decided claims by their ids, with the record that decides each."""


@dataclass(frozen=True)
class Line:
    """A sentence of the summary, and what it rests on."""

    says: str
    found: Sequence[str] = ()
    """Claims that are reproduced, or hold."""
    undecided: Sequence[str] = ()
    equivalent: Sequence[str] = ()
    opposite: Sequence[str] = ()
    outcomes: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """By claim and outcome: on which side of 0 the interval lies, 1 or -1; 0 where it holds 0."""
    near_ceiling: Sequence[str] = ()
    """Claims whose control leaves little to be gained."""
    small: Sequence[str] = ()
    """Claims whose mean is beyond 0 and smaller than what counts."""

    def stands(self, known: Known) -> bool:
        """Whether the records say all of it."""
        wanted = {REPRODUCED: self.found, UNDECIDED: self.undecided, EQUIVALENT: self.equivalent, OPPOSITE: self.opposite}
        verdicts = [(claim, verdict) for verdict, own in wanted.items() for claim in own]
        ids = {*(claim for claim, _ in verdicts), *(claim for claim, _ in self.outcomes), *self.near_ceiling, *self.small}
        return (
            ids <= set(known)
            and all(known[claim][0].row["verdict"] == verdict for claim, verdict in verdicts)
            and all(_side(known, *one) == side for one, side in self.outcomes.items())
            and all(CEILING in known[claim][0].doubt for claim in self.near_ceiling)
            and all(known[claim][0].is_small for claim in self.small)
        )


def in_words(shown: Mapping[str, Measured]) -> str:
    """The sentences that the records bear out, as a Markdown list; those that they do not are left out."""
    known = {one.claim.id: (one, measured) for measured in shown.values() for one in measured.decided}
    return "\n".join(f"- {line.says}" for line in LINES if line.stands(known))


def _side(known: Known, claim: str, name: str) -> int | None:
    one, measured = known[claim]
    (outcome,) = (outcome for outcome in OUTCOMES if outcome.name == name)
    effect = effect_in(outcome, one.claim, measured.arms)
    if effect is None:
        return None
    return int(effect.interval.low > 0) - int(effect.interval.high < 0)


LINES = (
    Line(
        "**Retrieval.** A model pre-trained on what captioner and filter made of the web retrieves better than one pre-trained on the web itself: at equally many "
        "samples and epochs, at a third of the learning rate, with a larger image encoder or larger captioner and filter, among new combinations of objects, and in a "
        "harder world. Captioner alone and filter alone help too.",
        found=(
            *("capfilt", "filter", "captioner", "capfilt-equal-epochs", "filter-equal-epochs", "captioner-equal-epochs", "capfilt-low-rate"),
            *("larger-image-encoder", "larger-capfilt", "capfilt-combinations", "capfilt-harder"),
        ),
    ),
    Line(
        "**Both or one.** The two together retrieve better than either alone, as the paper finds.",
        found=("both-over-filter", "both-over-captioner"),
    ),
    Line(
        "**What it teaches.** Captioner and filter help ITC and ITM to know which colour belongs to which object (\"a red hat and a blue ball\", not \"a blue hat and a red "
        "ball\"), and ITM more with that than with a wrong colour. The filter alone helps ITM with it; whether the captioner alone does is undecided.",
        found=("capfilt-binding", "capfilt-binding-itc", "capfilt-binding-most", "filter-binding"),
        undecided=("captioner-binding",),
    ),
    Line(
        "**Other tasks.** Whether captioner and filter together help visual dialog, NLVR and VQA, each fine-tuned alike, is undecided. Without fine-tuning ITM tells worse "
        "which kind of object a picture shows, named alone (\"a hat\"), than after pre-training on the web itself; with truth as filter it tells kinds better than with the learned one.",
        found=("truth-kinds-itm",),
        opposite=("capfilt-kinds-itm",),
        undecided=("capfilt-dialog", "capfilt-nlvr", "capfilt-vqa"),
    ),
    Line(
        "**A filter that keeps partial texts.** The usual filter drops true texts that name only a part of a picture. Fine-tuned on captions of which half are partial it keeps "
        "more of them, and many more if ITM's negatives are drawn at random and not hard, for a short text is true of many pictures. With such a filter captioner and filter help "
        "ITM to tell kinds, too; whether it costs or gains anything in retrieval is undecided.",
        found=("parts-kept", "parts-random-kept", "parts-kinds-itm", "parts-random-kinds-itm", "capfilt-parts-kinds-itm"),
        undecided=("parts-random-r1",),
    ),
    Line(
        "**Captions.** What is good for retrieval is not all good for captions: synthetic captions without the filter make the student's own less true and lower their "
        "CIDEr-D, the filter alone makes them truer, and with both they are less often true than with the filter alone.",
        outcomes={("captioner", _STRICT): -1, ("captioner", _CIDER): -1, ("filter", _STRICT): 1, ("both-over-filter", _STRICT): -1, ("both-over-filter", _OUT): -1},
    ),
    Line(
        "**Which captioner.** Of captioners of one design, pre-trained an eighth to twice as long, each with a filter of the same model, that of the higher CIDEr makes the "
        "texts that are worth more.",
        found=("benchmark-predicts-use",),
    ),
    Line(
        "**How captions are drawn.** At the paper's temperature of 1 captions by nucleus sampling are noisier, as the paper says, and worth less than those of beam search, "
        "the opposite of what it finds.",
        found=("nucleus-noisier-published",),
        outcomes={("nucleus-published", _R1): -1},
    ),
    Line(
        "**Longer training.** CapFilt beats the web's texts repeated for as many samples; whether longer training alone gains less than half of that is undecided.",
        found=("not-longer-training",),
        undecided=("longer-gains-little", "longer-gains-little-papers-r"),
    ),
    Line(
        "**Near the ceiling.** With CapFilt a model of the small world finds nearly every scene, so that nucleus sampling or beam search, ITM or another filter, a second "
        "caption, a second round, one model or two can hardly be told apart by retrieval: all are undecided.",
        undecided=("nucleus", "itm-over-itc", "itm-over-clip", "second-candidate", "second-round", "decoupled"),
        near_ceiling=("nucleus", "itm-over-itc", "itm-over-clip", "second-candidate", "second-round", "decoupled"),
    ),
    Line(
        "**A harder world** leaves room, and at these seeds the same are undecided there; a perfect filter would be better still, and raw captions beside synthetic ones "
        "add something, but less than what counts.",
        found=("truth-over-itm-harder",),
        undecided=("nucleus-harder", "itm-over-itc-harder", "itm-over-clip-harder", "second-candidate-harder", "second-round-harder", "decoupled-harder"),
        small=("union-over-synthetic-harder",),
    ),
    Line(
        "**Sharing.** At one learning rate the paper's way of sharing beats the two that share less, and is undecided against sharing all; at each way's own best rate nothing is decided.",
        found=("sharing-over-all-but-ca", "sharing-over-none"),
        undecided=("sharing-over-all", "sharing-over-all-but-ca-best-rates", "sharing-over-none-best-rates"),
    ),
    Line(
        "**Confirmation bias.** A filter that is one model with its captioner spares its mistakes; all fine-tuned alike, sharing all parameters makes no difference that "
        "counts over sharing the pre-training.",
        found=("bias-shared",),
        equivalent=("bias-grows-alike", "bias-grows-longer"),
    ),
    Line(
        "**Objectives and peers.** ITC, ITM and LM each help; momentum and hard negatives are undecided, and so is whether BLIP retrieves better than CLIP or CoCa.",
        found=("itc", "itm", "lm"),
        undecided=("momentum", "hard-negatives", "blip-over-clip", "blip-over-coca"),
    ),
)
