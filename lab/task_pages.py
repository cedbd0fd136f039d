"""Blocks of pages on the downstream tasks."""

from typing import Any

from lab.bench.report import ratios, summary, table
from lab.page_parts import markdown, read_record, source

_RECALLS = ("tr1", "tr10", "ir1", "ir10")


def downstream() -> str:
    """Every task from pre-training and from nothing: means over seeds, the paired difference, chance and ceiling."""
    record = read_record("downstream")
    tasks = record["result"]["tasks"]
    rows = [_row(name, found) for name, found in tasks.items()]
    head = ["task", "measure", "pre-trained", "from nothing", "difference", "chance", "ceiling"]
    seeds = len(next(iter(tasks.values()))["values"]["pre-trained"])
    order = record["result"]["order of frames"]
    said = (
        f"Means over {seeds} seeds with the same fine-tuning in both columns; the difference with its paired 95% "
        f"t-interval. Level `{record['config']['level']}`. Which of a clip and its reversed twin a text means, "
        f"where only the order of frames can tell: {order['accuracy']:.2f} right, chance {order['chance']:.2f}. As "
        "published the method cannot see it."
    )
    return "\n".join([markdown(head, rows), "", said, "", source(record)])


def rerank() -> str:
    """Re-ranking and answer ranking beside the published way, one call a query."""
    record = read_record("bench/rerank-cpu")
    rows = []
    for name, title in (("retrieval", "retrieval, ITM over the shortlist"), ("vqa", "VQA, answers of a list")):
        part = record["result"][name]
        ratios = part["ratio_of_processor_seconds"], part["ratio"], part["limit"]["ratio"]
        rows.append([title, *(f"{ratio:.1f}" for ratio in ratios), f"{part['target']:g}"])
    head = ["ranking", "ratio of processor seconds", "by the clock", "by operations", "target"]
    return "\n".join([markdown(head, rows), "", source(record)])


def bench_report() -> str:
    """Every ratio that the benches recorded, beside its target."""
    found = ratios()
    said = (
        f"{summary(found)} A ratio is the peer's time over ours; of memory, and against a baseline, it is ours over the other's. "
        "Medians of rounds in turn within one run; the records in `lab/results/bench` have machine, versions, rounds, spread "
        "and what the arithmetic allows."
    )
    return "\n".join([table(found), "", said])


def peers_real() -> str:
    """BLIP beside open_clip's CLIP and CoCa, all trained from scratch on the same photos."""
    record = read_record("bench/peers-real-cpu")
    result = record["result"]
    rows = [row for arm in result["arms"] for row in _rankings(arm)]
    chance = result["chance"]
    rows.append(["chance", "", "", *(f"{100 * chance[name]:.1f}" for name in _RECALLS), ""])
    seen, options = result["measured_on"], record["config"]["options"]
    trained = result["trained_on"]
    said = (
        f"Recalls in percent among {seen['photos']} photos and {seen['texts']} texts; trained on {trained['pairs']:,} pairs "
        f"of {trained['photos']:,} photos at size {options['size']}, batch {options['batch']}, from random weights. One seed "
        "and one small budget: it says how each begins to learn, not which is better. No rate was tuned."
    )
    head = ["at", "arm", "samples", "TR@1", "TR@10", "IR@1", "IR@10", "CIDEr-D"]
    return "\n".join([markdown(head, rows), "", said, "", source(record)])


def _rankings(arm: dict[str, Any]) -> list[list[str]]:
    """A row a ranking: ITC, and of BLIP what ITM makes of it; captions stand in the first."""
    names = {"itc": arm["arm"], "reranked": f"{arm['arm']}, ITM re-ranks"}
    cider = f"{arm['captions']['cider']:.2f}" if arm["captions"] else "-"
    found = [
        [arm["comparison"], names[ranking], f"{arm['samples']:,}", *(f"{100 * own[name]:.1f}" for name in _RECALLS), "-"]
        for ranking, own in arm["retrieval"].items()
    ]
    found[0][-1] = cider
    return found


def _row(name: str, found: dict[str, Any]) -> list[str]:
    means = [sum(values) / len(values) for values in found["values"].values()]
    interval = found["difference"]["interval"]
    bounds = "no interval" if interval["low"] is None else f"{interval['low']:+.3f} to {interval['high']:+.3f}"
    difference = f"{interval['mean']:+.3f} ({bounds})"
    return [
        name, found["metric"].replace("_", " "), *(f"{mean:.3f}" for mean in means), difference,
        f"{found['chance']:.3f}", f"{found['ceiling']:.3f}",
    ]  # fmt: skip
