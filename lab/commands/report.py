"""`lab report`: the claims as Markdown, LaTeX, CSV and figures, from the records of the ablations."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg

from blip.data.files import replacing
from blip.errors import InputError
from lab import claim_figures
from lab.ablation.own_scales import LEVEL
from lab.ablation.own_table import SUFFIX, Table, table_of
from lab.arms_report import arms_csv, arms_markdown
from lab.claim_records import Measured
from lab.claims_report import (
    FOLDER,
    SMOKE,
    at_once,
    decided_of,
    latex,
    read_records,
    refused_of,
    table,
    table_csv,
    tally,
)
from lab.figures import save
from lab.secondary import secondary_markdown
from lab.whose_record import on_own_pairs, scale_of


@dataclass(frozen=True, kw_only=True)
class Options:
    """Write the tables and figures of all claims that the records decide; records of smoke runs are passed over."""

    own: Annotated[Path | None, arg(metavar="FILE.py")] = None
    """Report arms and claims of your own, the FILE.py of lab ablate, in place of the lab's."""
    records: Path | None = None
    """Folder of the records; by default the committed ones, and of your own the working folder."""
    out: Path = Path("runs/report")
    """Folder of the claims (claims.md, .tex, .csv), of what else their arms differ in (outcomes.md), of what each arm
    was worth (arms.md, .csv), and of figures."""


def main(options: Options) -> int:
    """Write the files and print the table; 1 where a claim is refused, and why on stderr."""
    own = None if options.own is None else _own(options.own)
    folder = options.records or (FOLDER if own is None else Path())
    records = read_records(folder, own)
    found, refused = decided_of(records, own), refused_of(records, own)
    if not found:
        none = f"No record in {folder.absolute()} decides a claim at cpu or gpu scale; run lab ablate {options.own or 'NAME'} first."
        raise InputError(next(iter(refused), none))
    said = "\n\n".join(filter(None, [table(found), tally(found), at_once(found, named=True)]))
    texts = {"claims.md": "\n\n".join([said, *refused]), "claims.tex": latex(found), "claims.csv": table_csv(found)}
    texts |= {"outcomes.md": secondary_markdown(records, own), "arms.md": arms_markdown(records, own), "arms.csv": arms_csv(records, own)}
    for name, text in texts.items():
        with replacing(options.out / name) as file:
            file.write((text.rstrip("\n") + "\n").encode())
    recalls = [one for one in found if one.claim.in_recalls]
    others = [one for one in found if not one.claim.in_recalls]
    for name, drawn in (("claims.png", recalls), ("claims-other.png", others)):
        if drawn:
            save(claim_figures.effects(drawn), options.out / name)
    for record in records:
        _draw(record, own, options.out)
    print(said)
    print(f"\ntables and figures: {options.out}")
    for sentence in refused:
        print(sentence, file=sys.stderr)
    return 1 if refused else 0


def _own(path: Path) -> Table:
    if path.suffix != SUFFIX:
        raise InputError(f"--own {path} is no Python file; give the FILE.py of lab ablate, or leave it out for the lab's own claims.")
    return table_of(str(path))


def _draw(record: Mapping[str, Any], own: Table | None, out: Path) -> None:
    """The picture of an ablation: its sweep, or its arms where they were measured by the one protocol."""
    result = record["result"]
    if result["scale"] == SMOKE:
        return
    scale, pairs = scale_of(result), f"-{LEVEL}" if on_own_pairs(result) else ""
    path, arms = out / f"{result['ablation']}{pairs}-{scale}.png", result["arms"].values()
    found = [one for arm in arms for one in arm["seeds"].values()]
    if found and "sweep" in found[0]:
        save(claim_figures.sweep(found[0]["sweep"]), path)
    elif any("worth" in one for one in found):
        save(claim_figures.arms(Measured(result["ablation"], scale, record, own), result["question"]), path)
