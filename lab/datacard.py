"""The numbers of a data card: what a ledger holds, what a policy keeps of it, and why not the rest.

Counted in SQL over the ledger's files, in a few passes. Memory is DuckDB's limit of 1 GiB and what reading a
row group of Parquet takes: groups by image, text or word that do not fit spill to a temporary folder, so that
never all captions are in memory.
"""

import hashlib
import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from blip.capfilt import Ledger, Policy
from blip.capfilt.override import rewritten
from blip.capfilt.policy import THRESHOLDS, single
from blip.capfilt.queries import WORD, connected, create_view
from blip.data.jsons import parse_json
from lab.audit_draw import identity

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

CARD, NUMBERS, HISTOGRAMS = "DATACARD.md", "datacard.json", "datacard-scores.png"
AUDIT, AUDIT_FIGURE = "audit.json", "audit.png"
BINS = 40
_MOST_REASONS = 1_000  # different ones that are counted apart

Numbers = dict[str, Any]


def card_numbers(ledger: Ledger, policy: Policy) -> Numbers:
    """Everything a card says of a ledger under a policy, as plain JSON values.

    InputError where a score that the policy needs is missing.
    """
    with _connected(ledger) as connection:
        create_view(connection, ledger, policy, "rows")
        connection.execute(_PER_IMAGE)
        counts, origins = ledger.counts(), _origins(connection, policy, list(rewritten(ledger)))
        return {
            "policy": str(policy),
            "score": " + ".join(f"{term.filter}.{term.column}" for term in policy.summands),
            "pairs": counts["given_rows"] + counts["rejected_pairs"],
            "pictures": _first(connection, _IMAGES),
            "origins": origins,
            "texts": _first(connection, _TEXTS),
            "vocabulary": _first(connection, _VOCABULARY.format(word=WORD)),
            "lengths": _lengths(connection),
            "scores": _scores(connection, policy, list(origins)),
            "rejects": _rejects(ledger),
            "made": _made(ledger),
        } | ({} if (stopped := ledger.unfinished) is None else {"unfinished": stopped.numbers})


