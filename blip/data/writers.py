"""Writing pairs as webdataset tars, lists with image files, and Parquet that Hugging Face
`datasets` reads.

Every file appears whole or not at all, and where no pair's image can be read none does: what an earlier
call wrote stays. Images are copied as they are stored (pixels become PNG; in tars also what training readers
do not open), captions byte for byte. Each pair comes with its provenance (scores, captioner, ...), which goes
into JSON fields or columns.
"""

import csv
import io
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from blip.data.collect import KEYED
from blip.data.files import free_name, image_extension, replacing, replacing_many
from blip.data.images import BadImage, decode_image
from blip.data.pairs import ImageRef, Pair, Reject, image_bytes, image_ref, image_sha256
from blip.errors import InputError

Record = tuple[Pair, Mapping[str, object]]
"""A pair and its provenance: names to texts, numbers, booleans or None."""

IMAGE_SHA256 = "image_sha256"
"""Provenance that is not written: the hash of the image that was captioned. Where it differs, the pair is a reject."""

_OPENED_IN_TARS = ("jpg", "png", "webp")  # training readers pass over any other without a word
_ROWS_A_GROUP = 256  # so that one picture opens without many others
_METADATA = KEYED | {"huggingface": json.dumps({"info": {"features": {"image": {"_type": "Image"}}}})}


@dataclass
class Written:
    """What a writer left: files, the number of pairs in them, and pairs it could not read."""

    paths: list[Path] = field(default_factory=list)
    pairs: int = 0
    rejects: list[Reject] = field(default_factory=list)


def write_tars(
    records: Iterable[Record], folder: str | Path, *, shard_size: int = 1000, name: str = "pairs"
) -> Written:
    """Tars of one sample a pair (`key.jpg key.txt key.json`), as training readers expect.

    shard_size: pairs a tar, and more only for those that follow with the same key: parted, they would be read as two images.
    """
    written = Written()
    rows = _with_bytes(records, written, _opened_in_tars)
    ends: set[str] = set()
    ahead = next(rows, None)
    while ahead is not None:
        path = Path(folder) / f"{name}-{len(written.paths):05d}.tar"
        taken: set[str] = set()
        stems: list[str] = []
        with (
            replacing(path) as file,
            tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT, pax_headers=KEYED) as tar,
        ):
            key = None
            while ahead is not None and (len(stems) < shard_size or ahead[0]["key"] == key):
                row, data = ahead
                key = row["key"]
                stems.append(free_name(str(key), taken, ends))
                _add_sample(tar, stems[-1], row, data)
                ahead = next(rows, None)
        # Readers join tars in any order, and take equal names that follow each other for one sample.
        ends |= {stems[0], stems[-1]}
        written.pairs += len(stems)
        written.paths.append(path)
    return written


def write_list(records: Iterable[Record], path: str | Path, *, images: str = "images") -> Written:
    """A `.json` list as the published code reads it, `.csv` or `.tsv`, and each image once in the
    folder `images`.

    That folder is beside the list, and the paths in the list start there. The list comes last: where
    it stands, so do its images. Other lists may have theirs in the same folder: an image that is there
    keeps its name and its bytes.
    """
    path, written = Path(path), Written([Path(path)])
    write = {".json": _write_json, ".csv": _write_csv, ".tsv": _write_tsv}.get(path.suffix.lower())
    if write is None:
        raise InputError(f"{path} must end in .json, .csv or .tsv: that says what to write.")
    files: dict[str, str] = {}
    taken: set[str] = set()
    rows = []
    with replacing_many(path.parent) as put:
        for row, data in _with_bytes(records, written):
            key = str(row["key"])
            if key not in files:
                files[key] = f"{images}/{_name_of_its_own(path.parent / images, key, data, taken)}"
                put(files[key], data)
            rows.append({"image": files[key], **row})
    if written.rejects and not rows:
        return Written(rejects=written.rejects)
    with replacing(path) as out:
        text = io.TextIOWrapper(out, encoding="utf-8", newline="")
        write(rows, text)
        text.detach()  # writes what it holds; the file below stays open for its sync
    written.pairs = len(rows)
    return written


