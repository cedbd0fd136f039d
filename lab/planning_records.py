"""What a plan takes from the committed records: measured rates, ledger bytes, seconds to decide, workers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lab.page_parts import read_record
from lab.planning import Rate, capfilt_operations
from lab.records import RESULTS

CAPFILT = {"cpu": ("bench/capfilt-cpu",), "cuda": ("bench/capfilt-cuda-bf16", "bench/capfilt-cuda")}
PRETRAIN = {"cpu": ("bench/pretrain-cpu",), "cuda": ("bench/pretrain-cuda",)}
"""Records by device type; of several the first that is there."""
PRETRAIN_CASE = {"cpu": "float32", "cuda": "bf16"}
LEDGER, GROWTH = "bench/ledger-cpu", "bench/growth-cpu"
DECIDE = "counts"


@dataclass(frozen=True, kw_only=True)
class Prices:
    """Of a GPU and of a machine without one for an hour; None: not told."""

    gpu: float | None
    cpu: float | None

    def of(self, kind: str) -> float | None:
        """The price of a device by its type, cpu or cuda."""
        return self.gpu if kind == "cuda" else self.cpu


def found(name: str) -> dict[str, Any] | None:
    """A committed record by its name, or None where it is not there yet."""
    return read_record(name) if (RESULTS / f"{name}.json").is_file() else None


def capfilt_rate(kind: str, candidates: int, prices: Prices) -> Rate | None:
    """The measured rate of CapFilt on cpu or cuda at base size and 384 pixels; None: not measured yet.

    The bench draws several captions an image; each part's seconds are scaled by its operations.
    """
    record = _first(CAPFILT[kind])
    if record is None:
        return None
    result, drawn = record["result"], record["config"]["candidates"]
    parts = result["ours"]["parts"]
    images = record["config"]["options"]["images"]
    asked, there = capfilt_operations(candidates), capfilt_operations(drawn)
    seconds = sum(own * asked[part] / there[part] if part in asked else own for part, own in parts.items())
    return _rate(record, kind, seconds / images, result["precision"], prices)


def pretrain_rate(kind: str, prices: Prices) -> Rate | None:
    """The measured rate of our pre-training step on cpu or cuda at base size; None: not measured yet."""
    record = _first(PRETRAIN[kind])
    if record is None:
        return None
    case, result = PRETRAIN_CASE[kind], record["result"]
    seconds = result["cases"][case]["ours"]["seconds"]["median"] / result["shapes"]["pairs"]
    return _rate(record, kind, seconds, case, prices)


def measured(candidates: int, prices: Prices) -> Iterator[tuple[str, str, Rate]]:
    """(job, device type, rate) of everything that was measured."""
    for kind in CAPFILT:
        if (rate := capfilt_rate(kind, candidates, prices)) is not None:
            yield "CapFilt", kind, rate
    for kind in PRETRAIN:
        if (rate := pretrain_rate(kind, prices)) is not None:
            yield "pre-training", kind, rate


def ledger_figures() -> tuple[float, float]:
    """Bytes of a caption in a large ledger, and seconds to decide on it."""
    result = read_record(LEDGER)["result"]
    return result["bytes"] / result["rows"], result["questions"][DECIDE]["seconds"] / result["rows"]


def writer_seconds() -> float | None:
    """Processor seconds an image of the one writer behind two CapFilt processes; None: not measured yet."""
    record = found(GROWTH)
    if record is None:
        return None
    points = record["result"]["capfilt"]["workers"]["points"]
    return next((p["writer_processor_seconds"]["median"] / p["images"] for p in points if p["workers"] > 1), None)


def _first(names: tuple[str, ...]) -> dict[str, Any] | None:
    return next((record for record in map(found, names) if record is not None), None)


def _rate(record: Mapping[str, Any], kind: str, seconds: float, precision: str, prices: Prices) -> Rate:
    machine = record["machine"]
    name = machine["accelerator"] if kind == "cuda" else f"{machine['cores']} cores of {machine['processor']}"
    return Rate(device=f"{name}, {precision}", seconds=seconds, measured=True, price=prices.of(kind))
