"""`lab evaluate visdial`: where a dialog model ranks the true answers, and a submission file (paper 5.5, Table 9)."""

from dataclasses import dataclass, field
from pathlib import Path

from blip.data.benchmarks.visdial import read_relevance, read_visdial, write_ranks
from blip.errors import InputError
from blip.metrics.dialog import candidate_ranks
from blip.tasks.visdial import MAX_TOKENS, visdial_from
from lab.downstream.dialog_rows import DialogSet, visdial_dialogs, world_dialogs
from lab.downstream.reporting import report
from lab.downstream.visdial import HELD_OUT, ceiling, chance, measures, scored, spread
from lab.inference import Machine, Weights, begin_evaluation, together, write_summary


@dataclass(frozen=True, kw_only=True)
class Options:
    """Rank the candidate answers of visual dialog: NDCG, MRR, R@1, R@5, R@10, mean rank."""

    out: Path
    """Folder for summary.json."""
    weights: Weights
    """The dialog model: what lab finetune visdial left, or any weights with an ITM reading."""
    data: Path | None = None
    """visdial_1.0_val.json or visdial_1.0_test.json."""
    images: Path | None = None
    """Folder of the images."""
    relevance: Path | None = None
    """Dense annotations, for NDCG."""
    world: str | None = None
    """Held-out dialogs of the generated world in place of --data: nano, tiny, small, medium or rich."""
    world_dialogs: int = HELD_OUT
    """How many of them."""
    submission: Path | None = None
    """Write the ranks to this file, as the VisDial server takes them."""
    max_tokens: int = MAX_TOKENS
    """Tokens of history, question and answer, as in training."""
    machine: Machine = field(default_factory=Machine)
    """How the model runs."""


def main(options: Options) -> int:
    """Score every candidate, write the submission where it is asked for, measure where answers are known."""
    if (options.world is None) == (options.data is None):
        raise InputError("Give either --data with --images, or --world.")
    with together(options.machine):
        data, loaded = _questions(options), options.weights.load(options.machine.device)
        model = visdial_from(loaded.model).eval()
        begin_evaluation("evaluate visdial", options, model=loaded.fingerprint)
        scores = scored(model, loaded.tokenizer, data, options.machine, max_tokens=options.max_tokens)
    if options.submission is not None:
        ranks = ((*name, candidate_ranks(values[None])[0].tolist()) for name, values in scores.items())
        write_ranks(options.submission, ranks)
        print(f"submission: {options.submission}")
    found, mark, counted = measures(data, scores), loaded.fingerprint, {"questions": len(data.names)}
    if not found:
        path = write_summary(options.out, "evaluate visdial", {"counted": counted}, options, model=mark)
        print(f"{len(data.names):,} questions whose answers are hidden\nsummary: {path}")
        return 0
    best = ceiling(data) if options.world else None
    report(
        options.out,
        "visdial",
        found,
        options,
        model=mark,
        chance=chance(data),
        ceiling=best,
        counted=counted,
        spread=spread(data, scores),
    )
    return 0


def _questions(options: Options) -> DialogSet:
    if options.world is not None:
        return world_dialogs(options.world, options.world_dialogs, "held-out")
    if options.data is None or options.images is None:
        raise InputError("--data needs the folder of its images: give --images.")
    relevance = read_relevance(options.relevance) if options.relevance else None
    return visdial_dialogs(read_visdial(options.data, options.images), relevance)