def write_parquet(
    records: Iterable[Record], path: str | Path, types: Mapping[str, pa.DataType] | None = None
) -> Written:
    """One table with the images as bytes, in the form of Hugging Face's image feature, and one
    column a name.

    types: of provenance, by name; what is not among them has that of the first 256 rows, and is text
    where it is empty in all of them.
    """
    written = Written([Path(path)])
    rows = _with_bytes(records, written)
    first = list(islice(rows, _ROWS_A_GROUP))
    if written.rejects and not first:
        return Written(rejects=written.rejects)
    schema = _schema([row for row, _ in first], types or {})
    with replacing(path) as file, pq.ParquetWriter(file, schema) as writer:
        group = first
        while group:
            columns = [{**row, "image": {"bytes": data, "path": None}} for row, data in group]
            writer.write_table(pa.Table.from_pylist(columns, schema))
            written.pairs += len(group)
            group = list(islice(rows, _ROWS_A_GROUP))
    return written


def _with_bytes(
    records: Iterable[Record], written: Written, form: Callable[[bytes], bytes] = lambda stored: stored
) -> Iterator[tuple[dict[str, object], bytes]]:
    """Each pair as a row (caption, key, origin, truth where known, provenance) with its image in a form."""
    for pair, provenance in records:
        ref = image_ref(pair) or pair.key
        try:
            stored = image_bytes(pair)
            data = form(stored)
        except (OSError, BadImage) as error:
            written.rejects.append(Reject(pair.key, ref, f"cannot be read: {error}"))
            continue
        held = replace(pair, image=stored) if isinstance(pair.image, ImageRef) else pair
        if (known := provenance.get(IMAGE_SHA256)) and image_sha256(held) != known:
            written.rejects.append(Reject(pair.key, ref, "it is not the image that was captioned"))
            continue
        row: dict[str, object] = {"caption": pair.caption, "key": pair.key, "origin": pair.origin}
        if pair.truth is not None or pair.noise_kind is not None:
            row |= {"truth": pair.truth, "noise_kind": pair.noise_kind}
        yield row | {name: provenance[name] for name in provenance if name not in (*row, IMAGE_SHA256)}, data


def _name_of_its_own(folder: Path, key: str, data: bytes, taken: set[str]) -> str:
    """A file name for an image at which no other image lies in a folder, nor will (`taken`)."""
    while True:
        name = f"{free_name(key, taken)}.{image_extension(data)}"
        there = folder / name
        if not there.exists() or (there.is_file() and there.read_bytes() == data):
            return name


def _opened_in_tars(stored: bytes) -> bytes:
    """The image as it is stored where training readers open its format, else as PNG."""
    if image_extension(stored) in _OPENED_IN_TARS:
        return stored
    out = io.BytesIO()
    decode_image(stored).save(out, "PNG")
    return out.getvalue()


def _add_sample(tar: tarfile.TarFile, stem: str, row: dict[str, object], data: bytes) -> None:
    _add_member(tar, f"{stem}.{image_extension(data)}", data)
    _add_member(tar, f"{stem}.txt", str(row["caption"]).encode())
    _add_member(tar, f"{stem}.json", json.dumps(row, ensure_ascii=False).encode())


def _add_member(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # time and owner stay zero: the same pairs give the same bytes
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _write_json(rows: list[dict[str, object]], out: TextIO) -> None:
    out.write("[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n")


@dataclass(frozen=True)
class _Lines:
    """Ends rows of the csv module in LF where it ends them in CR LF, with which alone it quotes a lone CR."""

    out: TextIO

    def write(self, row: str) -> None:
        self.out.write(row.removesuffix("\r\n") + "\n")


def _write_csv(rows: list[dict[str, object]], out: TextIO, delimiter: str = ",") -> None:
    names = dict.fromkeys(chain(["image", "caption", "key", "origin"], *rows))
    writer = csv.DictWriter(_Lines(out), names, delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)


def _write_tsv(rows: list[dict[str, object]], out: TextIO) -> None:
    _write_csv(rows, out, "\t")


def _schema(rows: list[dict[str, object]], types: Mapping[str, pa.DataType]) -> pa.Schema:
    image = pa.field("image", pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    fields = {"caption": pa.string(), "key": pa.string(), "origin": pa.string()}
    for name in dict.fromkeys(chain(*rows)):
        values = [row.get(name) for row in rows]
        kind = pa.infer_type(values)
        fields.setdefault(name, pa.string() if pa.types.is_null(kind) else kind)
    fields |= types
    return pa.schema(
        [image, *(pa.field(name, kind) for name, kind in fields.items())], metadata=_METADATA
    )
