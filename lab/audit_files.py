"""What an audit leaves for people and reads back: a sheet of captions, their pictures, a page, and the key.

    audit.csv            a row a caption in random order; people write into its column `matches`. No cell is a number
                         or a formula to a spreadsheet: a row_id begins with r, a text that begins as a formula with '
    audit.html           the same captions beside their pictures, by row number
    audit-images/        the pictures
    audit-key.json       what people must not see: scores, verdicts, origins, strata
"""

import csv
import html
import io
import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
from PIL import Image

from blip.capfilt import Ledger, Policy
from blip.capfilt.merge import relocated
from blip.data.files import free_name, replacing
from blip.data.images import BadImage, open_image
from blip.data.jsons import parse_json
from blip.data.pairs import ImageRef, Pair, image_bytes, image_sha256
from blip.errors import InputError
from lab.audit import Sample, Stratum
from lab.audit_draw import Drawn, identity
from lab.ledgers import world_images
from lab.records import write_record

COLUMNS = ("row_id", "image_key", "image", "caption", "matches")
WORDS = ("yes", "no", "unsure")
_ROW = "r"  # before a row_id in a sheet: 20 hex digits may read as a number
_MOST_PX = 768  # a picture's longer side: enough to judge a caption by
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")  # with these a spreadsheet's formulas begin
_SMALL_PX = 256  # drawn pictures and thumbnails stay free of JPEG's marks


@dataclass(frozen=True)
class Key:
    """What a sheet hides: the ledger (its identity), the policy, the strata, and each row's facts."""

    ledger: str
    policy: Policy
    seed: int
    strata: list[Stratum]
    rows: list[dict[str, Any]]
    """row_id, stratum, score (None without one) and kept of each caption, in the sheet's order."""


def key_path(sheet: Path) -> Path:
    """Where the key of a sheet lies: beside it."""
    return sheet.with_name(f"{sheet.stem}-key.json")


def write_sheet(
    ledger: Ledger,
    policy: Policy,
    drawn: tuple[Sequence[Stratum], Sequence[Drawn]],
    sheet: Path,
    *,
    seed: int,
    roots: Mapping[str, str],
) -> int:
    """Write sheet, page, pictures and key; how many captions have no picture: it cannot be opened, or is another one."""
    strata, rows = drawn[0], _with_captions(ledger, drawn[1])
    random.Random(seed).shuffle(rows)
    pictures = _write_pictures(ledger, rows, sheet, roots)
    shown = [{**row, "image": pictures[row["image_key"]], "matches": ""} for row in rows]
    with replacing(sheet) as file:
        file.write(_csv(shown).encode("utf-8", "surrogatepass"))
    with replacing(sheet.with_suffix(".html")) as file:
        file.write(_page(shown).encode("utf-8", "replace"))
    facts = [{name: row[name] for name in ("row_id", "stratum", "score", "kept")} for row in rows]
    key = {"ledger": identity(ledger), "policy": asdict(policy), "seed": seed}
    write_record(key_path(sheet), key | {"strata": [asdict(stratum) for stratum in strata], "rows": facts})
    return sum(not row["image"] for row in shown)


def read_key(sheet: Path, ledger: Ledger) -> Key:
    """The key beside a sheet; InputError where it is missing, unreadable or of another ledger."""
    path = key_path(sheet)
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
        strata = [Stratum(**stratum) for stratum in found["strata"]]
        key = Key(found["ledger"], _policy(found["policy"]), found["seed"], strata, [_fact(row, strata) for row in found["rows"]])
    except FileNotFoundError:
        raise InputError(f"There is no {path}, the key of {sheet.name}; put it back beside the answers.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is no key of an audit ({error}); restore the one that was written.") from None
    if key.ledger != identity(ledger):
        raise InputError(f"{path} belongs to another ledger than {ledger.folder}; give the one it was drawn from.")
    return key


def _policy(stored: dict[str, Any]) -> Policy:
    """A policy as a key holds it; TypeError where its names or terms are no text."""
    lists = {name: tuple(value) for name, value in stored.items() if isinstance(value, list)}
    texts = [*itertools.chain(*lists.values()), *(stored[name] for name in ("filter", "column"))]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("its policy has names that are no text")
    return Policy(**stored | lists)


def read_answers(sheet: Path, key: Key) -> dict[str, str]:
    """Every row's answer by row_id: yes, no, unsure, or "" where nobody answered.

    InputError with its number, as a spreadsheet counts, for a row that was not drawn, one that stands twice, one that is missing, or a
    word that is no answer.
    """
    wanted = {row["row_id"] for row in key.rows}
    answers: dict[str, str] = {}
    for number, row in enumerate(_rows(sheet), 2):
        written, word = row["row_id"] or "", (row["matches"] or "").strip().lower()
        name = written.removeprefix(_ROW)  # sheets of earlier versions are without it
        if name not in wanted:
            raise InputError(f"Row {number} of {sheet} has the row_id {written!r}, which was not drawn; delete the row.")
        if name in answers:
            raise InputError(f"Row {number} of {sheet} answers the row_id {written} a second time; delete one of the two.")
        if word not in (*WORDS, ""):
            raise InputError(f"Row {number} of {sheet} says {word!r}; write {', '.join(WORDS)}, or nothing.")
        answers[name] = word
    if missing := [row["row_id"] for row in key.rows if row["row_id"] not in answers]:
        raise InputError(
            f"{sheet} lacks {len(missing)} of the {len(wanted)} rows drawn, the first {_ROW}{missing[0]}; put them back, "
            "with an empty answer if there is none."
        )
    return answers


