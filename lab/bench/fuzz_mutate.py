"""How valid contents are broken: any bytes, texts, JSON trees.

Every function takes a generator and a content and returns another; the same generator gives the same content.
"""

import json
import random
import re
from typing import Any, Literal

_ORDERS: tuple[Literal["little", "big"], ...] = ("little", "big")
_DEEP = "\0deep"  # stands for brackets without end until the tree is a text
_DEPTHS = (50, 400, 950, 5_000, 100_000)
_ODD_BYTES = (
    b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xc0\xaf", b"\r", b"\n", b"\r\n", b"\t", b",", b'"', b"'", b";",
    b"\x85", b"\xe2\x80\xa8", b"\x1a", b"\x1b[2J", b"NaN", b"Infinity", b"-1", b"1e999", b"9" * 30, b"9" * 5_000, b"0x7f",
    b"../" * 8, b"%s%n", b"{0}", b"null", b"[]", b"{}", b'"\\ud800"', b"\\u0000", b"a" * 140_000, "٣".encode(), "²".encode(),
)  # fmt: skip
_ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63) - 1, 10**40, 10**400, 0.5, 1e308, float("nan"), float("inf"), "",
    " ", "\0", "a\0b", "\ud800", "\udcff.jpg", "true", "NaN", "²", "1", "../../etc/passwd", "/dev/zero", "a\nb", "x" * 30_000,
    [], {}, [[]], [None], [0], [""], {"": ""}, {"a": None}, _DEEP,
)  # fmt: skip


def any_bytes(rng: random.Random, content: bytes) -> bytes:
    """Bits flipped, or a stretch cut, doubled, moved, zeroed, overwritten, or a number in it changed."""
    if not content:
        return rng.randbytes(rng.randrange(1, 64))
    return rng.choice((_flip, _truncate, _cut, _double, _move, _zero, _noise, _number, _insert))(rng, content)


def text(rng: random.Random, content: bytes) -> bytes:
    """Odd bytes put in, a number made odd, a line doubled, moved or cut, brackets nested too deep."""
    return rng.choice((_insert, _insert, _digits, _lines, _brackets))(rng, content)


def tree(rng: random.Random, content: bytes) -> bytes:
    """JSON, or one line of JSON lines, with a node of another type, gone, doubled, renamed or moved."""
    try:
        return _dumped(_changed(rng, json.loads(content)))
    except (ValueError, RecursionError):
        lines = content.split(b"\n")
    at = rng.randrange(len(lines))
    try:
        lines[at] = _dumped(_changed(rng, json.loads(lines[at])))
    except (ValueError, RecursionError):
        return text(rng, content)
    return b"\n".join(lines)


def _dumped(value: Any) -> bytes:
    out = json.dumps(value)
    depth = _DEPTHS[len(out) % len(_DEPTHS)]
    return out.replace(json.dumps(_DEEP), "[" * depth + "]" * depth).encode("utf-8", "surrogatepass")


def _changed(rng: random.Random, root: Any) -> Any:
    """The tree with one change at a random place, the root among them."""
    places = _places(root)
    if not places or rng.random() < 0.03:
        return rng.choice(_ODD_VALUES)
    holder, key = rng.choice(places)
    change = rng.randrange(6)
    if change == 0:
        del holder[key]
    elif change == 1 and isinstance(holder, list):
        holder.insert(rng.randrange(len(holder) + 1), json.loads(json.dumps(holder[key])))
    elif change == 1:
        holder[rng.choice(("", "x", "\ud800", key.upper(), f"{key}s"))] = holder.pop(key)
    elif change == 2:
        other, its = rng.choice(places)
        if key in _keys(holder) and its in _keys(other):
            holder[key] = json.loads(json.dumps(other[its]))
    elif change == 3:
        holder[key] = rng.choice(([holder[key]], {"a": holder[key]}, [holder[key]] * 3))
    else:
        holder[key] = rng.choice(_ODD_VALUES)
    return root


