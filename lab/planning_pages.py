"""Blocks of the page that plans: how cost grows, time and money, workers, disk. A missing record is said in one line."""

from collections.abc import Mapping
from typing import Any

from lab.bench.growth_fit import told
from lab.page_parts import markdown, source
from lab.planning import (
    CPU_PRICE,
    EFFICIENCY,
    GPU_PRICE,
    IMAGE_BYTES,
    KEPT,
    NODES,
    PEAKS,
    PRETRAIN_SIZE,
    QUEUE,
    SETS,
    SHARD,
    SHARE,
    Plan,
    amdahl_seconds,
    capfilt_operations,
    pretrain_operations,
    pretraining_bytes,
    published_operations,
)
from lab.planning_records import CAPFILT, GROWTH, LEDGER, PRETRAIN, Prices, found, writer_seconds
from lab.planning_tables import DISK_HEAD, TIME_HEAD, disk_row, time_rows

AUTHORS_DAYS = (3, 4)
"""Of pre-training at base size on 14M images and two 16-GPU nodes, as an author says (issue 19 of salesforce/BLIP)."""
_BENCHES = {"bench/pretrain": "lab bench pretrain", "bench/capfilt": "lab bench capfilt", GROWTH: "lab bench growth"}


def growth() -> str:
    """The fits of `lab bench growth`, the picture and where they come from."""
    record = found(GROWTH)
    if record is None:
        return _absent("How cost grows", "lab bench growth")
    result = record["result"]
    rows = [*_fit_rows(result["steps"], "step"), *_fit_rows(result["capfilt"], "CapFilt")]
    said = f"Size {result['size']}, {result['device']}, {result['precision']}. {result['how']}"
    picture = "![Measured costs with their fits over batch, image size, text length, queue, images, captions](growth.png)"
    return "\n".join([markdown(["cost", "over", "fit"], rows), "", picture, "", said, "", source(record)])


def plan_time() -> str:
    """Hours and money of the paper's set sizes on as many devices as the paper's."""
    prices = Prices(gpu=GPU_PRICE, cpu=CPU_PRICE)
    rows = [
        [name, *cells]
        for name, images in SETS.items()
        for cells in time_rows(Plan(images=images, devices=NODES), prices)
    ]
    lines = [markdown(("images", *TIME_HEAD), rows), "", _operations()]
    return "\n".join(lines + (["", said] if (said := missing()) else []))


def plan_workers() -> str:
    """How two processes compare with one, and what the writer takes of every image."""
    record = found(GROWTH)
    if record is None:
        return f"{_absent('The serial part', 'lab bench growth')} Until then the tables take 0 for it."
    points = {point["workers"]: point for point in record["result"]["capfilt"]["workers"]["points"]}
    rates = ", ".join(f"{count} at once {point['images_per_second']:,.0f}" for count, point in points.items())
    lines = [f"Images a second with the shipped weights, processes with one thread each: {rates}."]
    if (serial := writer_seconds()) is not None:
        lines.append(f"The writer worked {1000 * serial:.2f} ms an image, which the tables add to every image.")
    if {1, 2} <= set(points):
        one, two = (points[count]["seconds"]["median"] for count in (1, 2))
        part = amdahl_seconds(one, two) / points[1]["images"]
        lines.append(
            f"By the clock {1000 * part:.2f} ms an image did not shorten, on {record['machine']['cores']} cores that these "
            "processes share with the writer and with whatever else runs there."
        )
    return "\n".join([" ".join(lines), "", source(record)])


def plan_disk() -> str:
    """Pictures, ledger and checkpoints of the paper's set sizes, and what stays in memory."""
    rows = [[name, *disk_row(Plan(images=images))] for name, images in SETS.items()]
    held = pretraining_bytes("base", PRETRAIN_SIZE, QUEUE)
    parts = ", ".join(f"{name} {count / 1e9:.2f}" for name, count in held.items())
    record = found(LEDGER)
    if record is None:
        return _absent("What a plan needs on the disk", "lab bench ledger")
    said = (
        f"Pictures: {IMAGE_BYTES:,} bytes each, **assumed**. Ledger and seconds to decide (count what is kept): from "
        f"{record['result']['rows']:,} captions, in proportion. Checkpoints: {KEPT}, of weights, optimizer, teacher and queues. "
        f"Pre-training holds, in GB, counted from its tensors: {parts}; activations come on top."
    )
    return "\n".join([markdown(("images", *DISK_HEAD), rows), "", said, "", source(record)])