def audit_of(ledger: Ledger) -> Numbers | None:
    """The result of the audit that lies beside a ledger; None where there is none, or one of other captions."""
    try:
        result = parse_json(ledger.store.read(AUDIT))["result"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return result if isinstance(result, dict) and result.get("ledger") == identity(ledger) else None


_UNSCORED = "(score IS NULL OR isnan(score))"
_PER_IMAGE = """
CREATE TEMP TABLE per_image AS SELECT image_key, any_value(image_sha256) AS sha256,
    coalesce(bool_or(kept) FILTER (origin <> 'synthetic'), false) AS given,
    coalesce(bool_or(kept) FILTER (origin = 'synthetic'), false) AS made
FROM rows GROUP BY image_key
"""
_IMAGES = """
SELECT count(*) AS images, (SELECT count(*) FROM (SELECT sha256 FROM per_image GROUP BY sha256)) AS distinct_pictures,
    count(*) FILTER (given AND made) AS kept_both, count(*) FILTER (given AND NOT made) AS kept_web_only,
    count(*) FILTER (made AND NOT given) AS kept_synthetic_only, count(*) FILTER (NOT made AND NOT given) AS kept_none
FROM per_image
"""
_ORIGINS = """
SELECT origin, count(*) AS captions, count(*) FILTER (kept) AS kept,
    count(*) FILTER (kept AND "by" = 'person') AS kept_by_people,
    count(*) FILTER (NOT kept AND "by" = 'person') AS filtered_by_people,
    count(*) FILTER (NOT kept AND "by" = 'filter' AND {unscored}) AS no_score,
    count(*) FILTER (NOT kept AND "by" = 'filter' AND NOT {unscored} AND score < {limit}) AS below_threshold,
    count(*) FILTER (NOT kept AND "by" = 'filter' AND NOT {unscored} AND score >= {limit}) AS other_rules,
    count(*) FILTER ({better}) AS rewritten, count(*) FILTER ({better} AND truth = 'true') AS rewritten_true,
    count(truth) AS truth_known, count(*) FILTER (truth = 'true') AS "true",
    count(*) FILTER (kept AND truth IS NOT NULL AND NOT {better}) AS kept_truth_known,
    count(*) FILTER (kept AND truth = 'true' AND NOT {better}) AS kept_true
FROM rows GROUP BY origin ORDER BY origin = 'synthetic', origin DESC
"""
_TEXTS = """
SELECT count(*)::BIGINT AS distinct_before, count(*) FILTER (kept > 0) AS distinct_kept,
    coalesce(sum(before), 0)::BIGINT AS captions, coalesce(sum(kept), 0)::BIGINT AS kept, coalesce(max(before), 0) AS most_often
FROM (SELECT caption_hash, count(*) AS before, count(*) FILTER (kept) AS kept FROM rows GROUP BY caption_hash)
"""
_VOCABULARY = """
SELECT count(*) AS before, count(*) FILTER (kept) AS kept FROM (
    SELECT word, bool_or(kept) AS kept
    FROM (SELECT unnest(regexp_extract_all(lower(caption), '{word}')) AS word, kept FROM rows) GROUP BY word
)
"""
_LENGTHS = """
SELECT origin, len(regexp_extract_all(lower(caption), '{word}')) AS words, count(*) AS before,
    count(*) FILTER (kept) AS kept
FROM rows GROUP BY ALL ORDER BY ALL
"""
_RANGE = "SELECT min(score), max(score) FROM rows WHERE isfinite(score)"
_HISTOGRAM = """
SELECT origin, kept, greatest(0, least({last}, floor((score::DOUBLE - {low}) / {width})))::INT AS bin, count(*)
FROM rows WHERE NOT {unscored} GROUP BY ALL
"""


@contextmanager
def _connected(ledger: Ledger) -> Iterator["DuckDBPyConnection"]:
    with tempfile.TemporaryDirectory(prefix="datacard-") as folder, connected(ledger) as connection:
        connection.execute("SET memory_limit = '1GiB'")
        connection.execute(f"SET temp_directory = '{folder}'")
        yield connection


def _rows(connection: "DuckDBPyConnection", sql: str) -> list[Numbers]:
    found = connection.execute(sql)
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _first(connection: "DuckDBPyConnection", sql: str) -> Numbers:
    return _rows(connection, sql)[0]


def _origins(connection: "DuckDBPyConnection", policy: Policy, better: Sequence[str]) -> dict[str, Numbers]:
    synthetic, web = (float(single(limit)) for limit in (policy.synthetic, policy.web))
    limit = f"(CASE WHEN origin = 'synthetic' THEN '{synthetic!r}'::FLOAT ELSE '{web!r}'::FLOAT END)"
    own = "false"  # else every row_id would be read
    if better:
        connection.register("better", pa.table({"row_id": pa.array(better, pa.string())}))
        own = "(row_id IN (SELECT row_id FROM better))"
    found = _rows(connection, _ORIGINS.format(unscored=_UNSCORED, limit=limit, better=own))
    return {row.pop("origin"): row for row in found}


def _lengths(connection: "DuckDBPyConnection") -> dict[str, dict[str, Numbers]]:
    """By origin, before and kept: mean, median, the 95th percentile and the most words of a caption; and what of each half is kept."""
    counts: dict[str, dict[str, Counter[int]]] = {}
    for row in _rows(connection, _LENGTHS.format(word=WORD)):
        own = counts.setdefault(row["origin"], {"before": Counter(), "kept": Counter()})
        for when, words in own.items():
            words[row["words"]] += row[when]
    return {
        origin: {when: length_summary(words) for when, words in own.items()} | {"halves": _halves(**own)}
        for origin, own in counts.items()
    }


def _halves(before: Counter[int], kept: Counter[int]) -> Numbers:
    """The share kept of captions of at most as many words as the median, and of longer ones; None where there is none."""
    median = length_summary(before)["median"]
    halves = {"short": [n for n in before if n <= median], "long": [n for n in before if n > median]}
    totals = {half: sum(before[n] for n in own) for half, own in halves.items()}
    return {half: sum(kept[n] for n in own) / totals[half] if totals[half] else None for half, own in halves.items()}


def length_summary(counts: Counter[int]) -> Numbers:
    """Of captions by their number of words: mean, median, 95th percentile (both as lower quantiles) and maximum."""
    total = sum(counts.values())
    if not total:
        return dict.fromkeys(("mean", "median", "p95", "most"))
    ends, running = {}, 0
    for words in sorted(counts):
        running += counts[words]
        for name, share in (("median", 0.5), ("p95", 0.95)):
            if name not in ends and running >= share * total:
                ends[name] = words
    mean = sum(words * count for words, count in counts.items()) / total
    return {"mean": round(mean, 3), **ends, "most": max(words for words, count in counts.items() if count)}


def _scores(connection: "DuckDBPyConnection", policy: Policy, origins: Sequence[str]) -> dict[str, Numbers]:
    """By origin: captions in equal bins of the score, over [0, 1] where all scores lie in it; infinities at the ends."""
    (low, high), = connection.execute(_RANGE).fetchall()
    if low is None or (low >= 0 and high <= 1):
        low, high = 0.0, 1.0
    width = (high - low) / BINS or 1.0
    sql = _HISTOGRAM.format(last=BINS - 1, low=repr(float(low)), width=repr(width), unscored=_UNSCORED)
    found: dict[str, Numbers] = {}
    for origin in origins:
        limit = policy.synthetic if origin == "synthetic" else policy.web
        ends = {"low": low, "high": low + width * BINS, "threshold": limit}
        found[origin] = ends | {"kept": [0] * BINS, "filtered": [0] * BINS}
    for origin, kept, at, count in connection.execute(sql).fetchall():
        found[origin]["kept" if kept else "filtered"][at] = count
    return found


def _rejects(ledger: Ledger) -> Numbers:
    """Rejects by kind and reason, and the input pairs lost with them; rare reasons beyond a thousand are one."""
    counts: Counter[tuple[str, str]] = Counter()
    for entry in ledger.entries("rejects"):
        rows = ledger.read("rejects", entry.shard, ["kind", "reason"])
        for row in rows.group_by(["kind", "reason"]).aggregate([([], "count_all")]).to_pylist():
            name = row["kind"], plain_reason(row["reason"])
            known = name in counts or len(counts) < _MOST_REASONS
            counts[name if known else (row["kind"], "other reasons")] += row["count_all"]
    reasons = [
        {"kind": kind, "reason": reason, "count": count}
        for (kind, reason), count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]
    return {"count": sum(counts.values()), "pairs": ledger.counts()["rejected_pairs"], "reasons": reasons}


def plain_reason(reason: str) -> str:
    """A reason without what belongs to one file alone: its path, the sizes of its picture, and where it breaks off."""
    for pattern, plain in _OF_ONE_FILE:
        reason = re.sub(pattern, plain, reason)
    return reason


_OF_ONE_FILE = (
    (r"^the file .* is missing$", "the file is missing"),
    (r"'[^']*'|\"[^\"]*\"", "the file"),
    (r"^(cannot be read: )?.+ ends inside the image at byte \d+$", r"\1the file ends inside the image"),
    (r"\brow \d+ of .+ holds no image bytes$", "the row holds no image bytes"),
    (r" \(\d+ bytes not processed\)", ""),
    (r"\b\d+ x \d+\b", "the picture's size"),
)


def _made(ledger: Ledger) -> Numbers:
    """The job as ledger.json keeps it, and hashes that name it and the captions."""
    about = {name: value for name, value in ledger.about.items() if name != THRESHOLDS}  # which are no part of the job
    config = json.dumps(about, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass")
    captioners = about.get("captioners") or [[about.get("captioner", ""), about.get("decoding", ""), about.get("candidates")]]
    names = ("seed", "round", "tile", "images_per_shard", "filters", "notes")
    return {
        "captioners": [dict(zip(("id", "decoding", "candidates"), one, strict=True)) for one in captioners],
        **{name: about.get(name) for name in names},
        "config_sha256": hashlib.sha256(config).hexdigest(),
        "captions_sha256": identity(ledger),
    }
