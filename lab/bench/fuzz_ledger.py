"""Fuzz targets: a ledger whose shards, entries or facts are broken, and what lies beside it."""

from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa

from blip.capfilt import Ledger, Policy, decide, verify
from blip.capfilt.ledger import READING, shard_name
from blip.capfilt.override import Decision, decisions, record
from blip.capfilt.queries import decide_duckdb
from blip.capfilt.rows import candidate_counts, reject_counts, table
from blip.capfilt.schema import CANDIDATES, REJECTS, row_id, scores_schema
from blip.capfilt.tolerance import measurements
from blip.data.text import normalized_text_hash
from lab.audit import Stratum
from lab.audit_draw import identity
from lab.audit_files import key_path, read_answers, read_key
from lab.bench.fuzz_case import Seed, Tally, Target
from lab.datacard import audit_of
from lab.records import as_json
from lab.search_index import About, SearchIndex, shards_digest, write_index

_SHARDS, _IMAGES = 2, 3
_SHEET = "audit.csv"
_COLUMNS = ("itm_logit", "itm_prob", "itc")
_POLICIES = (Policy(), Policy(per_image=1, best_synthetic=1), Policy(top_fraction=0.5, per_caption=1))
_ABOUT = {
    "captioner": "fuzz",
    "decoding": "nucleus",
    "candidates": 1,
    "seed": 0,
    "round": 0,
    "tile": 4,
    "images_per_shard": _IMAGES,
    "filters": {"itm": "fuzz"},
    "notes": {},
    "data": {"images": _SHARDS * _IMAGES, "pairs": _SHARDS * _IMAGES, "reading_rejects": 1},
}


def small_ledger(folder: Path) -> Ledger:
    """A whole ledger of two shards with scores, rejects and a person's decisions, the same every time."""
    ledger = Ledger.create(folder, _ABOUT)
    lost = [{"image_key": "gone", "ref": "gone.jpg", "reason": "zero bytes", "kind": "image", "caption": None, "pairs": 1}]
    ledger.write("rejects", READING, table(lost, REJECTS), reject_counts(lost))
    for number in range(_SHARDS):
        rows = [_row(number * _IMAGES + image, origin) for image in range(_IMAGES) for origin in ("web", "synthetic")]
        shard = shard_name(number)
        ledger.write("candidates", shard, table(rows, CANDIDATES), candidate_counts(rows, images=_IMAGES, failed=0))
        ledger.write("rejects", shard, table([], REJECTS), reject_counts([]))
        scores = [{"row_id": row["row_id"], "itm_logit": 0.5, "itm_prob": at / 5, "itc": 0.1} for at, row in enumerate(rows)]
        ledger.write("scores/itm", shard, pa.Table.from_pylist(scores, scores_schema(_COLUMNS)))
    said = datetime(2026, 1, 2, tzinfo=UTC)
    record(ledger, {_row(0, "web")["row_id"]: Decision(False, "ann", said), _row(1, "web")["row_id"]: Decision(True, "bo", said, "Öl")})
    return ledger


def _row(image: int, origin: str) -> dict[str, Any]:
    made: dict[str, Any] = {"captioner_id": "fuzz", "decoding": "nucleus", "seed": 0} if origin == "synthetic" else {}
    key, digest, caption = f"image {image}", f"{image:064x}", f"a {origin} caption of ä {image // 2}"
    name = row_id(key, digest, origin, caption, candidate=0, round=0, **made)
    own: dict[str, Any] = {"row_id": name, "image_key": key, "image_sha256": digest, "image_ref": f"{image}.jpg", "caption": caption}
    own |= {"caption_hash": normalized_text_hash(caption), "origin": origin, "candidate": 0, "round": 0}
    return own | {"captioner_id": "", "decoding": "", "seed": None} | made


@cache
def ledger_files() -> dict[str, bytes]:
    """The files of that ledger, below `ledger/`, with its measured tolerance, search index and audit."""
    with TemporaryDirectory() as scratch:
        ledger = small_ledger(Path(scratch) / "ledger")
        ledger.store.write("agreement.json", as_json({"itm.itm_prob": [_AGREEMENT]}))
        ledger.store.write("audit.json", as_json({"result": {"ledger": identity(ledger), "precision": 0.5}}))
        _write_search(ledger)
        _write_audit(ledger, Path(scratch))
        paths = sorted(path for path in Path(scratch).rglob("*") if path.is_file())
        return {str(path.relative_to(scratch)): path.read_bytes() for path in paths}


