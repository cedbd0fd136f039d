"""Breaking what checksums would hide: PNG chunks, tar headers, zip members, safetensors headers, tables, SQLite.

A reader sees past the checksum only where it is right, so these are broken first and sealed again.
"""

import io
import json
import random
import sqlite3
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from lab.bench.fuzz_mutate import any_bytes, text, tree

Mutate = Callable[[random.Random, bytes], bytes]

_FORMATS: tuple[Literal[1, 2], ...] = (tarfile.PAX_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)
_TAR_KINDS = b"01234567xgLKSDMVN\0AZ"
_TAR_NAMES = ("../../up.jpg", "/up.jpg", "a\\b.jpg", ".hidden.jpg", "", "x" * 300 + ".txt", "\udcff.txt", "a/./b.json", "0.jpg")
_PAX = (
    {"size": "²"}, {"size": "9" * 5_000}, {"size": "-1"}, {"size": "12"}, {"size": ""}, {"path": "a\0b.jpg"}, {"path": ""},
    {"path": "0.txt"}, {"path": "x" * 70_000}, {"mtime": "nan"}, {"hdrcharset": "BINARY"}, {"GNU.sparse.size": "99999999"},
)  # fmt: skip
_TYPES = (
    pa.string(), pa.large_string(), pa.binary(), pa.int8(), pa.int64(), pa.float32(), pa.bool_(), pa.null(),
    pa.timestamp("us"), pa.timestamp("ns", "UTC"), pa.date32(), pa.list_(pa.string()), pa.list_(pa.binary()),
    pa.dictionary(pa.int32(), pa.string()), pa.decimal128(20, 2), pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    pa.struct([("x", pa.int32())]), pa.map_(pa.string(), pa.string()),
)  # fmt: skip
_CODECS = ("none", "snappy", "gzip", "zstd", "lz4")


def png(rng: random.Random, content: bytes) -> bytes:
    """A PNG with a chunk whose type or data is broken, gone, doubled or moved, under the right checksum."""
    chunks = _chunks(content)
    if not chunks:
        return content[: rng.randrange(len(content) + 1)]
    at = rng.randrange(len(chunks))
    kind, data = chunks.pop(at)
    for _ in range(rng.choice((0, 1, 1, 1, 1, 2))):
        new = rng.choice((kind, kind, kind, b"IDAT", b"PLTE", b"tRNS", b"eXIf", b"acTL", b"fdAT", b"iCCP", b"zTXt"))
        chunks.insert(rng.choice((at, rng.randrange(len(chunks) + 1))), (new, any_bytes(rng, data)))
    sealed = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    return content[:8] + b"".join(sealed)


def tar(rng: random.Random, content: bytes) -> bytes:
    """A tar with a broken header under the right checksum, or with an odd member before its end."""
    if rng.random() < 0.4:
        return _odd_member(rng) + content if rng.random() < 0.5 else content[:-1024] + _odd_member(rng) + content[-1024:]
    starts = [at for at in range(0, len(content) - 511, 512) if content[at + 257 : at + 262] == b"ustar"]
    if not starts:
        return any_bytes(rng, content)
    at = rng.choice(starts)
    header = bytearray(content[at : at + 512])
    field = rng.choice((0, 100, 124, 124, 124, 135, 156, 156, 157, 257, 345))
    if field == 156:
        header[156] = rng.choice(_TAR_KINDS)
    else:
        new = rng.choice((b"\x80" + rng.randbytes(11), b"\xff" * 12, b"77777777777\0", b"0000000001_1", b"-0000000001\0", b"a", b"\0" * 12))
        header[field : field + len(new)] = new
    header = header[:512]
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return content[:at] + bytes(header) + content[at + 512 :]


