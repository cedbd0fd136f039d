"""The arms as tables: what each was worth, mean and spread over seeds, with the paper's row beside it."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lab import paper
from lab.ablation.breadth import SAID, SAYS
from lab.ablation.noted import Budgets, noted
from lab.ablation.own_table import Table
from lab.arm_metrics import at, chosen, path_of, without
from lab.claim_records import Measured
from lab.claims_report import SMOKE
from lab.page_parts import markdown
from lab.whose_record import OWN_PAIRS, WORLD, command_of, on_own_pairs, scale_of
from lab.world.noise import KINDS

METRICS = {
    "TR@1": "worth.retrieval.all.tr1",
    "IR@1": "worth.retrieval.all.ir1",
    "R@1, other style": "worth.retrieval.sketch.r1",
    "R@1, ITC alone": "worth.retrieval.all.itc_r1",
    "R@1, zero-shot": "zero_shot.retrieval.all.r1",
    "R@1, zero-shot, ITC alone": "zero_shot.retrieval.all.itc_r1",
    "strictly true": "worth.captions.all.strictly_true",
    "strictly true, out of domain": "worth.captions.out.strictly_true",
    "CIDEr": "worth.captions.all.cider",
    "strictly true, zero-shot": "zero_shot.captions.all.strictly_true",
    "CIDEr, zero-shot": "zero_shot.captions.all.cider",
    "AUC near miss": "worth.filter.auc.near_miss",
    **{f"AUC {kind}, {score}": f"scores.{score}.{kind}" for kind in KINDS for score in ("ITM", "CLIP")},
    "operations a sample": "flops.flop_a_sample",
    "synthetic kept": "capfilt.kept_of_synthetic",
    "synthetic true": "capfilt.origins.synthetic.true_before",
    "different bigrams": "diversity.all.distinct_2",
    "parameters": "cost.parameters",
    "step, s": "cost.step_seconds",
    "saved bytes": "cost.saved_bytes",
    "NLVR": "nlvr.flat",
    "NLVR, other style": "nlvr.sketch",
    "ITM, colours swapped": "binding.itm.swapped",
    "ITM, wrong colour": "binding.itm.colour",
    "ITM, wrong kind": "binding.itm.kind",
    "ITC, colours swapped": "binding.itc.swapped",
    "NDCG, visual dialog": "dialog.ndcg",
    "VQA": "questions.accuracy",
    **{f"{name}, kinds {said}": f"kinds.{name.lower()}.{said}" for name in ("LM", "ITM", "ITC") for said in SAID},
    "ITM, kinds alone, all that is shown": "kinds.itm.one",
    "ITM, kinds alone, a part of it": "kinds.itm.more",
    **{f"web texts kept, {says}": f"kept.{says}.kept" for says in SAYS},
    "bias": "bias.bias",
    "noise ratio": "bias.noise_ratio",
}
"""Columns by their heads; a table has those that its arms were measured by."""
_TABLES = {
    "table1": ({"none": "14M", "F": "14M, F", "C": "14M, C", "both": "14M, C and F"}, paper.TABLE1),
    "table1-larger": (
        {
            "both, larger CapFilt": "129M, C and F large",
            "none, larger image encoder": "129M, ViT-L",
            "both, larger image encoder": "129M, ViT-L, C and F large",
            "none, more web": "129M",
            "both, more web": "129M, C and F",
        },
        paper.TABLE1,
    ),
    "table2": ({"none": "none", "nucleus": "nucleus", "nucleus, t 1": "nucleus", "beam": "beam"}, paper.TABLE2),
    "table3": ({name: name for name in paper.TABLE3}, paper.TABLE3),
    "table4": ({name: name for name in paper.TABLE4}, paper.TABLE4),
    "table12": (
        {
            "web, 1": "15.3M texts",
            **{f"web, {r}": "24.7M texts, replicated" for r in ("r", "1.61")},
            **{f"CapFilt, {r}": "24.7M texts, CapFilt" for r in ("r", "1.61")},
        },
        paper.TABLE12,
    ),
    "table13": ({"continued": "continued", "new, N": "new"}, paper.TABLE13),
}
_NLVR2 = {"both": "14M, C and F"}  # without CapFilt the paper has none
_HOW = (
    "Mean ± standard deviation over seeds; seeds that chose an arm's learning rate, or its world, count only where it has no other "
    "(arms.csv has them all). Samples and epochs are those of the student's pre-training. Shares are in "
    "percent; CIDEr-D is from 0 to 10 (the paper's is 100 times as large), AUC and different bigrams from 0 to 1. NLVR "
    "is accuracy."
)
_NO_SHARES = {"CIDEr", "CIDEr, zero-shot", "step, s", "different bigrams"} | {name for name in METRICS if name.startswith("AUC")}
_WHOLE = {"parameters", "saved bytes", "operations a sample"}
_BUDGET = {"samples": ",.0f", "epochs": ".2f"}


def arms_markdown(records: Sequence[Mapping[str, Any]], own: Table | None = None) -> str:
    """A heading and a table a record, with the command that measures it; shares in percent, mean and standard deviation over seeds.

    own: arms and claims, where they are none of the lab's.
    """
    return "\n\n".join([_HOW, *(_section(_measured(record, own), noted(record)) for record in _told(records))])


def arms_csv(records: Sequence[Mapping[str, Any]], own: Table | None = None) -> str:
    """A line an arm, seed and metric, unrounded; own as in `arms_markdown`."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["ablation", "scale", "pairs", "arm", "seed", "metric", "value"])
    for record in _told(records):
        result, budgets, table = record["result"], noted(record), _measured(record, own).table
        about = [result["ablation"], scale_of(result), OWN_PAIRS if on_own_pairs(result) else WORLD]
        for name, arm in result["arms"].items():
            for seed, found in arm["seeds"].items():
                values = {head: at(found, path_of(table, name, metric)) for head, metric in METRICS.items()}
                values |= budgets.get(name, {}).get(seed, {})
                for head, value in values.items():
                    if value is not None:
                        writer.writerow([*about, name, seed, head, value])
    return out.getvalue()


