"""The rows of a ledger, from opened images and captions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

import pyarrow as pa

from blip.capfilt.preparing import Ready
from blip.capfilt.schema import CANDIDATES_OF_AN_IMAGE, row_id
from blip.data.pairs import Pair, Reject, image_ref
from blip.data.text import normalized_text_hash
from blip.generate.decoding import Caption


@dataclass(frozen=True)
class Opened:
    """An image of a shard: its pair, its captions, and the picture with what models read of it, or why there is none."""

    pair: Pair
    texts: list[Pair]
    digest: str = ""
    ready: Ready | None = None
    reason: str = ""


class Maker(TypedDict, total=False):
    """What made a synthetic caption; nothing did a text that came with its image."""

    captioner_id: str
    decoding: str
    seed: int


def given_rows(opened: Opened, round: int) -> list[dict[str, Any]]:
    """Rows of the texts that came with the image, of as many as can be numbered."""
    return [
        _row(opened, pair.caption, pair.origin, number, round)
        | {"truth": pair.truth, "noise_kind": pair.noise_kind}
        for number, pair in enumerate(opened.texts[:CANDIDATES_OF_AN_IMAGE])
    ]


def synthetic_rows(
    opened: Opened,
    captions: list[Caption],
    round: int,
    *,
    made: Maker,
    judge: Callable[[str, str], str | None],
) -> list[dict[str, Any]]:
    """Rows of generated captions. made: captioner_id, decoding and seed; judge: truth by key and text."""
    return [
        _row(opened, caption.text, "synthetic", number, round, **made)
        | {"mean_logprob": caption.mean_logprob, "truth": judge(opened.pair.key, caption.text)}
        for number, caption in enumerate(captions)
    ]


def _row(
    opened: Opened, caption: str, origin: str, candidate: int, round: int, **made: Unpack[Maker]
) -> dict[str, Any]:
    identity = row_id(
        opened.pair.key, opened.digest, origin, caption, candidate=candidate, round=round, **made
    )
    return {
        "row_id": identity,
        "image_key": opened.pair.key,
        "image_sha256": opened.digest,
        "image_ref": image_ref(opened.pair),
        "caption": caption,
        "caption_hash": normalized_text_hash(caption),
        "origin": origin,
        "candidate": candidate,
        "round": round,
        "captioner_id": "",
        "decoding": "",
        "seed": None,
    } | made


def lost_rows(opened: Opened) -> list[dict[str, Any]]:
    """An image that cannot be opened: one reject for each pair lost with it, at least one."""
    common = {"image_key": opened.pair.key, "ref": image_ref(opened.pair), "reason": opened.reason, "kind": "image"}
    if not opened.texts:  # its text was rejected before
        return [common | {"caption": None, "pairs": 0}]
    return [common | {"caption": pair.caption, "pairs": 1} for pair in opened.texts]


def crowded_rows(opened: Opened) -> list[dict[str, Any]]:
    """The reject rows of the texts that came with an image and that no row of `given_rows` can number."""
    reason = f"the image has more than the {CANDIDATES_OF_AN_IMAGE:,} captions that a ledger can number"
    common = {"image_key": opened.pair.key, "ref": image_ref(opened.pair), "reason": reason, "kind": "text", "pairs": 1}
    return [common | {"caption": pair.caption} for pair in opened.texts[CANDIDATES_OF_AN_IMAGE:]]


def failure_row(row: dict[str, Any]) -> dict[str, Any]:
    """The reject row of a candidate whose caption came out empty."""
    reason = "the captioner gave an empty caption"
    return {
        "image_key": row["image_key"],
        "ref": row["image_ref"],
        "reason": reason,
        "kind": "caption",
        "caption": None,
        "pairs": 0,
    }


def reject_row(reject: Reject) -> dict[str, Any]:
    """The reject row of an input that its reader could not use."""
    lost = 0 if reject.kind == "file" else 1
    own = {"image_key": reject.key, "ref": reject.ref, "reason": reject.reason, "kind": reject.kind}
    return own | {"caption": None, "pairs": lost}


def reject_counts(rows: list[dict[str, Any]]) -> dict[str, int]:
    """What the manifest counts of a shard of rejects; `lab ledger verify` adds them up."""
    return {"rejects": len(rows), "rejected_pairs": sum(row["pairs"] for row in rows)}


def candidate_counts(rows: list[dict[str, Any]], *, images: int, failed: int) -> dict[str, int]:
    """What the manifest counts of a shard of candidates."""
    synthetic = sum(row["origin"] == "synthetic" for row in rows)
    return {
        "images": images,
        "given_rows": len(rows) - synthetic,
        "synthetic_rows": synthetic,
        "failed_captions": failed,
    }


def table(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows as a table with exactly the columns of a schema."""
    return pa.Table.from_pylist(rows, schema=schema)
