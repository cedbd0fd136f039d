"""`lab bench fuzz`: broken files through every reader: no crash, no hang, every input accounted for.

Valid files are broken in ways that a seed decides. A reader may read what came of them, refuse it by one
sentence that names the file, or reject rows with a reason; anything else is a finding, which
`--case TARGET:SEED` runs again.
"""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from os import cpu_count
from pathlib import Path
from typing import Any

from blip.errors import InputError
from lab.bench.fuzz_case import Target, broken, write_files
from lab.bench.fuzz_worker import FINDING, READ, REFUSED, Case, Limits, run_all, targets_of
from lab.bench.running import check_counts, record_place
from lab.options import did_you_mean
from lab.records import WRITTEN, record, write_record

# By name, as lab.cli names its rooms: the studio imports the lab, never the other way.
MODULES = (
    "lab.bench.fuzz_data",
    "lab.bench.fuzz_pairs",
    "lab.bench.fuzz_benchmarks",
    "lab.bench.fuzz_ledger",
    "lab.bench.fuzz_weights",
    "lab.bench.fuzz_records",
    "apps.fuzz_targets",
)
_SEEDS = 1_000_000_000  # cases a run may have at most, so that no two runs share one
_SHOWN = 20  # findings


@dataclass(frozen=True, kw_only=True)
class Options:
    """Break files for every reader, and find what is neither read nor refused rightly."""

    out: Path = WRITTEN / "bench" / "fuzz-cpu.json"
    """The record, JSON."""
    cases: int = 10_000
    """Broken inputs, an equal share for every target."""
    seed: int = 0
    """Of the cases."""
    seconds: float = 60.0
    """The longest that a case may take."""
    mib: int = 2_048
    """The most memory that a case may take, in MiB."""
    jobs: int = cpu_count() or 1
    """Processes."""
    only: tuple[str, ...] = ()
    """Targets by name; all where none is named."""
    case: str = ""
    """Run one case again, by TARGET:SEED."""
    keep: Path | None = None
    """A folder for the files of what was found, and of --case."""


def main(options: Options) -> int:
    """Run the cases, print a row a target, write the record; 1 if anything was found."""
    check_counts(options, "cases", "jobs", "mib")
    targets = targets_of(MODULES)
    if options.case:
        return _again(options, targets)
    start, names = time.perf_counter(), _chosen(options.only, targets)
    cases = planned(names, options.cases, options.seed)
    limits = Limits(seconds=options.seconds, mib=options.mib)
    found = list(run_all(cases, MODULES, limits, options.jobs))
    result = summary(names, found) | {"limits": asdict(limits)}
    result["seconds"] = round(time.perf_counter() - start, 1)
    for case in (one for one in found if one.outcome == FINDING):
        _keep(options.keep, targets[case.target], case.seed)
    config = {"cases": options.cases, "targets": len(names), "jobs": options.jobs}
    path = record_place(options, cases=options.cases, targets=len(names))
    write_record(path, record("bench-fuzz", result, seed=options.seed, config=config))
    print(said(result))
    print(f"record: {path}")
    return 0 if result["reached"] else 1


def planned(names: Sequence[str], cases: int, seed: int) -> list[tuple[str, int]]:
    """So many cases (target, seed) in all, the first targets having one more where they do not divide evenly."""
    return [
        (name, seed * _SEEDS + number)
        for at, name in enumerate(names)
        for number in range(cases // len(names) + (at < cases % len(names)))
    ]


def summary(names: Sequence[str], found: Iterable[Case]) -> dict[str, Any]:
    """The counts of every target, those of all, and the findings."""
    by_target = groupby(sorted(found, key=lambda case: names.index(case.target)), key=lambda case: case.target)
    targets = {name: _counts(list(cases)) for name, cases in by_target}
    total = Counter[str]()
    for counts in targets.values():
        total.update({name: value for name, value in counts.items() if name != "found"})
    findings = [one for counts in targets.values() for one in counts.pop("found")]
    return {"targets": targets, "total": dict(total), "found": findings, "reached": not findings}


def _counts(cases: Sequence[Case]) -> dict[str, Any]:
    outcomes = Counter(case.outcome for case in cases)
    found = [{"case": f"{c.target}:{c.seed}", "problem": c.problem} for c in cases if c.outcome == FINDING]
    rejected = sum(case.rejected for case in cases)
    counts = {"cases": len(cases), "read": outcomes[READ], "refused": outcomes[REFUSED]}
    return counts | {"rejected_rows": rejected, "findings": len(found), "found": found}


def said(result: dict[str, Any]) -> str:
    """A row a target, the sum, and the first findings."""
    columns = ("cases", "read", "refused", "rejected_rows", "findings")
    lines = [f"{'target':24}" + "".join(f"{name.replace('_', ' '):>15}" for name in columns)]
    for name, counts in (result["targets"] | {"all": result["total"]}).items():
        lines.append(f"{name:24}" + "".join(f"{counts[column]:>15,}" for column in columns))
    lines += [f"{one['case']}  {one['problem']}" for one in result["found"][:_SHOWN]]
    return "\n".join(lines)


def _chosen(only: Sequence[str], targets: dict[str, Target]) -> list[str]:
    for name in only:
        if name not in targets:
            hint = did_you_mean(name, targets)
            raise InputError(f"There is no target {name!r}{hint}; choose of {', '.join(targets)}.")
    return [name for name in targets if name in only or not only]


def _again(options: Options, targets: dict[str, Target]) -> int:
    name, _, number = options.case.partition(":")
    if not number.isdecimal():
        raise InputError(f"--case {options.case!r} cannot be; give TARGET:SEED, as a finding is named.")
    _chosen([name], targets)
    folder = _keep(options.keep or Path("fuzz-kept"), targets[name], int(number))
    print(f"files: {folder}")
    limits = Limits(seconds=options.seconds, mib=options.mib)
    (case,) = run_all([(name, int(number))], MODULES, limits, 1)
    print(f"{options.case}: {case.outcome}, {case.rejected} rejected rows" + (f"; {case.problem}" if case.problem else ""))
    return 1 if case.outcome == FINDING else 0


def _keep(folder: Path | None, target: Target, seed: int) -> Path | None:
    if folder is None:
        return None
    kept = folder / f"{target.name}-{seed}"
    write_files(kept, broken(target, seed))
    return kept