_RUNNING = {"device": "cpu", "precision": "float32"}
_AGREEMENT = {
    "captions": 12,
    "tolerance": 0.001,
    "p999": 0.0005,
    "unscored": 0,
    "here": _RUNNING,
    "there": _RUNNING | {"precision": "bf16"},
    "versions": {"torch": "2"},
}


def _write_search(ledger: Ledger) -> None:
    about = About(model="0", weights="w", vocab=None, image_size=32, shards=shards_digest(ledger), unread=0)
    rows = _SHARDS * _IMAGES
    units = np.eye(rows, 8, dtype=np.float32)
    arrays: dict[str, np.ndarray] = {"images": units, "texts": units, "text_of_row": np.arange(2 * rows, dtype=np.int64) % rows}
    write_index(Path(str(ledger.folder)) / "search", about, arrays)


def _write_audit(ledger: Ledger, folder: Path) -> None:
    rows = decide(ledger).to_pylist()[:4]
    facts = [{"row_id": row["row_id"], "stratum": 0, "score": row["score"], "kept": row["kept"]} for row in rows]
    key = {"ledger": identity(ledger), "policy": asdict(Policy()), "seed": 0, "rows": facts}
    key_path(folder / _SHEET).write_bytes(as_json(key | {"strata": [asdict(Stratum("web", 6, 4))]}))
    lines = ["row_id,image_key,image,caption,matches"]
    lines += [f"{row['row_id']},{row['image_key']},,{row['caption']},{word}" for row, word in zip(rows, ("yes", "no", "unsure", ""), strict=True)]
    (folder / _SHEET).write_bytes("\r\n".join(lines).encode())


def _seeds(*parts: str) -> Callable[[], tuple[Seed, ...]]:
    """A seed in which the files whose names begin with these are broken."""
    return lambda: (Seed(ledger_files(), tuple(name for name in ledger_files() if name.startswith(parts))),)


def _read_ledger(tally: Tally) -> None:
    ledger = tally.attempt(lambda: Ledger.open(tally.folder / "ledger"))
    if ledger is None:
        return
    found = tally.attempt(lambda: verify(ledger))
    if found is not None:
        tally.rejected += sum(not finding.holds for finding in found)
        changed = any(path.read_bytes() != ledger_files()[name] for name, path in _shards(tally.folder))
        tally.require(not changed or any(not finding.holds for finding in found), "a changed shard that lab ledger verify takes for whole")
    for ask in (*(partial(decide, ledger, policy) for policy in _POLICIES), partial(decide_duckdb, ledger)):
        verdicts = tally.attempt(ask)
        if verdicts is not None:
            verdicts.to_pylist()
    tally.attempt(lambda: decisions(ledger))
    tally.attempt(ledger.counts)
    for name in ("candidates", "rejects", "overrides"):
        tally.attempt(partial(_read_table, ledger, name))


def _read_table(ledger: Ledger, name: str) -> list[dict[str, Any]]:
    return ledger.table(name).to_pylist()


def _shards(folder: Path) -> list[tuple[str, Path]]:
    found = [(name, folder / name) for name in ledger_files() if name.endswith(".parquet")]
    return [(name, path) for name, path in found if path.is_file()]


def _read_beside(tally: Tally) -> None:
    ledger = Ledger.open(tally.folder / "ledger")
    tally.attempt(lambda: measurements(ledger))
    index = tally.attempt(lambda: SearchIndex.open(tally.folder / "ledger" / "search", ledger))
    if index is not None:
        index.texts[index.text_of_row].sum()
    tally.attempt(lambda: audit_of(ledger))
    key = tally.attempt(lambda: read_key(tally.folder / _SHEET, ledger))
    if key is not None:
        tally.attempt(lambda: read_answers(tally.folder / _SHEET, replace(key)))


TARGETS = (
    Target("ledger-shards", _seeds("ledger/candidates", "ledger/scores", "ledger/rejects", "ledger/overrides"), _read_ledger),
    Target("ledger-entries", _seeds("ledger/manifest", "ledger/ledger.json"), _read_ledger),
    Target("ledger-beside", _seeds("ledger/agreement", "ledger/search", "ledger/audit", "audit"), _read_beside),
)
