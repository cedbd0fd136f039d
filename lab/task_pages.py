"""Blocks of pages on the downstream tasks."""

from typing import Any

from lab.page_parts import markdown, read_record, source


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


def _row(name: str, found: dict[str, Any]) -> list[str]:
    means = [sum(values) / len(values) for values in found["values"].values()]
    interval = found["difference"]["interval"]
    difference = f"{interval['mean']:+.3f} ({interval['low']:+.3f} to {interval['high']:+.3f})"
    return [
        name, found["metric"].replace("_", " "), *(f"{mean:.3f}" for mean in means), difference,
        f"{found['chance']:.3f}", f"{found['ceiling']:.3f}",
    ]  # fmt: skip
