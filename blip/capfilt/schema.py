"""The columns of a ledger's tables, and the identity of a caption.

Version 1, in `ledger.json`, stands for all that is here and in `ledger`: these columns and types, the layout
of the folder, the fields of a manifest entry, and how `row_id` and `caption_hash` are computed.

How a later version reads it: a program reads every version up to its own and writes only its own.

- A column that is added keeps the version: earlier programs ask for columns by name and pass it over, and
  the program that adds it takes it for null in shards that lack it. Filters bring columns of their own and
  never change the version.
- A value that is added to `ledger.json` keeps the version: the `sha256` of `data` came after the first ledgers,
  and one without it is continued on its counts, as before, and stays without it.
- A column that is dropped, renamed or of another type, another `row_id` or another layout of the folder
  raises VERSION by one. The program then gains one function from each version to the next, which
  `Ledger.read` applies to the rows of a shard; the files on disk stay as they are, since their hashes
  are in the manifest.
- A job is continued only in the version that began it: shards of two versions never stand in one ledger.
- A ledger of a later version than the program's is refused, with the versions of both.
"""

import hashlib
from collections.abc import Sequence

import pyarrow as pa

VERSION = 1
CANDIDATES_OF_AN_IMAGE = 2**15
"""So many captions of an image and an origin the column `candidate` can number."""

CANDIDATES = pa.schema(
    [
        ("row_id", pa.string()),
        ("image_key", pa.string()),
        ("image_sha256", pa.string()),
        ("image_ref", pa.string()),  # "path" or "path#offset+length"; "" where the input held the pixels
        ("caption", pa.string()),  # web captions byte for byte as they came
        ("caption_hash", pa.int64()),  # of the normalized text: equal for duplicates
        ("origin", pa.string()),  # web, synthetic or human
        ("candidate", pa.int16()),  # number among the image's captions of this origin
        ("round", pa.int16()),
        ("captioner_id", pa.string()),  # "" for captions that came with the image
        ("decoding", pa.string()),
        ("seed", pa.int64()),
        ("mean_logprob", pa.float32()),  # null for captions that came with the image
        ("truth", pa.string()),  # true, false or uninformative; null where it is not known
        ("noise_kind", pa.string()),
    ]
)
REJECTS = pa.schema(
    [
        ("image_key", pa.string()),
        ("ref", pa.string()),
        ("reason", pa.string()),
        ("kind", pa.string()),  # image, text, file, caption (a synthetic one that failed)
        ("caption", pa.string()),  # the text that was lost with it, if there was one
        ("pairs", pa.int32()),  # input pairs lost
    ]
)
OVERRIDES = pa.schema(
    [
        ("row_id", pa.string()),
        ("kept", pa.bool_()),  # null gives the caption back to the filter
        ("was", pa.bool_()),  # the verdict it replaces
        ("reviewer", pa.string()),
        ("at", pa.timestamp("us", tz="UTC")),
        ("caption", pa.string()),  # the better text that exports take where kept is true; null for the caption as it is
    ]
)

SCHEMAS = {"candidates": CANDIDATES, "rejects": REJECTS, "overrides": OVERRIDES}
_GIVEN = ("image_key", "caption", "caption_hash", "origin")  # that every candidate has
_ADDED = {("overrides", "caption")}  # after the first ledgers were written, so that shards may lack them


def check_columns(table: str, rows: pa.Table, wanted: Sequence[str] | None, coded: Sequence[str]) -> None:
    """ArrowInvalid where a shard's columns are not the table's: missing (of all, or of those wanted), doubled,
    without a value that each row has, or of another type (those coded hold it in dictionaries). Of a filter's scores row_id is text, the rest numbers."""
    known, found = SCHEMAS.get(table), rows.schema
    for name in known.names if wanted is None and known is not None else wanted or ["row_id"]:
        if name not in found.names and (table, name) not in _ADDED:
            raise pa.ArrowInvalid(f"the column {name} is missing")
    for column in found:
        kind = column.type.value_type if column.name in coded and pa.types.is_dictionary(column.type) else column.type
        if known is not None and column.name in known.names:
            fits = kind == known.field(column.name).type
        else:
            fits = known is not None or (pa.types.is_string(kind) if column.name == "row_id" else pa.types.is_floating(kind))
        if not fits or found.names.count(column.name) > 1:
            raise pa.ArrowInvalid(f"the column {column.name} is doubled, or of type {column.type}")
        given = column.name == "row_id" or (table == "candidates" and column.name in _GIVEN)
        if given and rows[column.name].null_count:
            raise pa.ArrowInvalid(f"the column {column.name} lacks values")


def scores_schema(columns: tuple[str, ...]) -> pa.Schema:
    """A filter's table, row-aligned with the candidates of the same shard."""
    return pa.schema([("row_id", pa.string()), *((name, pa.float32()) for name in columns)])


def row_id(
    image_key: str,
    image_sha256: str,
    origin: str,
    caption: str,
    *,
    candidate: int,
    round: int,
    captioner_id: str = "",
    decoding: str = "",
    seed: int = 0,
) -> str:
    """Identity of a caption of an image: 80 bits as 20 hex digits, equal in every run of the same job."""
    parts = (image_key, image_sha256, origin, captioner_id, decoding, seed, round, candidate, caption)
    text = "\x1f".join(str(part) for part in parts)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()
