"""The bootstrapped data set of a ledger: what the filter, or a person, kept of its captions.

Human-annotated captions in a ledger are decided as web ones; pairs that shall stay as they are do not go into it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import pyarrow as pa

from blip.capfilt.decide import usual, verdicts
from blip.capfilt.ledger import Ledger
from blip.capfilt.override import rewritten
from blip.capfilt.policy import Policy
from blip.capfilt.schema import CANDIDATES
from blip.data.pairs import ImageRef, Pair
from blip.data.writers import IMAGE_SHA256, Record
from blip.errors import InputError

_FACTS = ("row_id", "candidate", "round", "captioner_id", "decoding", "mean_logprob")
PROVENANCE = {
    **{name: CANDIDATES.field(name).type for name in _FACTS},
    "score": pa.float32(),
    "borderline": pa.bool_(),
    "policy": pa.string(),
    "edited_from": pa.string(),
}
"""What exports say of each caption, by name with its type."""


def kept(
    ledger: Ledger,
    policy: Policy | None = None,
    images: Mapping[str, Pair] | None = None,
    roots: Mapping[str, str] | None = None,
) -> Iterator[Record]:
    """Every kept caption as a pair with its provenance, in the ledger's order (paper 3.3, Figure 3); with it the
    `image_sha256` of the picture that was captioned, by which writers know another one.

    images: pairs by image key, for a ledger whose input held the pixels itself. roots: where data that has
    moved lies now, old folder to new. Where a person keeps a better text, that is the caption, the ledger's
    stands in `edited_from`, and its truth is not known. Memory is that of one shard.
    """
    policy = policy or usual(ledger)
    better = rewritten(ledger)
    shards = zip(ledger.entries("candidates"), verdicts(ledger, policy), strict=True)
    for entry, decided in shards:
        rows = ledger.read("candidates", entry.shard).filter(decided["kept"])
        own = decided.select(["score", "borderline"]).filter(decided["kept"]).to_pylist()
        for row, verdict in zip(rows.to_pylist(), own, strict=True):
            provenance = {name: row[name] for name in (*_FACTS, IMAGE_SHA256)} | verdict
            provenance |= {"policy": str(policy), "edited_from": None}
            if row["row_id"] in better:
                provenance["edited_from"] = row["caption"]
                row |= {"caption": better[row["row_id"]], "truth": None, "noise_kind": None}
            yield _pair(row, images, roots or {}), provenance


def relocated(ref: ImageRef, roots: Mapping[str, str]) -> ImageRef:
    """The reference below its new folder, for data that has moved; the deepest old folder that fits counts."""
    for old in sorted(roots, key=len, reverse=True):
        folder = old.rstrip("/") + "/"
        if ref.path.startswith(folder):
            return replace(ref, path=f"{roots[old].rstrip('/')}/{ref.path.removeprefix(folder)}")
        if ref.path == old:
            return replace(ref, path=roots[old])
    return ref


def summary(decided: pa.Table, origin: str) -> tuple[int, int]:
    """How many captions of an origin were kept and filtered; "web" counts all that came with the image."""
    rows = [
        kept
        for kept, own in zip(decided["kept"].to_pylist(), decided["origin"].to_pylist(), strict=True)
        if (own == "synthetic") == (origin == "synthetic")
    ]
    return sum(rows), len(rows) - sum(rows)


def _pair(row: dict, images: Mapping[str, Pair] | None, roots: Mapping[str, str]) -> Pair:
    truth = {"truth": row["truth"], "noise_kind": row["noise_kind"]}
    if row["image_ref"]:
        image = relocated(ImageRef.parse(row["image_ref"]), roots)
        return Pair(row["image_key"], row["caption"], image, row["origin"], **truth)
    if images is None or row["image_key"] not in images:
        raise InputError(
            f"The ledger does not say where the image {row['image_key']} lies; give the images it was made from."
        )
    return replace(images[row["image_key"]], caption=row["caption"], origin=row["origin"], **truth)
