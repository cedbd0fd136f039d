"""`lab ledger show`: every caption and score of one image, and why each was kept or not."""

import json
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.compute as pc
from tyro.conf import Positional, UseAppendAction, arg

from blip.capfilt import Ledger, Policy, usual
from blip.capfilt.decide import verdicts
from blip.capfilt.merge import relocated
from blip.data.pairs import ImageRef
from blip.errors import InputError, one_line
from lab.ledgers import image_roots, standing

_FACTS = ("origin", "caption", "mean_logprob", "captioner_id", "decoding", "truth", "noise_kind")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Show what the ledger knows of an image."""

    ledger: Annotated[str, Positional, arg(metavar="LEDGER")]
    """Folder or URL of the ledger."""
    key: Annotated[str, Positional, arg(metavar="KEY")]
    """Key of the image."""
    policy: Policy = field(default_factory=Policy)
    """Which captions are kept."""
    image_root: Annotated[tuple[str, ...], UseAppendAction, arg(metavar="OLD=NEW")] = ()
    """For data that has moved: the folder then and the folder now. May be given several times."""
    json: bool = False
    """Print JSON for scripts, with the scores of every filter."""


def main(options: Options) -> int:
    """Print the image, its captions with their scores, and its rejects."""
    roots = image_roots(options.image_root)
    ledger = standing(options.ledger)
    options = replace(options, policy=usual(ledger, options.policy))
    captions, ref = _captions(ledger, options)
    rejects = [row for row in ledger.table("rejects").to_pylist() if row["image_key"] == options.key]
    if not captions and not rejects:
        raise InputError(f"The ledger has no image {options.key!r}; lab ledger decide lists those it has.")
    ref = ref if captions else rejects[0]["ref"]
    image = str(relocated(ImageRef.parse(ref), roots)) if ref else ""
    if options.json:
        shown = {"key": options.key, "image": image, "policy": str(options.policy), "captions": captions, "rejects": rejects}
        print(json.dumps(shown, indent=1, ensure_ascii=False))
        return 0
    print(f"{options.key}   {image}")
    for row in captions:
        print(_line(row))
    for row in rejects:
        print(f"  reject            {row['reason']}")
    return 0


def _captions(ledger: Ledger, options: Options) -> tuple[list[dict[str, Any]], str]:
    """The image's captions with facts, verdict and scores, and where the image lay."""
    key = pa.scalar(options.key.encode("utf-8", "surrogatepass"))  # a shell's word may be no text, and then is no key
    entries = ledger.entries("candidates")
    for entry, decided in zip(entries, verdicts(ledger, options.policy), strict=True):
        mine = pc.equal(decided["image_key"].cast(pa.binary()), key)
        if not pc.any(mine).as_py():
            continue
        rows = ledger.read("candidates", entry.shard).filter(mine).to_pylist()
        scores = _scores(ledger, entry.shard, len(rows), mine)
        shown = [
            {name: row[name] for name in _FACTS}
            | {name: verdict[name] for name in ("row_id", "score", "kept", "by", "borderline")}
            | {"scores": own}
            for row, verdict, own in zip(rows, decided.filter(mine).to_pylist(), scores, strict=True)
        ]
        return shown, rows[0]["image_ref"]  # all captions of an image lie in one shard
    return [], ""


def _scores(ledger: Ledger, shard: str, count: int, mine: pa.ChunkedArray) -> list[dict[str, Any]]:
    """For each of the image's rows the columns of every filter that has scored its shard."""
    found: list[dict[str, Any]] = [{} for _ in range(count)]
    for name in ledger.filters:
        if ledger.has(f"scores/{name}", shard):
            for own, row in zip(found, ledger.read(f"scores/{name}", shard).filter(mine).to_pylist(), strict=True):
                own[name] = {column: value for column, value in row.items() if column != "row_id"}
    return found


def _line(row: dict[str, Any]) -> str:
    sign = "kept    " if row["kept"] else "filtered"
    score = "-" if row["score"] is None else f"{row['score']:.3f}"
    truth = f"   {row['truth']}" if row["truth"] else ""
    near = ", borderline" if row["borderline"] else ""
    return f"  {sign} {score:>6}  {row['origin']:9}  {one_line(row['caption'])}{truth}   by {row['by']}{near}"
