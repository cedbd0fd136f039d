"""A walk over the headers of a tar, which touches nothing else: names and byte ranges of its files."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

_BLOCK = 512
_MOST_DIGITS = 20  # of a member's size
_AT_ONCE = 2**20  # bytes of what follows an end mark
_FILE, _LONG_NAME, _PAX = (b"0", b"\0", b"7"), b"L", b"x"
_NO_DATA = (b"1", b"2", b"3", b"4", b"5", b"6")


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