def plan_check() -> str:
    """The model against the one run whose time is known."""
    plan, days = Plan(images=SETS["14M"], devices=NODES), AUTHORS_DAYS
    total = plan.samples * published_operations()
    rates = [total / (NODES * 86_400 * day) / 1e12 for day in reversed(days)]
    a100 = [100 * rate / PEAKS["A100"] for rate in rates]
    return (
        f"An author of the paper says that 14M images at base size took {days[0]} to {days[1]} days on {NODES} GPUs; the "
        f"published code uses float32. By the published step's {published_operations() / 1e9:,.0f} GFLOP a sample these are "
        f"{rates[0]:.1f} to {rates[1]:.1f} x 10^12 operations a second on each GPU, reading of pictures included. Were they "
        f"A100s, this is about half of their peak in float32 (19.5) and {a100[0]:.1f} to {a100[1]:.1f}% of that in bf16. "
        f"{_our_step()}"
    )


def _our_step() -> str:
    """What our step reached on the GPU that was measured, beside the share that is assumed of others."""
    record = found(PRETRAIN["cuda"][0])
    if record is None:
        return f"So the assumed {100 * SHARE:g}% of the latter must be earned: by bf16, and by pictures that arrive in time."
    own = record["result"]["cases"]["useful operations, bf16"]["ours"]["gflop_a_second"] / 1e3
    return (
        f"Our step did {own:,.0f} x 10^12 in bf16 on an {record['machine']['accelerator']}, with pictures that lay there already; "
        f"of a device that was not measured {100 * SHARE:g}% of the peak in its data sheet is assumed."
    )


def missing() -> str:
    """One line that names what is not measured yet; empty where everything is."""
    lines = []
    for title, known in (("CapFilt", CAPFILT), ("Pre-training", PRETRAIN)):
        for kind, where in (("cpu", "a CPU"), ("cuda", "a GPU")):
            if all(found(name) is None for name in known[kind]):
                bench = _BENCHES[known[kind][-1].rpartition("-")[0]]
                lines.append(f"{title} on {where}: not measured yet (`{bench}`).")
    return " ".join(lines)


BLOCKS = {
    "growth": growth,
    "plan-time": plan_time,
    "plan-check": plan_check,
    "plan-workers": plan_workers,
    "plan-disk": plan_disk,
}


def _operations() -> str:
    capfilt = {part: f"{count / 1e9:.0f}" for part, count in capfilt_operations(1).items()}
    parts = ", ".join(f"{part} {count}" for part, count in capfilt.items())
    peaks = ", ".join(f"{name} {peak:g}" for name, peak in PEAKS.items())
    measured = all(any(found(name) for name in known["cuda"]) for known in (CAPFILT, PRETRAIN))
    rates = "" if measured else f"peaks in bf16 of {peaks} x 10^12 operations a second and a share of {SHARE:g} of them; "
    return (
        f"By formula, GFLOP: CapFilt an image {sum(capfilt_operations(1).values()) / 1e9:.0f} ({parts}); pre-training a sample "
        f"{pretrain_operations() / 1e9:.0f}. **Assumed**: {rates}pre-training on several devices uses {EFFICIENCY:g} of their "
        f"time. Money at {GPU_PRICE:g} a GPU "
        f"hour and {CPU_PRICE:g} an hour of such a CPU machine: examples. Several devices end with one shard of {SHARD} images."
    )


def _fit_rows(sweeps: Mapping[str, Any], part: str) -> list[list[str]]:
    names = {"seconds": "seconds", "processor_seconds": "processor seconds", "activation_mib": "activations, MiB"}
    return [
        [f"{part}: {names[cost]}", name, told(fit).replace("_", " ")]
        for name, sweep in sweeps.items()
        for cost, fit in sweep["fits"].items()
    ]


def _absent(what: str, bench: str) -> str:
    return f"{what}: not measured yet (`{bench}` makes the record)."
