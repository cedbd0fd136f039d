"""Fuzz targets: runs, and the records of ablations."""

import json
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lab.ablation.earlier import Earlier
from lab.bench.fuzz_case import Seed, Tally, Target
from lab.claims_report import FOLDER, at_once, decided_of, read_records, refused_of
from lab.commands import runs_list
from lab.runs import DAMAGED, Home, Step

_STEPS = (
    Step(kind="captioner", config={"seed": 0, "train": {"steps": 3, "rate": 0.1}}),
    Step(kind="captioner", config={"seed": 1, "train": {"steps": 3, "rate": 0.1}}),
    Step(kind="ledger", config={"pairs": 5, "words": ["a", "b"]}),
)


@cache
def _runs() -> tuple[Seed, ...]:
    with TemporaryDirectory() as folder:
        home = Home(folder)
        for step in _STEPS:
            home.run(step, _work)
        paths = sorted(path for path in (home.folder / "runs").rglob("*.json"))
        files = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
    return (Seed(files, tuple(files)),)


def _work(folder: Path) -> dict[str, Any]:
    (folder / "weights").mkdir(parents=True)
    return {"loss": 0.5, "rows": [1, 2]}


def _read_runs(tally: Tally) -> None:
    home = Home(tally.folder)
    rows = tally.attempt(home.rows) or []
    tally.rejected += sum(row["state"] == DAMAGED for row in rows)
    folders = len(list((tally.folder / "runs").glob("*-*")))
    tally.require(len(rows) == folders, f"{len(rows)} rows of {folders} runs")
    for row in rows:
        tally.require("problem" not in row or str(tally.folder) in row["problem"], f"a problem without a file: {row}")
        tally.attempt(partial(home.read, row["id"]))
        runs_list.difference(row, rows)


@cache
def _records() -> tuple[Seed, ...]:
    """The committed records of two ablations, without what is long in them."""
    paths = sorted(FOLDER.glob("*.json"), key=lambda path: path.stat().st_size)[:2]
    return tuple(Seed({path.name: json.dumps(json.loads(path.read_bytes())).encode()}, (path.name,)) for path in paths)


def _read_records(tally: Tally) -> None:
    records = tally.attempt(lambda: read_records(tally.folder))
    if records is not None:
        tally.attempt(lambda: (at_once(decided_of(records), named=True), refused_of(records)))
    for path in sorted(tally.folder.glob("*.json")):
        tally.attempt(partial(Earlier.at, path))


TARGETS = (
    Target("runs", _runs, _read_runs),
    Target("ablation-records", _records, _read_records),
)
