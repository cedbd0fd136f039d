"""Text files of pairs: the published BLIP JSON lists, COCO captions, JSON lines, CSV and TSV."""

import io
from typing import TypeGuard

from blip.data.collect import PairCollector
from blip.data.csvs import CsvRows
from blip.data.jsons import parse_json
from blip.data.places import open_file
from blip.data.rows import Row, TableOptions, add_rows, choose_columns, image_root
from blip.data.text import UTF16_MARKS
from blip.errors import InputError


def read_json(path: str, into: PairCollector, options: TableOptions) -> None:
    """A list of rows (`image`, and `caption` as a text or a list), or a COCO captions file."""
    with _text(path) as file:
        text = file.read()
    try:
        content = parse_json(text)
    except ValueError as error:
        into.lose(path, path, f"not JSON: {error}", whole_file=True)
        return
    if isinstance(content, dict) and all(isinstance(content.get(name), list) for name in ("images", "annotations")):
        content = _coco_rows(content["images"], content["annotations"])
    if not isinstance(content, list):
        raise InputError(
            f"{path} is neither a list of rows nor a COCO captions file: give one of these."
        )
    rows = [(number, _as_row(value)) for number, value in enumerate(content, 1)]
    _add_objects(rows, path, into, options)


def read_jsonl(path: str, into: PairCollector, options: TableOptions) -> None:
    """JSON lines, one row a line."""
    with _text(path) as file:
        rows = [(number, _json_line(line)) for number, line in enumerate(file, 1) if line.strip()]
    _add_objects(rows, path, into, options)


def read_csv(path: str, into: PairCollector, options: TableOptions) -> None:
    """CSV or TSV with a header line; tabs part a .csv too if its header has them and no comma."""
    with _text(path, newline="") as file:
        head = file.readline()
        file.seek(0)
        tabs = path.lower().endswith(".tsv") or ("\t" in head and "," not in head)
        rows = CsvRows(file, "\t" if tabs else ",", path)
        columns = choose_columns(rows.names, path, options)
        add_rows(rows.below(columns.image), columns, path, into, image_root(path, options))


def _text(path: str, newline: str | None = None) -> io.TextIOWrapper:
    file = open_file(path)
    if file.read(2) in UTF16_MARKS:
        file.close()
        raise InputError(f"{path} is UTF-16 text: save it as UTF-8.")
    file.seek(0)
    # A caption in bytes that are not UTF-8 is read into surrogates and becomes a reject of its own, not
    # of the whole file.
    return io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline=newline)


def _add_objects(
    rows: list[tuple[int, Row]], path: str, into: PairCollector, options: TableOptions
) -> None:
    if not rows:
        raise InputError(f"{path} has no rows: give a list with an image and a caption each.")
    names = dict.fromkeys(name for _, row in rows if not isinstance(row, str) for name in row)
    columns = choose_columns(names, path, options)
    add_rows(rows, columns, path, into, image_root(path, options))


def _as_row(value: object) -> Row:
    return value if isinstance(value, dict) else "not a JSON object"


def _coco_rows(images: list[object], annotations: list[object]) -> list[object]:
    """A row an annotation, then one without a caption for each image that none names."""
    known = [image for image in images if isinstance(image, dict) and _is_id(image.get("id"))]
    files = {image["id"]: image.get("file_name") for image in known}
    rows = [_coco_row(row, files) if isinstance(row, dict) else row for row in annotations]
    named = {row["image_id"] for row in annotations if isinstance(row, dict) and _is_id(row.get("image_id"))}
    return [*rows, *(_alone(image) for image in images if not _is_captioned(image, named, files))]


def _coco_row(row: dict, files: dict[int | str, object]) -> dict:
    image = row.get("image_id")
    return {"image": files.get(image) if _is_id(image) else None, "caption": row.get("caption")}


def _is_id(value: object) -> TypeGuard[int | str]:
    return isinstance(value, (int, str))


def _is_captioned(image: object, named: set[int | str], files: dict[int | str, object]) -> bool:
    """Whether an annotation names this image; of several with one id the last is meant."""
    if not isinstance(image, dict) or not _is_id(name := image.get("id")):
        return False
    return name in named and files[name] == image.get("file_name")


def _alone(image: object) -> object:
    return {"image": image.get("file_name"), "caption": None} if isinstance(image, dict) else image


def _json_line(line: str) -> Row:
    try:
        return _as_row(parse_json(line))
    except ValueError as error:
        return f"not JSON: {error}"
