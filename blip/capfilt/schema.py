"""The columns of a ledger's tables, and the identity of a caption."""

import hashlib

import pyarrow as pa

VERSION = 1

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
        ("kept", pa.bool_()),
        ("was", pa.bool_()),  # the verdict it replaces
        ("reviewer", pa.string()),
        ("at", pa.timestamp("us", tz="UTC")),
    ]
)


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
