"""What the model reads of a text, which texts it cannot use, and hashes that find equal ones."""

import hashlib
import re
import unicodedata

from blip.errors import one_line

MAX_CAPTION_BYTES = 20_000
"""A longer text is a page that went astray, not a caption."""

UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
"""What a file in UTF-16 begins with."""

# Some editors put it before a text that they save as UTF-8. The tokenizer drops it, as BERT's own does, so a caption
# with it is the same to a model, and must be to whoever counts words and equal captions. A ledger keeps it.
_BYTE_ORDER_MARK = "\ufeff"
_MARKS = re.compile(r'[.!"()*#:;~]')


def clean_caption(text: str, max_words: int | None = 30) -> str:
    """Lower case, marks to spaces, spaces collapsed, at most `max_words` words (as published)."""
    return " ".join(_MARKS.sub(" ", text.lower().replace(_BYTE_ORDER_MARK, "")).split()[:max_words])


def clean_question(text: str, max_words: int | None = 50) -> str:
    """As a caption, but the marks vanish instead of parting words (as published for VQA)."""
    return " ".join(_MARKS.sub("", text.lower().replace(_BYTE_ORDER_MARK, "")).split()[:max_words])


def decode_caption(raw: object) -> tuple[str, str | None]:
    """A caption as it was stored, and why it cannot be used (None where it can); the text is never
    changed.

    `raw` is text, UTF-8 bytes, what a table had in its place (None is an empty caption), or the error of its file.
    """
    if raw is None:
        return "", "the caption is empty"
    if isinstance(raw, OSError):
        return "", one_line(f"the caption cannot be read: {raw}")
    if not isinstance(raw, (str, bytes)):
        return "", f"the caption is of type {type(raw).__name__}, not text"
    try:
        data = raw if isinstance(raw, bytes) else raw.encode("utf-8")
        if len(data) > MAX_CAPTION_BYTES:
            return "", f"the caption is longer than {MAX_CAPTION_BYTES:,} bytes"
        text = data.decode("utf-8")
    except UnicodeError:
        return "", "the caption is not UTF-8"
    if not clean_caption(text, 1):
        return "", "the caption is empty" if not text.strip() else "the caption has no words"
    return text, None


def normalized_text_hash(text: str) -> int:
    """Signed 64-bit hash of a caption, blind to case, spacing and the marks the model drops."""
    normal = clean_caption(unicodedata.normalize("NFKC", text), None)
    return hash64(normal)


def hash64(text: str) -> int:
    """Signed 64-bit hash of a text, the same in every process (unlike Python's own)."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
