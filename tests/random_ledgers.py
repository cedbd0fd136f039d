"""Small random ledgers for policies: few score values, so that ties abound, and some missing ones."""

import random
from datetime import UTC, datetime

import pyarrow as pa

from blip.capfilt.ledger import Ledger, shard_name
from blip.capfilt.rows import table
from blip.capfilt.schema import CANDIDATES, OVERRIDES, scores_schema
from blip.data.text import normalized_text_hash

COLUMNS = {"itm": ("itm_prob", "itc"), "clip": ("clip_score",)}
WORDS = ("a red dog", "a Red dog.", "two cats", "a boat", "a boat on water", "sky")


def _score(rng):
    special = rng.random()
    if special < 0.1:
        return None
    if special < 0.2:
        return float("nan")
    return rng.choice((-0.0, 0.0, 0.25, 0.5, 0.7, 1.0, -1.5, rng.random()))


def _row(rng, shard, image, number, origin):
    caption = rng.choice(WORDS)
    return {
        "row_id": f"{shard}-{image}-{number}-{origin}", "image_key": f"key {shard}/{image}",
        "image_sha256": "", "image_ref": "", "caption": caption,
        "caption_hash": normalized_text_hash(caption), "origin": origin, "candidate": number, "round": 0,
        "captioner_id": "", "decoding": "",
    }  # fmt: skip


def random_ledger(folder, seed, shards=3, images=6):
    """A ledger of two filters with web, human and synthetic captions, some decided by people."""
    rng = random.Random(seed)
    ledger = Ledger.create(folder, {"filters": {}})
    everything = []
    for number in range(shards):
        rows = [
            _row(rng, number, image, n, rng.choice(("web", "human", "synthetic", "synthetic")))
            for image in range(images)
            for n in range(rng.randrange(5))
        ]
        if rng.random() < 0.5:
            rng.shuffle(rows)  # captions of an image need not stand together
        everything += rows
        ledger.write("candidates", shard_name(number), table(rows, CANDIDATES))
        for name, columns in COLUMNS.items():
            scores = [{"row_id": row["row_id"]} | {c: _score(rng) for c in columns} for row in rows]
            ledger.write(f"scores/{name}", shard_name(number), pa.Table.from_pylist(scores, scores_schema(columns)))
    for number in range(rng.randrange(3)):
        chosen = rng.sample(everything, min(4, len(everything)))
        decisions = [
            {"row_id": row["row_id"], "kept": rng.random() < 0.5, "was": True, "reviewer": "ann", "at": datetime.now(UTC)}
            for row in chosen
        ]
        ledger.write("overrides", shard_name(number), pa.Table.from_pylist(decisions, schema=OVERRIDES))
    return ledger
