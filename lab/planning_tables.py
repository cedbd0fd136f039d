"""A plan as tables, the same on the page and from `lab plan`."""

from lab.planning import (
    PEAKS,
    SHARE,
    Cost,
    Plan,
    Rate,
    assumed,
    capfilt_cost,
    capfilt_operations,
    disk_bytes,
    pretrain_cost,
    pretrain_operations,
)
from lab.planning_records import Prices, ledger_figures, measured, writer_seconds

JOBS = ("CapFilt", "pre-training")
TIME_HEAD = ("job", "on", "figure", "s an image", "devices", "hours", "device-hours", "money")
DISK_HEAD = ("pictures, GB", "ledger, GB", "checkpoints, GB", "all, GB", "s to decide")


def rates(plan: Plan, prices: Prices, share: float, own: float | None) -> dict[str, list[Rate]]:
    """Every job's rates: what was measured on a CPU and a GPU, then assumed ones.

    own: the peak of the reader's device, 10^12 operations a second; None: GPUs by name, where none was measured.
    """
    found: dict[str, list[Rate]] = {job: [] for job in JOBS}
    kinds = set()
    for job, kind, rate in measured(plan.candidates, prices):
        found[job].append(rate)
        kinds.add((job, kind))
    operations = {"CapFilt": sum(capfilt_operations(plan.candidates).values()), "pre-training": pretrain_operations()}
    for job in JOBS:
        known = {} if (job, "cuda") in kinds else PEAKS
        for name, peak in (known if own is None else {"your device": own}).items():
            found[job].append(assumed(f"{name}, {peak:g} x {share:g}", operations[job], peak, share, prices.gpu))
    return found


def time_rows(plan: Plan, prices: Prices, *, share: float = SHARE, own: float | None = None) -> list[list[str]]:
    """A row for each job and device, under `TIME_HEAD`; share and own as in `rates`."""
    serial = writer_seconds() or 0.0
    return [
        _time_row(job, rate, plan, capfilt_cost(plan, rate, serial) if job == "CapFilt" else pretrain_cost(plan, rate))
        for job, known in rates(plan, prices, share, own).items()
        for rate in known
    ]


def disk_row(plan: Plan) -> list[str]:
    """The cells under `DISK_HEAD`."""
    each, decide = ledger_figures()
    found = disk_bytes(plan, each)
    sizes = [*found.values(), sum(found.values())]
    return [*(f"{size / 1e9:,.1f}" for size in sizes), f"{plan.captions * decide:,.1f}"]


def figure(value: float) -> str:
    """A number with three significant digits, and thousands apart from 1,000 on."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _time_row(job: str, rate: Rate, plan: Plan, cost: Cost) -> list[str]:
    how = "measured" if rate.measured else "**assumed**"
    money = "-" if cost.money is None else figure(cost.money)
    return [
        job, rate.device, how, figure(cost.seconds), f"{plan.devices:,}", figure(cost.hours), figure(cost.device_hours), money
    ]  # fmt: skip
