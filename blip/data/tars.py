"""WebDataset tars (img2dataset's `key.jpg key.txt key.json`) as an index of byte ranges.

The headers are read by our own walk, which touches nothing but headers and texts; images are looked at only
where samples that follow each other give one key, unless our writer made the tar. A tar that was cut gives its
complete members. Members of one sample may lie apart, as a plain `tar cf` leaves them: those with one name up to
its last dot belong together. A text that then lacks its image goes to that of a shorter name
(`x.jpg x.caption.txt`), or to the only one whose name up to the first dot is its own.
"""

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from blip.data.collect import KEYED, PairCollector, captions
from blip.data.files import IMAGE_EXTENSIONS
from blip.data.jsons import parse_json
from blip.data.pairs import ImageRef
from blip.data.places import open_file
from blip.data.text import MAX_CAPTION_BYTES

TEXT_EXTENSIONS = frozenset({"txt", "text", "caption"})
_MAX_JSON_BYTES = 4_000_000
_BLOCK = 512
_MOST_DIGITS = 20  # of a member's size
_AT_ONCE = 2**20  # bytes of what follows an end mark
_FILE, _LONG_NAME, _PAX = (b"0", b"\0", b"7"), b"L", b"x"
_NO_DATA = (b"1", b"2", b"3", b"4", b"5", b"6")
_OURS = tarfile.TarInfo.create_pax_global_header(KEYED)  # a tar of our writer begins with it
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"\x28\xb5": "zstandard"}


