"""`read_pairs`: one door for webdataset tars, lists, tables and folders of pairs."""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import BrokenExecutor, Future
from pathlib import Path, PurePath

from blip.data.collect import PairCollector, Part
from blip.data.folders import image_files, read_folder
from blip.data.lists import read_csv, read_json, read_jsonl
from blip.data.pairs import Origin
from blip.data.pairset import PairSet
from blip.data.parquet import read_parquet
from blip.data.places import exists, is_folder, is_url, listed, local, matching
from blip.data.rows import TableOptions
from blip.data.tar_parts import tar_parts
from blip.data.tars import read_tar
from blip.errors import InputError

Source = str | Path | Iterable[str | Path]

_TABLES: dict[str, Callable[[str, PairCollector, TableOptions], None]] = {
    ".json": read_json,
    ".jsonl": read_jsonl,
    ".csv": read_csv,
    ".tsv": read_csv,
    ".parquet": read_parquet,
}
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")


def read_pairs(
    source: Source,
    *,
    origin: Origin | None = None,
    image_root: str | Path | None = None,
    image_column: str | Sequence[str] | None = None,
    caption_column: str | Sequence[str] | None = None,
    processes: int = 1,
    text: str = "caption",
) -> PairSet:
    """All pairs of a source: a path or URL, a pattern (`*`, `?`, `{000..041}`), or a list of these.

    Files: webdataset `.tar`; `.json` (published BLIP lists, COCO captions), `.jsonl`, `.csv`,
    `.tsv`, `.parquet`; a folder of tars, of Parquet files, or of images with `.txt` files beside
    them. Image paths in a table start from `image_root`, else from the table's folder. `origin`
    overrides what the source records (which is else "web"). Of several column names the first that
    a table has is read. `processes`: so many read tars of this machine at once, a tar each; a script that
    asks for more than one has its main part under `if __name__ == "__main__"`. `text`: what the texts are, for the
    refusal of a table without their column. Rows that cannot be used are in `.rejects`; InputError where there is no
    file, no fitting column, or no readable file.
    """
    into = PairCollector(origin)
    root = None if image_root is None else str(image_root)
    options = TableOptions(
        image_root=root, image_columns=_names(image_column), caption_columns=_names(caption_column), text=text
    )
    files = data_files(source)
    tars = [path for path in files if is_tar(path) and not is_url(path)]
    with tar_parts(tars, origin, processes) as parts:
        for path in files:
            into.begin_shard()
            if path in parts:
                into.absorb(_arrived(parts[path], path))
                continue
            try:
                _read(path, into, options)
            except OSError as error:
                into.lose_file(path, error)
    pairs = into.done()
    lost = [reject for reject in pairs.rejects if reject.kind == "file"]
    if lost and not len(pairs.images):
        raise InputError(f"{lost[0].ref} cannot be used: {lost[0].reason}.")
    return pairs


def _names(columns: str | Sequence[str] | None) -> tuple[str, ...]:
    return (columns,) if isinstance(columns, str) else tuple(columns or ())


def is_tar(path: str) -> bool:
    """Whether a file or URL of `data_files` is a tar."""
    return path.lower().endswith(".tar") and not is_folder(path)


def _arrived(part: Future[Part], path: str) -> Part:
    try:
        return part.result()
    except BrokenExecutor:
        raise InputError(f"A process that read tars was killed at or before {path}: is there memory enough?") from None


def _read(path: str, into: PairCollector, options: TableOptions) -> None:
    if is_folder(path):
        read_folder(path, into)
    elif is_tar(path):
        read_tar(path, into)
    else:
        _TABLES[Path(path).suffix.lower()](path, into, options)


def data_files(source: Source) -> list[str]:
    """The files and folders of images that `read_pairs` reads for a source, none of them opened yet.

    A pattern may meet a file and the folder that holds it, or a folder by two names: that file is read once.
    InputError where there is none, or one of no known kind.
    """
    if isinstance(source, (str, Path)):
        return _each_once(file for path in _expand(local(str(source))) for file in _kind_of(path))
    files = [file for one in source for file in data_files(one)]
    if not files:
        raise InputError("the list of data files is empty: give at least one.")
    return files


def _each_once(files: Iterable[str]) -> list[str]:
    """Without what is there by another name, and without folders that are read as a part of one before."""
    found: dict[str, str] = {}
    for file in files:
        place = _place(file)
        covered = is_folder(file) and any(str(folder) in found for folder in PurePath(place).parents)
        if not covered:
            found.setdefault(place, file)
    return list(found.values())


def _place(file: str) -> str:
    if is_url(file):
        return file
    # A file that is a link keeps its own name: the images of a table start from where that lies.
    folder, name = os.path.split(file.rstrip("/"))
    return os.path.join(os.path.realpath(folder), name)


def _expand(pattern: str) -> list[str]:
    if exists(pattern):
        return [pattern]
    if found := _BRACES.search(pattern):
        first, last = found.groups()
        if int(first) > int(last):
            raise InputError(f"{pattern!r} counts down: write {{{last}..{first}}}.")
        before, after = pattern[: found.start()], pattern[found.end() :]
        numbers = range(int(first), int(last) + 1)
        return [p for n in numbers for p in _expand(f"{before}{n:0{len(first)}d}{after}")]
    paths = matching(pattern)
    if not paths:
        raise InputError(
            f"no file matches {pattern!r}: check the path (and quote a pattern in the shell)."
        )
    return paths


def _in_folder(folder: str) -> list[str]:
    """A folder's tars or tables, or itself where it holds images; InputError where it holds several of these, or none."""
    tars, tables = listed(folder, ".tar"), listed(folder, ".parquet")
    images = [folder] if next(image_files(folder), None) is not None else []
    # What img2dataset says of a tar or a folder of images lies beside it, under the same name.
    beside = {tar.removesuffix(".tar") for tar in tars}
    tables = [table for table in tables if (stem := table.removesuffix(".parquet")) not in beside and not (images and is_folder(stem))]
    kinds = {"tars": tars, "Parquet files": tables, "images": images}
    found = [name for name, files in kinds.items() if files]
    if not found:
        raise InputError(f"the folder {folder} holds no images, tars or Parquet files: give the data's folder.")
    if len(found) > 1:
        place = folder.rstrip("/")
        ways = {"tars": f"'{place}/*.tar'", "Parquet files": f"'{place}/*.parquet'", "images": "a folder with the images alone"}
        raise InputError(f"the folder {folder} holds {' and '.join(found)}: give {' or '.join(ways[name] for name in found)}.")
    return kinds[found[0]]


def _kind_of(path: str) -> list[str]:
    """The files to read for one path: itself, or the tars or tables of a folder that holds such."""
    if is_folder(path):
        return _in_folder(path)
    if path.lower().endswith(".tar") or Path(path).suffix.lower() in _TABLES:
        return [path]
    kinds = ", ".join([".tar", *_TABLES])
    raise InputError(
        f"{path} is of no known kind ({kinds}, or a folder of images): unpack or convert it."
    )
