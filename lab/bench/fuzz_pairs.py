"""Fuzz targets: every form in which pairs of images and texts come, with every pair accounted for.

How many pairs a broken file holds is counted here a second time, plainly, from the file itself.
"""

import csv
import io
import json
import tarfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from blip.data.files import IMAGE_EXTENSIONS
from blip.data.images import BadImage, open_image
from blip.data.pairset import PairSet
from blip.data.readers import read_pairs
from blip.data.tar_members import CutTar, tar_members
from lab.bench.fuzz_case import Seed, Tally, Target
from lab.bench.fuzz_data import encoded, picture

_OPENED = 8  # images of a set that are opened too

Expected = tuple[int, int] | None
"""The fewest and the most pairs that a file can hold; None where that cannot be told."""

_ROWS = [
    {"image": "0.png", "caption": "a red ball", "key": "first"},
    {"image": "1.jpg", "caption": ["a dog", "two dogs"], "origin": "human"},
    {"image": "sub/2.png", "captions": ["Öl & \U0001f389", ""], "truth": "false", "noise_kind": "vague"},
    {"image": "gone.png", "caption": "nothing"},
    {"image": "0.png", "caption": "a second caption"},
]
_PICTURES = {"0.png": encoded(picture(0), "PNG"), "1.jpg": encoded(picture(1), "JPEG"), "sub/2.png": encoded(picture(2), "PNG")}


def _beside(name: str, content: bytes | str) -> Seed:
    """A table beside the pictures it names; mostly the table is broken."""
    data = content.encode() if isinstance(content, str) else content
    return Seed({name: data} | _PICTURES, (name,) * 12 + tuple(_PICTURES))


@cache
def _lists() -> tuple[Seed, ...]:
    coco = {
        "images": [{"id": n, "file_name": name} for n, name in enumerate(_PICTURES)],
        "annotations": [{"image_id": n % 3, "id": n, "caption": f"caption {n}"} for n in range(5)],
    }
    lines = "\n".join(json.dumps(row) for row in _ROWS)
    return _beside("pairs.json", json.dumps(_ROWS)), _beside("pairs.jsonl", lines), _beside("pairs.json", json.dumps(coco))


@cache
def _tables() -> tuple[Seed, ...]:
    rows = [("image", "caption"), *((name, f'say "{n}", twice\nand on') for n, name in enumerate(_PICTURES)), ("gone.png", "x")]
    seeds = []
    for name, mark in (("pairs.csv", ","), ("pairs.tsv", "\t")):
        out = io.StringIO(newline="")
        csv.writer(out, delimiter=mark).writerows(rows)
        seeds.append(_beside(name, out.getvalue()))
    return tuple(seeds)


@cache
def _parquets() -> tuple[Seed, ...]:
    names, texts = list(_PICTURES), ["a ball", None, "Öl"]
    data = list(_PICTURES.values())
    structs = [{"bytes": one, "path": name} for name, one in _PICTURES.items()]
    made = [
        pa.table({"image": names, "caption": texts}),
        pa.table({"image": pa.array(data, pa.binary()), "caption": texts, "key": ["a", "b", "b"]}),
        pa.table({"image": structs, "caption": [["one", "two"], [], ["three"]], "origin": ["human", "web", "odd"]}),
    ]
    seeds = []
    for table, codec in zip(made, ("none", "snappy", "zstd"), strict=True):
        out = io.BytesIO()
        pq.write_table(table, out, compression=codec, row_group_size=2)
        seeds.append(_beside("pairs.parquet", out.getvalue()))
    return tuple(seeds)


@cache
def _tars() -> tuple[Seed, ...]:
    members = []
    for n, (name, data) in enumerate(_PICTURES.items()):
        ending = name.rpartition(".")[2]
        members += [(f"set/{n}.{ending}", data), (f"set/{n}.json", json.dumps({"caption": f"caption {n}", "key": f"k{n}"}).encode())]
    members += [("set/0.txt", b"a caption"), ("x" * 140 + ".png", _PICTURES["0.png"]), ("alone.txt", "Öl".encode())]
    seeds = []
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=form) as tar:
            for name, data in members:
                info = tarfile.TarInfo(name if form != tarfile.USTAR_FORMAT else name[-90:])
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        seeds.append(Seed({"pairs.tar": out.getvalue()}, ("pairs.tar",)))
    return tuple(seeds)


