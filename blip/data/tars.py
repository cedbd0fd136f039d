"""WebDataset tars (img2dataset's `key.jpg key.txt key.json`) as an index of byte ranges.

The headers are read by our own walk (`tar_members`), which touches nothing but headers and texts; images are looked at
only where samples that follow each other give one key, unless our writer made the tar. A tar that was cut gives its
complete members. Members of one sample may lie apart, as a plain `tar cf` leaves them: those with one name up to
its last dot belong together. A text that then lacks its image goes to that of a shorter name
(`x.jpg x.caption.txt`), or to the only one whose name up to the first dot is its own.
"""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from blip.data.collect import KEYED, PairCollector, captions
from blip.data.files import IMAGE_EXTENSIONS
from blip.data.jsons import parse_json
from blip.data.pairs import ImageRef
from blip.data.places import open_file
from blip.data.tar_members import CutTar, Member, tar_members
from blip.data.text import MAX_CAPTION_BYTES

TEXT_EXTENSIONS = frozenset({"txt", "text", "caption"})
_MAX_JSON_BYTES = 4_000_000
_HELD_BYTES = 2**16
"""Texts up to this size are kept as the walk meets them, so that a tar is read once, front to back, also over a network."""
_OURS = tarfile.TarInfo.create_pax_global_header(KEYED)  # a tar of our writer begins with it
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"\x28\xb5": "zstandard"}


@dataclass(slots=True)
class _Sample:
    key: str
    stem: str
    image: Member | None = None
    text: Member | None = None
    json: Member | None = None


def read_tar(path: str, into: PairCollector) -> None:
    """Adds every sample of one tar; what the tar lacks becomes rejects."""
    with open_file(path) as file:
        begin = file.read(len(_OURS))
        if compression := _COMPRESSED.get(begin[:2]):
            reason = f"compressed with {compression}, so that no image has a place in it: unpack it"
            into.lose(path, path, reason, whole_file=True)
            return
        held: dict[int, bytes] = {}
        samples, fault = _samples(file, held)
        for sample in samples:
            _add(sample, path, _Texts(file, held), into, compare=begin != _OURS)
    if fault:
        into.lose(path, path, f"the tar {fault}; its complete members are used", whole_file=True)


@dataclass(frozen=True, slots=True)
class _Texts:
    """The bytes of texts: those that the walk kept, by offset, and of longer ones the file."""

    file: BinaryIO
    held: dict[int, bytes]

    def read(self, member: Member, limit: int) -> bytes:
        """The first `limit` bytes, and one more where there are more."""
        if (kept := self.held.get(member.offset)) is not None:
            return kept[: limit + 1]
        self.file.seek(member.offset)
        return self.file.read(min(member.size, limit + 1))


def _samples(file: BinaryIO, held: dict[int, bytes]) -> tuple[list[_Sample], str | None]:
    """The samples of a tar, and what is wrong with it; puts the bytes of short texts into `held`."""
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
            if part != "image" and member.size <= _HELD_BYTES:
                file.seek(member.offset)
                held[member.offset] = file.read(member.size)
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


def _add(sample: _Sample, path: str, held: _Texts, into: PairCollector, *, compare: bool) -> None:
    record = _json_record(held, sample.json)
    texts = [held.read(sample.text, MAX_CAPTION_BYTES)] if sample.text else captions(record)
    if sample.image is None:
        into.lose(sample.key, path, "no image goes with this text", pairs=max(1, len(texts)))
        return
    ref = ImageRef(path, sample.image.offset, sample.image.size)
    into.add(sample.key, ref, texts, record=record, compare=compare)


def _json_record(held: _Texts, member: Member | None) -> dict:
    if member is None or member.size > _MAX_JSON_BYTES:
        return {}
    try:
        record = parse_json(held.read(member, _MAX_JSON_BYTES).decode("utf-8-sig", "surrogateescape"))
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}
