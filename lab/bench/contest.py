"""Several ways to one result, timed in turn: what every speed bench against a peer measures and records."""

import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from blip.captured import captures
from lab.bench.capfilt_setting import Stopwatch
from lab.bench.rounds import spread
from lab.bench.running import record_path
from lab.records import record, write_record

TOLERANCES = {"float32": 1e-4, "bf16": 2e-1}
"""Largest difference at which two ways have computed the same, as a share of the peer's largest value."""
OPERATIONS = "ratio of the floating-point operations of the matrix products, peer over ours"
_PRODUCT = {"cpu": (1024, 3), "cuda": (8192, 10)}
"""Side of the square matrices, and how often they are multiplied, when the peak is measured."""


@dataclass(frozen=True)
class Times:
    """Seconds of the clock and of the processors, one each round."""

    clock: list[float]
    processors: list[float]

    def told(self) -> dict[str, Any]:
        """Both as plain values, with the rounds in their order."""
        return {"seconds": spread(self.clock), "processor_seconds": spread(self.processors), "rounds": self.clock}


def timed(ways: Mapping[str, Callable[[], Any]], rounds: int, device: str, what: str) -> dict[str, Times]:
    """Seconds of each way by its name; they take turns, and each ran once before.

    what: names the measurement in the lines that are printed.
    """
    for way in ways.values():
        way()
    found = {name: Times([], []) for name in ways}
    for number in range(rounds):
        for name, way in ways.items():
            clock, processors = _seconds(way, device)
            found[name].clock.append(round(clock, 4))
            found[name].processors.append(round(processors, 4))
            print(f"{what}, round {number + 1}, {name}: {clock:.3f} s", flush=True)
    return found


def versus(ours: Times, peer: Times, target: float | None) -> dict[str, Any]:
    """Both ways and the ratio of their medians, peer over ours: higher is better. None: nothing is asked of it.

    `spread` is that of the ratios round by round.
    """
    ratio = statistics.median(peer.clock) / statistics.median(ours.clock)
    processors = statistics.median(peer.processors) / max(statistics.median(ours.processors), 1e-9)
    ratios = [round(theirs / own, 3) for own, theirs in zip(ours.clock, peer.clock, strict=True)]
    return {
        "ours": ours.told(),
        "peer": peer.told(),
        "ratio": round(ratio, 3),
        "better": "higher",
        "spread": spread(ratios),
        "ratio_of_processor_seconds": round(processors, 3),
        "target": target,
        "reached": target is None or ratio >= target,
    }


def agreement(ours: Tensor, peer: Tensor, precision: str) -> dict[str, Any]:
    """How far two results of one form are apart, element by element, under a precision by name."""
    difference = float((ours.float() - peer.float()).abs().max())
    tolerance = TOLERANCES[precision] * float(peer.float().abs().max())
    return {
        "compared": ours.numel(),
        "values": spread(peer.float().flatten().tolist()),
        "largest_difference": difference,
        "tolerance": tolerance,
        "agree": difference <= tolerance,
    }


def limit(ours: float, peer: float) -> dict[str, Any]:
    """What the arithmetic of the shapes allows, from the floating-point operations of both ways."""
    return {
        "what": OPERATIONS,
        "ratio": round(peer / ours, 3),
        "gflop_ours": round(ours / 1e9, 3),
        "gflop_peer": round(peer / 1e9, 3),
    }


def product_flops(device: str, dtype: torch.dtype) -> float:
    """Measured floating-point operations a second of a large matrix product: the best of several."""
    side, times = _PRODUCT[device.split(":")[0]]
    matrix = torch.randn(side, side, device=device, dtype=dtype)
    matrix @ matrix
    return 2 * side**3 / min(_seconds(lambda: matrix @ matrix, device)[0] for _ in range(times))


def concluded(name: str, options: Any, result: dict[str, Any], cases: Mapping[str, dict[str, Any]]) -> int:
    """Write and print the record of a bench with its cases by name; the exit status, 1 if one is not reached.

    options: the command's, with device, precision if it has one, out and seed.
    """
    precision = getattr(options, "precision", "float32")
    reached = all(case["reached"] for case in cases.values())
    about = {"device": options.device, "precision": precision, "cases": dict(cases), "reached": reached}
    about["cuda_graphs"] = captures(torch.device(options.device))
    about["load_average_after"] = round(os.getloadavg()[0], 2)
    path = options.out or record_path(name, options.device, precision)
    settings = {key: value.name if isinstance(value, Path) else value for key, value in asdict(options).items()}
    write_record(path, record(f"bench-{name}", result | about, seed=options.seed, config={"options": settings}))
    print("\n".join(lines(cases)))
    print(f"record: {path}")
    return 0 if reached else 1


def lines(cases: Mapping[str, dict[str, Any]]) -> Sequence[str]:
    """One printed line a case: its ratio, what was asked, what the arithmetic allows, how far results differ."""
    said = []
    for name, case in cases.items():
        asked = "no target" if case["target"] is None else f"target {case['target']:g}"
        words = [f"{name}: ratio {case['ratio']:.2f}", asked]
        words += [f"by operations {case['limit']['ratio']:.2f}"] if "limit" in case else []
        found = case.get("agreement", {})
        if "largest_difference" in found:
            words.append(f"results differ by at most {found['largest_difference']:.1e}")
        if "captions_the_same" in found:
            words.append(f"{found['captions_the_same']} of {found['captions']} captions the same")
        said.append(", ".join(words) + ("" if case["reached"] else " (not reached)"))
    return said


def agreed(case: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """A case that is reached only if the results agree, too."""
    return case | {"agreement": found, "reached": case["reached"] and found["agree"]}


def _seconds(way: Callable[[], Any], device: str) -> tuple[float, float]:
    """Seconds of the clock and of the processors; other programs on the machine lengthen the first alone."""
    waits = device.startswith("cuda")
    if waits:
        torch.cuda.synchronize()
    watch = Stopwatch()
    way()
    if waits:
        torch.cuda.synchronize()
    return watch.read()
