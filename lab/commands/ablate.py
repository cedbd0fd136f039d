"""`lab ablate`: the arms of a table, trained once each, and the verdicts on its claims."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from lab.ablation.command import Wanted, ablate
from lab.ablation.own_reading import Own
from lab.runs import Home


@dataclass(frozen=True, kw_only=True)
class Options:
    """Run an ablation in the generated world, or on your own pairs: --data, --human and --val. What is done is kept:
    stop it, start it again, add seeds or arms.

    Names: table1, table2, table3, table4, bias, table12, table13, table1-larger, mixes, captioners, nlvr, threshold,
    strictness, noise, candidates, sampling, rounds, filters, objectives, rates, peers,
    binding, breadth, table1-epochs, table3-rates, table1-rates, combinations, harder.
    """

    name: Annotated[str, Positional, arg(metavar="NAME")]
    """Which ablation, or FILE.py: arms and claims of your own (docs/own-ablation.md)."""
    scale: str = "cpu"
    """smoke (seconds, and says nothing), cpu (a cell of minutes on one core, of hours on your own pairs) or gpu."""
    seeds: int = 5
    """Seeds 0, 1 and so on of initial weights, order and draws; a verdict needs 3, for tables 1 to 4 it needs 5."""
    from_seed: int = 0
    """The first of these seeds that is done: 1 leaves out seed 0, by which arms of some claims were chosen (they say so)."""
    only: tuple[str, ...] = ()
    """Do only these arms: --only none both. The record has what is done of the others too."""
    jobs: int = 1
    """Cells at once, each a process with one thread; on a GPU small models share it."""
    add: bool = False
    """Do only what the record lacks. Without it what is asked for is done here too, and the record keeps the rest."""
    out: Path | None = None
    """The record, JSON; by default NAME-SCALE.json among the committed records of ablations (installed without a clone:
    in results/ablations here), and of your own pairs NAME-own-SCALE.json here."""
    own: Own = field(default_factory=Own)
    """Where the pairs come from."""


def main(options: Options) -> int:
    """Do what is not done yet, write the record, print the verdicts."""
    return ablate(Wanted(**vars(options)), Home.default())