def archive(rng: random.Random, content: bytes) -> bytes:
    """A zip, as torch writes its files, with a member broken, gone, doubled or renamed, under the right checksums."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as source:
            members = [(info.filename, source.read(info)) for info in source.infolist()]
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, zlib.error):
        return any_bytes(rng, content)
    at = rng.randrange(len(members))
    name, data = members.pop(at)
    for _ in range(rng.choice((0, 1, 1, 1, 1, 1))):
        members.insert(at, (rng.choice((name, name, name, name, "x/data.pkl", name + "0")), any_bytes(rng, data)))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archived:
        for own, held in members:
            archived.writestr(zipfile.ZipInfo(own), held)
    return out.getvalue()


def safetensors(rng: random.Random, content: bytes) -> bytes:
    """A safetensors file whose header, JSON, has a node changed; its length is right again."""
    size = int.from_bytes(content[:8], "little")
    head = tree(rng, _inner(rng, content[8 : 8 + size]))
    return len(head).to_bytes(8, "little") + head + content[8 + size :]


def table(rng: random.Random, content: bytes) -> bytes:
    """A Parquet table with a column of another type, null, renamed, doubled or gone; or with fewer or more rows."""
    try:
        rows = pq.read_table(io.BytesIO(content))
        at = rng.randrange(rows.num_columns)
        rows = rng.choice((_retyped, _retyped, _renamed, _without, _doubled, _shorter))(rng, rows, at)
        out = io.BytesIO()
        pq.write_table(rows, out, compression=rng.choice(_CODECS), row_group_size=rng.choice((1, 3, 1_000)))
    except (pa.ArrowException, ValueError, TypeError, OSError, MemoryError):
        return any_bytes(rng, content)
    return out.getvalue()


def database(rng: random.Random, content: bytes) -> bytes:
    """An SQLite file in which a value has another type, or a table is gone, doubled or of other columns."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "broken.sqlite"
        path.write_bytes(content)
        value = rng.choice((None, 1, -1, 2**62, 0.5, "", "\0", "not a time", b"\xff\xfe", "x" * 5_000))
        column = rng.choice(("sheet", "row_id", "version", "word", "caption", "reviewer", "at"))
        changes = (
            (f"UPDATE words SET {column} = ? WHERE version = 1", (value,)),
            (f"UPDATE words SET {column} = CAST(x'fffe41' AS TEXT)", ()),
            ("UPDATE about SET ledger = ?", (value,)),
            ("DELETE FROM about", ()),
            ("DROP TABLE about", ()),
            ("ALTER TABLE words RENAME COLUMN at TO moment", ()),
            ("DROP TABLE words", ()),
        )
        try:
            connection = sqlite3.connect(path)
            with connection:
                connection.execute(*rng.choice(changes))
            connection.close()
        except sqlite3.Error:
            return any_bytes(rng, content)
        return path.read_bytes()


_FORMS: dict[str, tuple[Mutate, ...]] = {
    ".png": (png, png),
    ".tar": (tar, tar),
    ".pth": (archive, archive),
    ".pt": (archive, archive),
    ".safetensors": (safetensors, safetensors, safetensors),
    ".parquet": (table, table),
    ".sqlite": (database, database),
    ".json": (tree, tree, tree, text),
    ".jsonl": (tree, tree, tree, text),
    ".csv": (text, text),
    ".tsv": (text, text),
    ".txt": (text, text),
}


def mutated(rng: random.Random, name: str, content: bytes) -> bytes:
    """A broken content of a file; its name's ending says by which forms, beside the ways to break any bytes."""
    own = _FORMS.get(PurePath(name).suffix.lower(), ())
    return rng.choice((*own, any_bytes))(rng, content)


def _chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        found.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def _odd_member(rng: random.Random) -> bytes:
    member = tarfile.TarInfo(rng.choice(_TAR_NAMES))
    member.type = rng.choice((tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE))
    member.linkname = rng.choice(("", "../../etc/passwd", "0.jpg"))
    data = rng.randbytes(rng.choice((0, 1, 511, 512, 700))) if member.isreg() else b""
    member.size = len(data)
    if rng.random() < 0.5:
        member.pax_headers = dict(rng.choice(_PAX))
    return member.tobuf(rng.choice(_FORMATS), errors="surrogateescape") + data.ljust(-(-len(data) // 512) * 512, b"\0")


def _inner(rng: random.Random, head: bytes) -> bytes:
    """Now and then a node is changed inside a text of the metadata that is JSON itself."""
    if rng.random() < 0.4:
        return head
    try:
        header = json.loads(head)
        texts = sorted(header["__metadata__"])
        name = rng.choice(texts)
        changed = tree(rng, header["__metadata__"][name].encode()).decode("utf-8", "replace")
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return head
    header["__metadata__"][name] = changed
    return json.dumps(header).encode("utf-8", "surrogatepass")


def _retyped(rng: random.Random, rows: pa.Table, at: int) -> pa.Table:
    kind, name = rng.choice(_TYPES), rows.column_names[at]
    try:
        values = rows.column(at).cast(kind)
    except (pa.ArrowException, ValueError):
        values = pa.nulls(rows.num_rows, kind)
    return rows.set_column(at, name, values)


def _renamed(rng: random.Random, rows: pa.Table, at: int) -> pa.Table:
    names = rows.column_names
    names[at] = rng.choice(("", "x", names[at].upper(), rng.choice(rows.column_names), "caption", "image", "row_id"))
    return rows.rename_columns(names)


def _without(rng: random.Random, rows: pa.Table, at: int) -> pa.Table:
    return rows.remove_column(at)


def _doubled(rng: random.Random, rows: pa.Table, at: int) -> pa.Table:
    return rows.append_column(rows.column_names[at], rows.column(rng.randrange(rows.num_columns)))


def _shorter(rng: random.Random, rows: pa.Table, at: int) -> pa.Table:
    if rng.random() < 0.3:
        return pa.concat_tables([rows, rows])
    return rows.slice(rng.randrange(rows.num_rows + 1), rng.randrange(rows.num_rows + 1))
