"""Ablations beyond the paper's tables: mixes of texts, captioners, noise, sampling, filters, objectives, other tasks, peers."""

from dataclasses import replace

from blip.capfilt import Policy
from blip.generate import Decoding
from lab.ablation.arms import NUCLEUS, teacher, worth
from lab.ablation.binding import binding
from lab.ablation.breadth import dialog, kept, kinds, questions
from lab.ablation.ledger_arms import Sweep
from lab.ablation.measures import diversity, nlvr
from lab.ablation.peer_arms import CLIP_SCORES, PeerArm, clip_scored, flops, scores, zero_shot
from lab.ablation.table import C_ONLY, CAPFILT, F_ONLY, MORE_WEB, NONE, TRUTH, Ablation
from lab.ablation.tunings import PARTS, PARTS_RANDOM
from lab.mixes import SYNTHETIC, UNFILTERED, Mix
from lab.peers.kinds import CLIP, COCA
from lab.recipes import CELL

MIXES = Ablation(
    "mixes",
    "How should raw and synthetic captions be mixed?",
    "beyond the paper",
    (
        replace(NONE, name="raw only"),
        replace(CAPFILT, name="synthetic only", about="synthetic captions that the filter keeps", mix=SYNTHETIC),
        replace(CAPFILT, name="union", about="all that the filter keeps"),
        replace(
            CAPFILT,
            name="synthetic where raw fails",
            about="synthetic captions of images whose web text the filter drops",
            mix=Mix(where_raw_fails=True),
        ),
        *(
            replace(
                CAPFILT,
                name=f"mixed {share:.0%}",
                about="one text an image, unfiltered: synthetic with this probability",
                mix=Mix(policy=UNFILTERED.policy, synthetic_share=share),
            )
            for share in (0.25, 0.5, 0.75)
        ),
    ),
)
CAPTIONERS = Ablation(
    "captioners",
    "Does a captioner's benchmark score predict the use of its captions?",
    "beyond the paper",
    tuple(
        replace(
            CAPFILT,
            name=f"captioner x{times:g}",
            about="captioner and filter from a model of so many times the samples",
            teacher_times=times,
            measures=(worth, teacher),
        )
        for times in (0.125, 0.25, 0.5, 1.0, 2.0)
    ),
)
THRESHOLD = Ablation(
    "threshold",
    "What does the threshold keep, of what truth, and is the match probability calibrated?",
    "beyond the paper",
    (Sweep(name="sweep", about="every threshold over one ledger"),),
)
STRICTNESS = Ablation(
    "strictness",
    "Should synthetic captions have a stricter threshold than the web's?",
    "beyond the paper",
    (
        replace(CAPFILT, name="0.5", about="the published threshold for both"),
        *(
            replace(CAPFILT, name=name, about=about, mix=Mix(policy=policy))
            for name, about, policy in (
                ("synthetic 0.8", "0.8 for synthetic captions, 0.5 for the web's", Policy(synthetic=0.8)),
                ("0.8", "0.8 for both", Policy(web=0.8, synthetic=0.8)),
            )
        ),
    ),
)
NOISE = Ablation(
    "noise",
    "How does the gain depend on the noise of the web?",
    "beyond the paper",
    tuple(
        replace(arm, name=f"{arm.name}, noise {noise:.0%}", everywhere=(f"noise={noise}",))
        for noise in (0.0, 0.2, 0.4, 0.6, 0.8)
        for arm in (NONE, CAPFILT)
    ),
)
CANDIDATES = Ablation(
    "candidates",
    "Do several synthetic captions an image help?",
    "beyond the paper (its future work)",
    tuple(
        replace(CAPFILT, name=f"{n} candidates", about="synthetic captions an image", decoding=replace(NUCLEUS, candidates=n))
        for n in (1, 2, 4)
    ),
)
SAMPLING = Ablation(
    "sampling",
    "How warm should captions be drawn?",
    "beyond the paper (p of 0.85, 0.9 and 0.95 were alike)",
    tuple(
        replace(CAPFILT, name=name, about="decoding of the synthetic captions", decoding=decoding, measures=(worth, diversity))
        for name, decoding in (
            ("greedy", Decoding(strategy="beam", num_beams=1)),
            ("t 0.5", NUCLEUS),
            ("t 0.75", Decoding(temperature=0.75)),
            ("t 1, p 0.9", Decoding()),
            ("t 1, p 0.5", Decoding(top_p=0.5)),
            ("t 1, p 0.95", Decoding(top_p=0.95)),
        )
    ),
)
ROUNDS = Ablation(
    "rounds",
    "Do more rounds of bootstrapping help?",
    "beyond the paper (its future work)",
    tuple(replace(CAPFILT, name=f"{n} rounds", about="rounds of CapFilt", rounds=n) for n in (1, 2, 3)),
)
_AT = "peak of the learning rate in pre-training"
_BY_CLIP = Policy(filter=CLIP_SCORES, column="cosine")
FILTERS = Ablation(
    "filters",
    "Which score should filter?",
    "beyond the paper",
    (
        replace(CAPFILT, name="ITM", about="match probability at 0.5"),
        *(
            replace(CAPFILT, name=name, about="the best by this score, as many as ITM keeps", mix=Mix(policy=policy, as_many_as=Policy()))
            for name, policy in (
                ("ITC", Policy(column="itc")),
                ("ITM + ITC", Policy(weighted_sum=("itm.itm_prob:1", "itm.itc:1"))),
            )
        ),
        *(
            replace(CAPFILT, name=name, about=about, mix=mix, rescored=clip_scored, measures=(worth, scores))
            for name, about, mix in (
                (
                    "CLIP",
                    "the best by the cosine of a CLIP trained by open_clip on the same pairs, as many as ITM keeps",
                    Mix(policy=_BY_CLIP, as_many_as=Policy()),
                ),
                (
                    "ITM + CLIP",
                    "the best by the mean of both ranks, as many as ITM keeps",
                    Mix(policy=Policy(), ranked_with=_BY_CLIP, as_many_as=Policy()),
                ),
            )
        ),
        replace(CAPFILT, name="truth", about="truth as filter", mix=TRUTH),
    ),
)
OBJECTIVES = Ablation(
    "objectives",
    "What does each objective, the momentum encoder and hard negatives give?",
    "beyond the paper",
    (
        replace(NONE, name="ITC + ITM + LM"),
        *(
            replace(NONE, name=name, about=about, student=changes)
            for name, about, changes in (
                ("no momentum", "ITC in the batch, no momentum encoder, no queue", ("objectives.momentum=none", "objectives.queue=0")),
                ("random negatives", "ITM with random negatives", ("objectives.negatives=random",)),
                ("no ITC", "ITM and LM", ("objectives.itc_weight=0",)),
                ("no ITM", "ITC and LM", ("objectives.itm_weight=0",)),
                ("no LM", "ITC and ITM", ("objectives.lm_weight=0",)),
            )
        ),
    ),
)
NLVR = Ablation(
    "nlvr",
    "Do web data and CapFilt help NLVR where its pictures are drawn as the web's, and not where otherwise?",
    "Table 8",
    (
        replace(NONE, name="none", measures=(nlvr,)),
        replace(NONE, name="more web", about="8 times the web pairs, equal samples", more_web=MORE_WEB, measures=(nlvr,)),
        replace(CAPFILT, name="both", measures=(nlvr,)),
    ),
)
RATES = Ablation(
    "rates",
    "At which learning rate does each model learn most?",
    "beyond the paper",
    (
        *(
            replace(NONE, name=f"BLIP, {peak:g}", about=_AT, everywhere=(f"pretrain.peak={peak:g}",))
            for peak in (5e-4, 1e-3, 1.5e-3, 3e-3)
        ),
        *(
            PeerArm(name=f"{peer.name}, {peak:g}", about=_AT, peer=replace(peer, rate=peak / CELL.pretrain.peak))
            for peer, lowest in ((CLIP, (1.25e-4,)), (COCA, ()))  # until the best is not at an edge
            for peak in (*lowest, 2.5e-4, 5e-4, 1e-3, 1.5e-3)
        ),
    ),
)
PEERS = Ablation(
    "peers",
    "Does BLIP learn more from the same web than open_clip's CLIP and CoCa of like size?",
    "beyond the paper",
    (
        replace(NONE, name="BLIP", about="ITC, ITM and LM; ranked by ITC, then ITM", measures=(worth, zero_shot, flops)),
        PeerArm(name="CLIP", about="open_clip's CLIP, equal samples; ranked by cosine; its loss takes pairs of one meaning as negatives", peer=CLIP),
        PeerArm(name="CoCa", about="open_clip's CoCa, equal samples; ranked by cosine; its loss takes pairs of one meaning as negatives", peer=COCA),
        PeerArm(name="CLIP, equal operations", about="as many floating-point operations as BLIP", peer=CLIP, equal_operations=True),
        PeerArm(name="CoCa, equal operations", about="as many floating-point operations as BLIP", peer=COCA, equal_operations=True),
    ),
)
BINDING = Ablation(
    "binding",
    "Do captioner and filter help to tell which colour belongs to which object?",
    "beyond the paper",
    tuple(
        replace(arm, measures=(worth, binding))
        for arm in (
            *(NONE, CAPFILT, F_ONLY, C_ONLY),
            *(
                replace(arm, name=f"{arm.name}, noise {noise:.0%}", everywhere=(f"noise={noise}",))
                for noise in (0.0, 0.2, 0.4)
                for arm in (NONE, CAPFILT)
            ),
        )
    ),
)
BREADTH = Ablation(
    "breadth",
    "Do captioner and filter help visual dialog, NLVR, VQA, and to tell kinds that are named without a colour?",
    "beyond the paper",
    (
        replace(NONE, measures=(worth, kinds, dialog, nlvr, questions)),
        replace(CAPFILT, measures=(worth, kinds, dialog, nlvr, questions, kept)),
        *(replace(arm, measures=(worth, kinds)) for arm in (F_ONLY, C_ONLY)),
        replace(CAPFILT, name="truth", about="truth as filter", mix=TRUTH, measures=(worth, kinds)),
        *(
            replace(CAPFILT, name=f"both, {tuning}", about=about, tuning=tuning, measures=(worth, kinds, kept))
            for tuning, about in (
                (PARTS, "half of the captions that the filter is fine-tuned on are partial: they name a part of what is shown"),
                (PARTS_RANDOM, "such captions, and ITM's negatives drawn at random"),
            )
        ),
    ),
)
BEYOND = (MIXES, CAPTIONERS, NLVR, THRESHOLD, STRICTNESS, NOISE, CANDIDATES, SAMPLING, ROUNDS, FILTERS, OBJECTIVES, RATES, PEERS, BINDING, BREADTH)
