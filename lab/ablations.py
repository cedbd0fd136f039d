"""The paper's tables as data: of each its question and its arms; what goes beyond the paper is in `ablation.beyond`."""

from dataclasses import replace

from blip.errors import InputError
from blip.generate import Decoding
from lab.ablation.arms import Arm, worth
from lab.ablation.beyond import BEYOND, CANDIDATES, FILTERS, MIXES, ROUNDS
from lab.ablation.ledger_arms import Sharing
from lab.ablation.measures import cost, diversity
from lab.ablation.table import C_ONLY, CAPFILT, F_ONLY, MORE_WEB, NONE, TRUTH, Ablation
from lab.ablation.tunings import JOINT_CAPTIONER, JOINT_FILTER, ONE_MODEL, TWINS
from lab.mixes import BOTH, FILTERED_WEB, RAW, UNFILTERED
from lab.options import did_you_mean
from lab.paper import MORE_TEXTS

_BEAM = Decoding(strategy="beam", num_beams=3)
_PEAKS = (5e-4, 1e-3, 1.5e-3)  # of the learning rate in pre-training; the last is that of every other table

TABLE1 = Ablation(
    "table1",
    "Do captioner and filter help, each and together?",
    "Table 1",
    (NONE, CAPFILT, F_ONLY, C_ONLY),
)
_LARGE_IMAGE_ENCODER = (
    replace(NONE, name="none, larger image encoder", about="image encoder twice as wide", student=("widen_image=2",)),
    replace(
        CAPFILT,
        name="both, larger image encoder",
        about="image encoder twice as wide, captioner and filter too",
        student=("widen_image=2",),
        teacher=("widen_image=2",),
    ),
)
LARGER = Ablation(
    "table1-larger",
    "Do they help when captioner and filter, the image encoder or the web are larger?",
    "Table 1",
    (
        NONE,
        replace(CAPFILT, name="both, larger CapFilt", about="captioner and filter twice as wide as the student", teacher_width=2),
        replace(CAPFILT, name="both, longer CapFilt", about="captioner and filter pre-trained on three times the samples", teacher_times=3.0),
        *_LARGE_IMAGE_ENCODER,
        *(
            # The student's rate alone, as in table1-rates.
            replace(arm, name=f"{arm.name}, {_PEAKS[0]:g}", student=(*arm.student, f"pretrain.peak={_PEAKS[0]:g}"))
            for arm in _LARGE_IMAGE_ENCODER
        ),
        replace(NONE, name="none, more web", about="8 times the web pairs, equal samples", more_web=MORE_WEB),
        replace(CAPFILT, name="both, more web", about="8 times the web pairs, equal samples", more_web=MORE_WEB),
    ),
)
EPOCHS = Ablation(
    "table1-epochs",
    "Do captioner and filter help at equal epochs, not equal samples?",
    "Table 1",
    (
        NONE,
        replace(F_ONLY, name="F, equal epochs", budget=FILTERED_WEB),
        replace(C_ONLY, name="C, equal epochs", budget=UNFILTERED),
        replace(CAPFILT, name="both, equal epochs", budget=BOTH),
    ),
)
TABLE1_RATES = Ablation(
    "table1-rates",
    "Do captioner and filter help at a lower learning rate, which suits ITC better?",
    "beyond the paper",
    tuple(
        # The student's alone: at every rate the texts come from the same captioner and filter.
        replace(arm, name=f"{arm.name}, {peak:g}", student=(f"pretrain.peak={peak:g}",))
        for arm in (NONE, CAPFILT)
        for peak in (_PEAKS[0], _PEAKS[-1])
    ),
)
COMBINATIONS = Ablation(
    "combinations",
    "Do captioner and filter help with combinations of objects that no training picture shows?",
    "beyond the paper",
    tuple(replace(arm, everywhere=("level=nano-combinations",)) for arm in (NONE, CAPFILT)),
)
TABLE2 = Ablation(
    "table2",
    "Does nucleus sampling beat beam search for synthetic captions, and is it diversity or noise?",
    "Table 2",
    (
        NONE,
        replace(CAPFILT, name="nucleus", about="nucleus sampling, learned filter", measures=(worth, diversity)),
        replace(CAPFILT, name="nucleus, t 1", about="nucleus sampling as published, learned filter", decoding=Decoding(), measures=(worth, diversity)),
        replace(CAPFILT, name="beam", about="beam search, learned filter", decoding=_BEAM, measures=(worth, diversity)),
        replace(CAPFILT, name="nucleus, truth", about="nucleus sampling, truth as filter", mix=TRUTH, measures=(worth, diversity)),
        replace(CAPFILT, name="nucleus, t 1, truth", about="nucleus sampling as published, truth as filter", decoding=Decoding(), mix=TRUTH, measures=(worth, diversity)),
        replace(CAPFILT, name="beam, truth", about="beam search, truth as filter", decoding=_BEAM, mix=TRUTH, measures=(worth, diversity)),
    ),
)
_SHARED = (
    ("all", "all parameters"),
    ("all-but-ca", "all but cross-attention"),
    ("all-but-sa", "all but self-attention, the paper's choice"),
    ("none", "nothing"),
)
TABLE3 = Ablation(
    "table3",
    "What should text encoder and decoder share in pre-training?",
    "Table 3",
    tuple(
        replace(NONE, name=name, about=about, student=(f"sharing={name}",), measures=(worth, cost))
        for name, about in _SHARED
    ),
)
TABLE3_RATES = Ablation(
    "table3-rates",
    "Is what should be shared the same at every learning rate?",
    "beyond the paper",
    tuple(
        replace(NONE, name=f"{name}, {peak:g}", about=about, student=(f"sharing={name}",), everywhere=(f"pretrain.peak={peak:g}",))
        for name, about in _SHARED
        for peak in _PEAKS
    ),
)
TABLE4 = Ablation(
    "table4",
    "Should captioner and filter share parameters?",
    "Table 4",
    (
        replace(CAPFILT, name="decoupled", about="captioner and filter fine-tuned separately"),
        # One model has no prompt, so that beside it a captioner of its own must have none either.
        replace(CAPFILT, name="decoupled, no prompt", about="captioner and filter fine-tuned separately, it without a prompt", prompt=""),
        replace(CAPFILT, name="shared", about="captioner and filter fine-tuned as one model", tuning=ONE_MODEL),
        replace(CAPFILT, name="twins", about="two models, each fine-tuned as the one model is", tuning=TWINS),
    ),
)
BIAS = Ablation(
    "bias",
    "Does a filter spare the mistakes of the captioner that it shares parameters with?",
    "Table 4",
    (
        Sharing(name="shared", about="captioner and filter are one model", tuning=ONE_MODEL),
        Sharing(name="twins", about="two models from one pre-trained model, each fine-tuned as the one model is", tuning=TWINS),
        Sharing(name="joint captioner", about="as twins, but the filter by its own losses", tuning=JOINT_CAPTIONER),
        Sharing(name="joint filter", about="as twins, but the captioner by its own loss", tuning=JOINT_FILTER),
        Sharing(name="same pre-training", about="fine-tuned separately from the same pre-trained model, each by its own losses"),
        Sharing(name="joint filter, no prompt", about="as joint filter, the captioner without a prompt", tuning=JOINT_FILTER, prompt=""),
        Sharing(name="same pre-training, no prompt", about="as same pre-training, the captioner without a prompt", prompt=""),
        Sharing(name="separate", about="pre-trained separately", separate=True),
        *(
            Sharing(name=f"{name}, longer", about="fine-tuned on eight times the samples", tuning=tuning, longer=8)
            for name, tuning in (("shared", ONE_MODEL), ("twins", TWINS))
        ),
    ),
)
TABLE12 = Ablation(
    "table12",
    "Is the gain only longer training?",
    "Table 12",
    (
        replace(NONE, name="web, 1"),
        replace(CAPFILT, name="web, r", about="web texts, r times the samples", mix=RAW, budget=BOTH),
        replace(CAPFILT, name="CapFilt, 1"),
        replace(CAPFILT, name="CapFilt, r", about="r times the samples, r = bootstrapped texts / web texts", budget=BOTH),
        # Here r is little above 1; the paper's r asks what a training that is longer by so much would do.
        replace(NONE, name="web, 1.61", about="web texts, as many times the samples as in the paper", times=MORE_TEXTS),
        replace(CAPFILT, name="CapFilt, 1.61", about="as many times the samples as in the paper", times=MORE_TEXTS),
    ),
)
TABLE13 = Ablation(
    "table13",
    "Is a new model better than one that continues?",
    "Table 13",
    (
        replace(CAPFILT, name="continued", about="the first model continues for N samples; all else begins anew", continued=True),
        replace(CAPFILT, name="new, N", about="a new model for N samples"),
        replace(CAPFILT, name="new, N0 + N", about="a new model for as many samples as the continued one saw in all", times=2.0),
    ),
)