@cache
def _folders() -> tuple[Seed, ...]:
    texts = {f"{name.rpartition('.')[0]}.txt": f"a caption {name}".encode() for name in _PICTURES}
    files = {f"set/{name}": data for name, data in (_PICTURES | texts | {"lost.txt": b"no image"}).items()}
    return (Seed(files, tuple(files)),)


def _read_file(name: str, count: Callable[[Path], Expected], tally: Tally) -> None:
    path = tally.folder / name
    pairs = tally.attempt(lambda: read_pairs(path))
    if pairs is not None:
        _account(tally, pairs, count(path))


def _account(tally: Tally, pairs: PairSet, expected: Expected) -> None:
    whole = all(reject.kind != "file" for reject in pairs.rejects)
    rejected = sum(reject.kind != "file" for reject in pairs.rejects)
    tally.rejected += len(pairs.rejects)
    if expected is not None and whole:
        least, most = expected
        given = len(pairs) + rejected
        tally.require(least <= given <= most, f"{given} pairs and rejects of {least} to {most} pairs given")
    for reject in pairs.rejects:
        tally.require("\n" not in reject.reason, f"a reason of several lines: {reject.reason!r}")
    for pair in pairs.images[:_OPENED]:
        try:
            open_image(pair)
        except BadImage:
            tally.rejected += 1


def _json_count(path: Path) -> Expected:
    content = json.loads(path.read_bytes().decode("utf-8-sig", "surrogateescape"))
    rows, images = (content["annotations"], content.get("images", ())) if isinstance(content, dict) else (content, ())
    return len(rows), sum(map(_most, rows)) + len(images)  # an image of a COCO file that no annotation names is a row, too


def _lines_count(path: Path) -> Expected:
    text = path.read_bytes().decode("utf-8-sig", "surrogateescape").replace("\r\n", "\n").replace("\r", "\n")
    lines = [line for line in text.split("\n") if line.strip()]
    return len(lines), sum(map(_most_of_line, lines))


def _most_of_line(line: str) -> int:
    try:
        return _most(json.loads(line))
    except (ValueError, RecursionError):
        return 1


def _most(row: object) -> int:
    lists = [value for value in row.values() if isinstance(value, list)] if isinstance(row, dict) else []
    return max([1, *map(len, lists)])


def _csv_count(path: Path) -> Expected:
    text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    head = io.StringIO(text, newline="").readline()
    mark = "\t" if path.suffix == ".tsv" or ("\t" in head and "," not in head) else ","
    try:
        records = list(csv.reader(io.StringIO(text, newline=""), delimiter=mark))[1:]
    except csv.Error:
        return None
    filled = sum(1 for fields in records if fields)
    # Where it is not certain that a quoted text goes over several lines, each of them counts.
    lines = sum(1 for line in io.StringIO(text, newline="") if line.strip("\r\n"))
    return filled, max(filled, lines - 1)


def _parquet_count(path: Path) -> Expected:
    rows = pq.read_metadata(path).num_rows
    return rows, 1_000 * rows


def _tar_count(path: Path) -> Expected:
    with path.open("rb") as file:
        try:
            names = [member.name.rpartition("/")[2] for member in tar_members(file)]
        except CutTar:
            return None
    images = [name for name in names if name.rpartition(".")[2].lower() in IMAGE_EXTENSIONS and name.partition(".")[0]]
    return len(images), 1_000 * len(names)


def _read_folder(tally: Tally) -> None:
    folder = tally.folder / "set"
    pairs = tally.attempt(lambda: read_pairs(folder))
    if pairs is not None:
        files = [path for path in folder.rglob("*") if path.is_file()]
        images = {path.with_suffix("") for path in files if path.suffix != ".txt"}
        texts = {path.with_suffix("") for path in files if path.suffix == ".txt"}
        _account(tally, pairs, (len(images | texts),) * 2)


TARGETS = (
    Target("json-lists", lambda: _lists()[::2], partial(_read_file, "pairs.json", _json_count)),
    Target("json-lines", lambda: _lists()[1:2], partial(_read_file, "pairs.jsonl", _lines_count)),
    Target("csv", lambda: _tables()[:1], partial(_read_file, "pairs.csv", _csv_count)),
    Target("tsv", lambda: _tables()[1:], partial(_read_file, "pairs.tsv", _csv_count)),
    Target("parquet", _parquets, partial(_read_file, "pairs.parquet", _parquet_count)),
    Target("tars", _tars, partial(_read_file, "pairs.tar", _tar_count)),
    Target("folders", _folders, _read_folder),
)