def _places(root: Any) -> list[tuple[Any, Any]]:
    """Every (holder, key or number) of a tree."""
    found, todo = [], [root]
    while todo:
        holder = todo.pop()
        if isinstance(holder, (dict, list)):
            found += [(holder, key) for key in _keys(holder)]
            todo += holder.values() if isinstance(holder, dict) else holder
    return found


def _keys(holder: Any) -> list[Any]:
    return list(holder) if isinstance(holder, dict) else list(range(len(holder)))


def _stretch(rng: random.Random, content: bytes) -> tuple[int, int]:
    length = min(len(content), rng.choice((1, 2, 4, 8, 64, 512, len(content) // 3 + 1)))
    start = rng.randrange(len(content) - length + 1)
    return start, start + length


def _flip(rng: random.Random, content: bytes) -> bytes:
    out = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8, 32))):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def _truncate(rng: random.Random, content: bytes) -> bytes:
    return content[: rng.randrange(len(content))]


def _cut(rng: random.Random, content: bytes) -> bytes:
    start, end = _stretch(rng, content)
    return content[:start] + content[end:]


def _double(rng: random.Random, content: bytes) -> bytes:
    start, end = _stretch(rng, content)
    return content[:end] + content[start:end] * rng.choice((1, 1, 2, 50)) + content[end:]


def _move(rng: random.Random, content: bytes) -> bytes:
    start, end = _stretch(rng, content)
    rest = content[:start] + content[end:]
    at = rng.randrange(len(rest) + 1)
    return rest[:at] + content[start:end] + rest[at:]


def _zero(rng: random.Random, content: bytes) -> bytes:
    start, end = _stretch(rng, content)
    return content[:start] + rng.choice((b"\0", b"\xff")) * (end - start) + content[end:]


def _noise(rng: random.Random, content: bytes) -> bytes:
    start, end = _stretch(rng, content)
    return content[:start] + rng.randbytes(end - start) + content[end:]


def _number(rng: random.Random, content: bytes) -> bytes:
    """A binary number of 1, 2, 4 or 8 bytes, as length fields are, set to a limit or moved by little."""
    width, order = rng.choice((1, 2, 4, 8)), rng.choice(_ORDERS)
    if len(content) < width:
        return b""
    at, top = rng.randrange(len(content) - width + 1), 256**width
    old = int.from_bytes(content[at : at + width], order)
    new = rng.choice((0, 1, top - 1, top // 2, top // 2 - 1, old + 1, old - 1, old * 2, top - old)) % top
    return content[:at] + new.to_bytes(width, order) + content[at + width :]


def _insert(rng: random.Random, content: bytes) -> bytes:
    at = rng.randrange(len(content) + 1)
    return content[:at] + rng.choice(_ODD_BYTES) + content[at:]


def _digits(rng: random.Random, content: bytes) -> bytes:
    found = list(re.finditer(rb"\d+(\.\d+)?", content))
    if not found:
        return _insert(rng, content)
    one = rng.choice(found)
    return content[: one.start()] + rng.choice(_ODD_BYTES) + content[one.end() :]


def _lines(rng: random.Random, content: bytes) -> bytes:
    lines = content.split(b"\n")
    one = lines.pop(rng.randrange(len(lines)))
    for _ in range(rng.choice((0, 1, 2))):
        lines.insert(rng.randrange(len(lines) + 1), one)
    return rng.choice((b"\n", b"\n", b"\r\n", b"\r")).join(lines)


def _brackets(rng: random.Random, content: bytes) -> bytes:
    opening, closing = rng.choice(((b"[", b"]"), (b'{"a":', b"}"), (b'"', b'"')))
    depth = rng.choice(_DEPTHS)
    at = rng.choice((0, rng.randrange(len(content) + 1)))
    ends = rng.choice((b"", closing * depth))
    return content[:at] + opening * depth + b"1" + ends + content[at:]
