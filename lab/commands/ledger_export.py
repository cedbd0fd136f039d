"""`lab ledger export`: the bootstrapped data set, as training readers expect it (paper 3.3)."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg

from blip.capfilt import Policy, kept, usual
from blip.capfilt.merge import PROVENANCE
from blip.capfilt.unfinished import REMEDY
from blip.data.writers import Record, Written, write_list, write_parquet, write_tars
from blip.errors import InputError
from lab.ledgers import finished, image_roots, standing, world_images

_REMEDY = f"{REMEDY}, or give --unfinished to export what is there"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Write the kept pairs with where each caption came from, its score and the policy."""

    ledger: Annotated[str, Positional, arg(metavar="LEDGER")]
    """Folder or URL of the ledger."""
    out: Path
    """Folder of the tars; or the file, which ends in the format's name, with its pictures beside it in images
    (json, csv, tsv) or in itself (parquet)."""
    format: Literal["tars", "json", "csv", "tsv", "parquet"] = "tars"
    """Webdataset tars, a BLIP list with image files, or Parquet that Hugging Face datasets reads."""
    policy: Policy = field(default_factory=Policy)
    """Which captions are kept."""
    image_root: Annotated[tuple[str, ...], UseAppendAction, arg(metavar="OLD=NEW")] = ()
    """For data that has moved: the folder then and the folder now. May be given several times."""
    shard_size: int = 1000
    """Pairs a tar; captions of one image stay together, so that it may hold some more."""
    unfinished: bool = False
    """Export what is there of a run that is not finished."""
    json: bool = False
    """Print the counts as JSON for scripts."""


def main(options: Options) -> int:
    """Export, and say which images could not be read or are not those that were captioned."""
    _check(options)
    ledger = standing(options.ledger) if options.unfinished else finished(options.ledger, _REMEDY)
    options = replace(options, policy=usual(ledger, options.policy))
    records = kept(ledger, options.policy, world_images(ledger), image_roots(options.image_root))
    written = _write(records, options)
    if written.rejects and not written.pairs:
        first = written.rejects[0]
        raise InputError(
            f"None of the {len(written.rejects)} kept pairs has its image: the first is {first.ref} "
            f"({first.reason}); tell with --image-root OLD=NEW where they lie now."
        )
    print(_as_json(written, options) if options.json else _said(written, options))
    return 0


def _check(options: Options) -> None:
    if options.shard_size < 1:
        raise InputError(f"--shard-size {options.shard_size} cannot be; give 1 or more.")
    if options.format == "tars":
        if options.out.is_file():
            raise InputError(f"{options.out} is a file; give a folder for the tars, or another --format.")
        if any(options.out.glob("*.tar")):
            raise InputError(f"{options.out} holds tars already; give a new folder, so that they do not mix.")
    elif options.out.suffix.lower() != f".{options.format}":
        raise InputError(f"{options.out} must end in .{options.format}, as --format says.")
    elif options.out.is_dir():
        raise InputError(f"{options.out} is a folder; give a file to write.")


def _write(records: Iterable[Record], options: Options) -> Written:
    if options.format == "tars":
        return write_tars(records, options.out, shard_size=options.shard_size)
    if options.format == "parquet":
        return write_parquet(records, options.out, PROVENANCE)
    return write_list(records, options.out)


def _as_json(written: Written, options: Options) -> str:
    rejects = [{"key": reject.key, "ref": reject.ref, "reason": reject.reason} for reject in written.rejects]
    paths = [str(path) for path in written.paths]
    return json.dumps({"pairs": written.pairs, "policy": str(options.policy), "files": paths, "rejects": rejects}, indent=1)


def _said(written: Written, options: Options) -> str:
    if not written.pairs and not written.rejects:
        left = f"{options.out} is empty" if written.paths else "nothing was written"
        how = f"give lower thresholds (--web, --synthetic); lab ledger summary {options.ledger} tells what others keep"
        return f"0 pairs kept by {options.policy}: {left}; {how}"
    lines = [f"{written.pairs:,} pairs kept by {options.policy}: {options.out}"]
    if written.rejects:
        first = written.rejects[0]
        lines.append(
            f"{len(written.rejects):,} more were kept but their images cannot be used, the first of them {first.ref} "
            f"({first.reason}); --image-root OLD=NEW tells where they lie now"
        )
    return "\n".join(lines)