def _also(table: Ablation, *names: str) -> list[Arm]:
    """Arms of another table, to be changed."""
    return [arm for arm in table.arms if isinstance(arm, Arm) and arm.name in names]


HARDER = Ablation(
    "harder",
    "What holds in a harder world, where more is left to be gained?",
    "beyond the paper",
    tuple(
        # Up to three objects, and four times the scenes to search among: at level nano many arms find nearly all.
        replace(arm, everywhere=("level=nano-three",), more_scenes=4)
        for arm in (
            NONE,
            CAPFILT,
            replace(CAPFILT, name="beam", about="beam search", decoding=_BEAM),
            *_also(TABLE4, "decoupled, no prompt", "shared", "twins"),
            *_also(MIXES, "synthetic only", "synthetic where raw fails"),
            *_also(CANDIDATES, "2 candidates"),
            *_also(ROUNDS, "2 rounds"),
            *_also(FILTERS, "ITC", "CLIP", "truth"),
        )
    ),
)
PAPER = (TABLE1, TABLE2, TABLE3, TABLE4, BIAS, TABLE12, TABLE13, LARGER)
ABLATIONS = {one.name: one for one in (*PAPER, *BEYOND, EPOCHS, TABLE3_RATES, TABLE1_RATES, COMBINATIONS, HARDER)}
"""In the order of the claims."""


def ablation(name: str) -> Ablation:
    """An ablation by name."""
    if name not in ABLATIONS:
        known = ", ".join(ABLATIONS)
        raise InputError(f"There is no ablation {name!r}{did_you_mean(name, ABLATIONS)}; choose one of {known}.")
    return ABLATIONS[name]