def published(ablation: str, arm: str) -> str:
    """The paper's row of an arm: COCO TR@1 / IR@1 / CIDEr, and what else its table says of it."""
    rows, table = _TABLES.get(ablation, ({}, {}))
    said = []
    if arm in rows:
        row = table[rows[arm]]
        said.append(f"{row[0]:.1f} / {row[1]:.1f} / {row[5]:.1f}")
    if ablation in ("table2", "table4") and arm in paper.NOISE_RATIO:
        said.append(f"filtered {paper.NOISE_RATIO[arm]:.0%}")
    if ablation == "table3":
        said.append(f"{paper.PARAMETERS[arm] / 1e6:.0f}M parameters")
    if ablation == "nlvr" and arm in _NLVR2:
        said.append("NLVR2 dev {:.2f}, test-P {:.2f}".format(*paper.NLVR2[_NLVR2[arm]]))
    return ", ".join(said) or "-"


def _told(records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [one for one in records if one["result"]["scale"] != SMOKE]


def _measured(record: Mapping[str, Any], own: Table | None) -> Measured:
    return Measured(record["result"]["ablation"], scale_of(record["result"]), record, own)


def _section(shown: Measured, budgets: Budgets) -> str:
    record, result, columns = shown.record, shown.record["result"], {}
    seeds = {name: without(own, chosen(shown.claims)) or own for name, own in shown.arms.items()}
    for column, metric in METRICS.items():
        each = {
            name: [v for one in own.values() if (v := at(one, path_of(shown.table, name, metric))) is not None]
            for name, own in seeds.items()
        }
        if any(each.values()):
            columns[column] = each
    head = ["arm", "seeds", *_BUDGET, *columns, "paper: COCO TR@1 / IR@1 / CIDEr"]
    rows = [
        [name, str(len(seeds[name])), *_spent(budgets.get(name, {})), *(_cell(head, own[name]) for head, own in columns.items()), published(result["ablation"], name)]
        for name in result["arms"]
    ]
    about = "\n".join(f"- {name}: {arm['about']}" for name, arm in result["arms"].items())
    whose = f" ({OWN_PAIRS})" if on_own_pairs(result) else ""
    title = f"## {result['question']}{whose}\n\n{result['source']}, `{command_of(record)}`"
    return f"{title}\n\n{markdown(head, rows)}\n\n{about}"


def _spent(budgets: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Samples and epochs, the mean over seeds."""
    each = {name: [one[name] for one in budgets.values() if one[name] is not None] for name in _BUDGET}
    return [f"{np.mean(own):{_BUDGET[name]}}" if own else "not noted" for name, own in each.items()]


def _cell(head: str, values: Sequence[float]) -> str:
    if not values:
        return "-"
    factor, digits = (1, 3) if head in _NO_SHARES else (100, 1)
    if head in _WHOLE:
        return f"{np.mean(values):,.0f}"
    spread = f" ± {factor * np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{factor * np.mean(values):.{digits}f}{spread}"
