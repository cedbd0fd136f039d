"""What a notebook shows of an ablation: its best record, and where there is none its smallest run, done at once."""

import functools
import io
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lab.ablation.command import Wanted, ablate
from lab.ablation.engine import quiet
from lab.ablation.own_table import Table
from lab.ablation.table import Ablation
from lab.ablations import ABLATIONS, ablation
from lab.arm_metrics import at, chosen, path_of, without
from lab.claim import Claim
from lab.claims import CLAIMS
from lab.claims_report import FOLDER, SMOKE, decided_of, read_records, refused_of
from lab.decided import Decided
from lab.notebook_scale import THE_BEST, known_scale
from lab.page_parts import source
from lab.runs import Home
from lab.whose_record import command_of, on_own_pairs, scale_of

BEST = ("gpu", "cpu")
"""Scales whose records say something, the best first."""
SEE = f"set SCALE to `{THE_BEST}` to see"


@dataclass(frozen=True)
class Measured:
    """An ablation with what was found of it at one scale; cells that are not done are missing."""

    name: str
    scale: str
    record: Mapping[str, Any]
    own: Table | None = None
    """Arms and claims, where they are none of the lab's."""
    asked: str = THE_BEST
    """The scale that was asked for, of which there may be no record."""
    kept: str = ""
    """Of a smoke run: the scale of the best record that there is all the same; "" where there is none."""

    @property
    def is_smoke(self) -> bool:
        """Whether it is a smoke run, which says nothing."""
        return self.scale == SMOKE

    @property
    def own_pairs(self) -> bool:
        """Whether it is of own pairs, and not of the generated world."""
        return on_own_pairs(self.record["result"])

    @property
    def command(self) -> str:
        """What measures it, or measures what is missing."""
        if self.is_smoke:
            return command_of(self.record, self.asked if self.asked in BEST else BEST[-1])
        return f"{command_of(self.record)} --add"

    @property
    def arms(self) -> dict[str, Mapping[str, Any]]:
        """What each arm found by seed, in the order of the table; an arm that is not done has no seed."""
        return {name: arm["seeds"] for name, arm in self.record["result"]["arms"].items()}

    @property
    def table(self) -> Ablation | None:
        """Its arms as they are defined; None where nobody knows them."""
        return self.own.ablation if self.own else ABLATIONS.get(self.name)

    @property
    def claims(self) -> Sequence[Claim]:
        """What is claimed of its arms."""
        return self.own.claims if self.own else [one for one in CLAIMS if one.ablation == self.name]

    @property
    def decided(self) -> list[Decided]:
        """The claims that have a value, in their order; those that are refused are left out."""
        if not self.is_smoke:
            return decided_of([self.record], self.own)
        rows = {row["claim"]: row for row in self.record["result"]["claims"]}
        return [Decided(one, rows[one.id], SMOKE) for one in CLAIMS if one.ablation == self.name and one.id in rows]

    @property
    def refused(self) -> list[str]:
        """A sentence for each claim that is refused, since its arms differ in samples and nothing declares it."""
        return refused_of([self.record], self.own)

    def of(self, metric: str) -> dict[str, dict[str, float]]:
        """A metric by its path, by arm and seed; arms and seeds that were not measured so, or not noted, are left out."""
        paths = {arm: path_of(self.table, arm, metric) for arm in self.arms}
        each = {arm: {seed: at(found, paths[arm]) for seed, found in own.items()} for arm, own in self.arms.items()}
        known = {arm: {s: v for s, v in own.items() if v is not None} for arm, own in each.items()}
        return {arm: own for arm, own in known.items() if own}


def counted(shown: Measured, values: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Values by arm and seed of which means are made: as `paired`, without the seeds that no claim counts.

    An arm that has no other is left out.
    """
    each = {arm: without(own, chosen(shown.claims)) for arm, own in values.items()}
    return paired({arm: own for arm, own in each.items() if own})


def paired(values: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Values by arm and seed at the seeds that all arms share, so that means differ by arms alone; all, if none is shared.

    A record has more seeds of an arm that another ablation has run too.
    """
    shared = set.intersection(*(set(own) for own in values.values())) if values else set()
    return {arm: {seed: one for seed, one in own.items() if not shared or seed in shared} for arm, own in values.items()}


def measured(name: str, scale: str, folder: Path | None = None) -> Measured:
    """The record of an ablation with at least one cell, of `best` gpu before cpu; a smoke run where there is none.

    scale: smoke, cpu, gpu or best; InputError for another. With `smoke` the smoke run is shown in any case. It is done in
    the home that BLIP_LAB_HOME names, else in a temporary one, in seconds. folder: the records, by default the
    committed ones.
    """
    scales, records = BEST if known_scale(scale) == THE_BEST else (scale,), read_records(folder or FOLDER)
    found = best([one for one in records if one["result"]["scale"] in scales])
    if name in found:
        return found[name]
    known = best(records)
    return replace(_smoke(ablation(name).name), asked=scale, kept=known[name].scale if name in known else "")


def best(records: Sequence[Mapping[str, Any]], own: Table | None = None, *, own_pairs: bool = False) -> dict[str, Measured]:
    """The best record of each ablation that has one with at least one cell; smoke runs are passed over.

    own: arms and claims, where they are none of the lab's. own_pairs: of the records of own pairs, in place of those
    of the generated world.
    """
    found: dict[str, Measured] = {}
    for record in records:
        result = record["result"]
        done = any(arm["seeds"] for arm in result["arms"].values())
        name, scale = result["ablation"], scale_of(result)
        if done and on_own_pairs(result) == own_pairs and scale in BEST and (name not in found or BEST.index(scale) < BEST.index(found[name].scale)):
            found[name] = Measured(name, scale, record, own)
    return found


def where_from(shown: Measured) -> str:
    """One line on what is shown: seeds and command of the record, or that a smoke run says nothing, and what says more."""
    if shown.is_smoke:
        return f"**A smoke run, which says nothing:** models of a few steps, one seed. {_instead(shown)}"
    counts = {len(own) for own in shown.arms.values()}
    least, most = min(counts), max(counts)
    seeds = f"{most} seeds" if least == most else f"{least} to {most} seeds an arm, so far"
    return f"{seeds}, scale `{shown.scale}`: {source(shown.record)}"


def _instead(shown: Measured) -> str:
    """What says more than a smoke run: the record that is there, or the command that makes one."""
    if shown.asked == SMOKE and shown.kept:
        return f"It decides nothing, and a record is there (scale `{shown.kept}`): {SEE} it."
    if shown.kept:
        return f"There is no record of scale `{shown.asked}`: `{shown.command}` makes it. One of scale `{shown.kept}` is there: {SEE} it."
    then = f"{SEE} the figures of its record then" if shown.asked == SMOKE else "the figures here are then those of its record"
    return f"`{shown.command}` measures it; {then}."


def _smoke(name: str) -> Measured:
    home = Home.default() if os.environ.get("BLIP_LAB_HOME") else Home(_temporary())
    with tempfile.TemporaryDirectory() as folder, quiet():
        out = Path(folder, "record.json")
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            ablate(Wanted(name=name, scale=SMOKE, seeds=1, out=out), home)
        return Measured(name, SMOKE, json.loads(out.read_text(encoding="utf-8")))


@functools.cache
def _temporary() -> str:
    """One folder a process, so that ablations share their runs."""
    return tempfile.mkdtemp(prefix="blip-lab-smoke-")