class CutTar(ValueError):
    """The tar ends or breaks before its end mark; the members before are complete."""


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file in a tar: its bytes are file[offset : offset + size]."""

    name: str
    offset: int
    size: int
    archive: int = 0
    """Number of the end marks before it: of which tar it is in a file of several, as `cat a.tar b.tar` makes it."""


@dataclass(slots=True)
class _Sample:
    key: str
    stem: str
    image: Member | None = None
    text: Member | None = None
    json: Member | None = None


def tar_members(file: BinaryIO) -> Iterator[Member]:
    """The complete regular files of a tar (ustar, GNU, pax), or of several in a row; CutTar where one ends too early."""
    end = file.seek(0, os.SEEK_END)
    at, archive, long_name = 0, 0, None
    pax: dict[str, str] = {}
    while True:
        file.seek(at)
        header = file.read(_BLOCK)
        if len(header) < _BLOCK:
            raise CutTar(f"ends at byte {end:,} without the end mark")
        if header.count(0) == _BLOCK:
            at, archive = _behind_zeros(file, at), archive + 1
            if at == end:
                return
            continue
        kind, size = header[156:157], _size(header, at)
        size = int(pax.get("size", size)) if kind in _FILE else 0 if kind in _NO_DATA else size
        name = pax.get("path") or long_name or _name(header)
        data, at = at + _BLOCK, at + _BLOCK + -(-size // _BLOCK) * _BLOCK
        if data + size > end:
            raise CutTar(f"is cut inside the member {name!r} at byte {end:,}")
        if kind == _LONG_NAME:
            long_name = _text(file.read(size).rstrip(b"\0"))
        elif kind == _PAX:
            pax = _pax_records(file.read(size))
        else:
            if kind in _FILE:
                yield Member(name, data, size, archive)
            long_name, pax = None, {}


def _behind_zeros(file: BinaryIO, at: int) -> int:
    """The first block from `at` on that is not all zeros; the end of the file where there is none."""
    file.seek(at)
    while block := file.read(_AT_ONCE):
        if rest := block.lstrip(b"\0"):
            return (at + len(block) - len(rest)) // _BLOCK * _BLOCK
        at += len(block)
    return at


def read_tar(path: str, into: PairCollector) -> None:
    """Adds every sample of one tar; what the tar lacks becomes rejects."""
    with open_file(path) as file:
        begin = file.read(len(_OURS))
        if compression := _COMPRESSED.get(begin[:2]):
            reason = f"compressed with {compression}, so that no image has a place in it: unpack it"
            into.lose(path, path, reason, whole_file=True)
            return
        samples, fault = _samples(file)
        for sample in samples:
            _add(sample, path, file, into, compare=begin != _OURS)
    if fault:
        into.lose(path, path, f"the tar {fault}; its complete members are used", whole_file=True)


def _samples(file: BinaryIO) -> tuple[list[_Sample], str | None]:
    archives: dict[int, list[_Sample]] = {}
    latest: dict[tuple[int, str, str], _Sample] = {}
    fault = None
    try:
        for member in tar_members(file):
            folder, _, base = member.name.rpartition("/")
            name = base.partition(".")[0]
            stem, dot, extension = base.rpartition(".")
            part = _part(extension.lower())
            if not name or not dot or part is None:  # a dot file, or nothing we read
                continue
            key = f"{folder}/{name}".removeprefix("./") if folder else name
            sample = latest.get((member.archive, key, stem))
            # A second image or text of the same name belongs to another sample.
            if sample is None or getattr(sample, part) is not None:
                sample = latest[member.archive, key, stem] = _Sample(key, stem)
                archives.setdefault(member.archive, []).append(sample)
            setattr(sample, part, member)
    except CutTar as error:
        fault = str(error)
    return [sample for own in archives.values() for sample in _joined(own)], fault


def _joined(samples: list[_Sample]) -> list[_Sample]:
    """Samples, the texts without an image given to the image that their name or their key means."""
    images: dict[tuple[str, str], list[_Sample]] = {}
    of_key: dict[str, list[_Sample]] = {}
    for sample in samples:
        if sample.image is not None:
            images.setdefault((sample.key, sample.stem), []).append(sample)
            of_key.setdefault(sample.key, []).append(sample)

    def given(sample: _Sample) -> bool:
        if any(_give(sample, images.get((sample.key, stem), [])) for stem in _shorter(sample.stem)):
            return True
        only = of_key.get(sample.key, [])
        return len(only) == 1 and _give(sample, only)

    return [sample for sample in samples if sample.image is not None or not given(sample)]


def _shorter(stem: str) -> Iterator[str]:
    """For x.1.caption: x.1, then x."""
    while "." in stem:
        stem = stem.rpartition(".")[0]
        yield stem


def _give(sample: _Sample, images: list[_Sample]) -> bool:
    """Give the text and the JSON of a sample to one of several with images; False where none lacks them."""
    parts = {name: member for name in ("text", "json") if (member := getattr(sample, name)) is not None}
    free = [own for own in images if all(getattr(own, name) is None for name in parts)]
    if not free or free[0].stem == sample.stem:
        return False
    start = min(member.offset for member in parts.values())
    before = [own for own in free if own.image is not None and own.image.offset < start]
    heir = before[-1] if before else free[0]
    for name, member in parts.items():
        setattr(heir, name, member)
    return True


def _part(extension: str) -> str | None:
    if extension in IMAGE_EXTENSIONS:
        return "image"
    return "text" if extension in TEXT_EXTENSIONS else "json" if extension == "json" else None


def _add(sample: _Sample, path: str, file: BinaryIO, into: PairCollector, *, compare: bool) -> None:
    record = _json_record(file, sample.json)
    texts = [_read(file, sample.text, MAX_CAPTION_BYTES)] if sample.text else captions(record)
    if sample.image is None:
        into.lose(sample.key, path, "no image goes with this text", pairs=max(1, len(texts)))
        return
    ref = ImageRef(path, sample.image.offset, sample.image.size)
    into.add(sample.key, ref, texts, record=record, compare=compare)


def _json_record(file: BinaryIO, member: Member | None) -> dict:
    if member is None or member.size > _MAX_JSON_BYTES:
        return {}
    try:
        record = parse_json(_read(file, member, _MAX_JSON_BYTES).decode("utf-8-sig", "surrogateescape"))
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _read(file: BinaryIO, member: Member, limit: int) -> bytes:
    file.seek(member.offset)
    return file.read(min(member.size, limit + 1))


def _size(header: bytes, at: int) -> int:
    try:
        checksum = int(header[148:156].strip(b"\0 ") or b"0", 8)
        size = header[124:136]
        value = (
            int.from_bytes(size[1:], "big")
            if size[0] & 0x80
            else int(size.strip(b"\0 ") or b"0", 8)
        )
    except ValueError:
        checksum = value = -1
    if value < 0 or checksum != sum(header) - sum(header[148:156]) + 8 * ord(" "):
        raise CutTar(f"has no valid header at byte {at:,}")
    return value


def _name(header: bytes) -> str:
    name = _text(header[:100].partition(b"\0")[0])
    prefix = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return f"{_text(prefix)}/{name}" if prefix else name


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


def _pax_records(data: bytes) -> dict[str, str]:
    records = {}
    while data:
        try:
            length = int(data.partition(b" ")[0])
            name, equals, value = (
                data[:length].partition(b" ")[2].removesuffix(b"\n").partition(b"=")
            )
        except ValueError:
            equals = b""
        if not equals or (name == b"size" and not (value.isdigit() and len(value) <= _MOST_DIGITS)):
            raise CutTar("has a broken pax header")
        records[_text(name)] = _text(value)
        data = data[length:]
    return records