def answered(key: Key, answers: Mapping[str, str]) -> Sample:
    """The answered rows of a key as a sample; rows without an answer are left out."""
    rows = [row for row in key.rows if answers[row["row_id"]]]
    words = np.array([answers[row["row_id"]] for row in rows], object)
    stratum = np.array([row["stratum"] for row in rows], np.int64)
    score = np.array([np.nan if row["score"] is None else row["score"] for row in rows], np.float64)
    origin = np.array([key.strata[number].origin for number in stratum], object)
    kept = np.array([row["kept"] for row in rows], bool)
    return Sample(key.strata, origin, stratum, score, kept, words == "yes", words == "unsure")


def _fact(row: dict[str, Any], strata: Sequence[Stratum]) -> dict[str, Any]:
    """A row of the key; ValueError where it is not what was written."""
    number, score = row["stratum"], row["score"]
    held = isinstance(row["row_id"], str) and isinstance(row["kept"], bool) and isinstance(number, int)
    if not held or not 0 <= number < len(strata) or not (score is None or isinstance(score, (int, float))):
        raise ValueError(f"{str(row)[:80]} is no row of it")
    return row


def _rows(sheet: Path) -> list[dict[str, str]]:
    try:
        text = sheet.read_bytes().decode("utf-8-sig", "surrogatepass")
    except OSError as error:
        raise InputError(f"{sheet} cannot be read ({error.strerror or error}); give the sheet with the answers.") from None
    except UnicodeDecodeError:
        raise InputError(f"{sheet} is not UTF-8; save it as CSV in UTF-8.") from None
    head = text.partition("\n")[0]
    # Spreadsheets of many countries write semicolons.
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=";" if "," not in head else ",")
    if not {"row_id", "matches"} <= set(_names(reader, sheet)):
        raise InputError(f"{sheet} has no columns row_id and matches; give the sheet that lab ledger audit wrote.")
    try:
        return list(reader)
    except csv.Error as error:
        raise InputError(f"{sheet} cannot be read ({error}); give the sheet with the answers.") from None


def _names(reader: "csv.DictReader[str]", sheet: Path) -> Sequence[str]:
    try:
        return reader.fieldnames or ()
    except csv.Error as error:
        raise InputError(f"The first line of {sheet} cannot be read ({error}); give the sheet with the answers.") from None


def _with_captions(ledger: Ledger, drawn: Sequence[Drawn]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for shard in dict.fromkeys(one.shard for one in drawn):
        own = [one for one in drawn if one.shard == shard]
        table = ledger.read("candidates", shard, ["row_id", "image_key", "image_ref", "image_sha256", "caption"])
        found = table.take(pa.array([one.row for one in own])).to_pylist()
        rows += [row | asdict(one) for row, one in zip(found, own, strict=True)]
    return rows


def _write_pictures(
    ledger: Ledger, rows: Sequence[dict[str, Any]], sheet: Path, roots: Mapping[str, str]
) -> dict[str, str]:
    """Each image's file, named from the sheet's folder; "" where there is no picture to show."""
    drawn, folder = world_images(ledger) or {}, f"{sheet.stem}-images"
    taken: set[str] = set()
    files: dict[str, str] = {}
    for row in rows:
        key = row["image_key"]
        if key in files:
            continue
        pair = drawn.get(key) or Pair(key, "", relocated(ImageRef.parse(row["image_ref"]), roots))
        picture = _picture(pair, row["image_sha256"])
        kind = "png" if picture and max(picture.size) <= _SMALL_PX else "jpg"
        files[key] = f"{folder}/{free_name(key.replace('/', '_'), taken)}.{kind}" if picture else ""
        if picture:
            with replacing(sheet.parent / files[key]) as file:
                picture.save(file, format="PNG" if kind == "png" else "JPEG", quality=90)
    return files


def _picture(pair: Pair, known: str) -> Image.Image | None:
    """The picture as people see it; None where it cannot be opened, or is not the one that was captioned."""
    try:
        held = replace(pair, image=image_bytes(pair)) if isinstance(pair.image, ImageRef) else pair
        if known and image_sha256(held) != known:
            return None
        picture = open_image(held)
    except (BadImage, OSError):
        return None
    picture.thumbnail((_MOST_PX, _MOST_PX))
    return picture


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, COLUMNS, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(row | _as_cells(row) for row in rows)
    return out.getvalue()


def _as_cells(row: dict[str, Any]) -> dict[str, str]:
    """What a spreadsheet would take for a number or a formula, as text."""
    texts = {name: f"'{row[name]}" for name in ("image_key", "caption") if row[name].startswith(_FORMULA)}
    return texts | {"row_id": _ROW + row["row_id"]}


_STYLE = """
body { font: 16px/1.4 sans-serif; max-width: 60rem; margin: 2rem auto; color: #1F2328 }
div { display: flex; gap: 1rem; border-top: 1px solid #D0D7DE; padding: 1rem 0 }
img { width: 18rem; height: 18rem; object-fit: contain; flex: none }
b { color: #6E7781; width: 3rem; flex: none }
"""


def _page(rows: Sequence[dict[str, Any]]) -> str:
    """Captions beside their pictures; numbers are the sheet's rows as a spreadsheet counts them."""
    cards = [
        f'<div><b>{number}</b><img src="{quote(row["image"])}" alt="cannot be opened" loading="lazy">'
        f"<p>{html.escape(row['caption'])}</p></div>"
        for number, row in enumerate(rows, 2)
    ]
    head = '<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>Audit</title>'
    asked = "<p>Does the caption match the picture? Write yes, no or unsure into the sheet, by row number.</p>"
    return "\n".join([head, f"<style>{_STYLE}</style>", asked, *cards, ""])
