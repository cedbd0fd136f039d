"""`lab data check`: what a data set holds, before a model spends hours on it."""

import csv
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from blip.data.files import replacing
from blip.errors import InputError, one_line
from lab.data_contents import SIDES, Contents, contents, shared
from lab.progress import images_bar
from lab.reading import Reading

_REASONS = 20  # printed, the most frequent ones
_LOST = {"image": "pictures", "text": "captions", "file": "files, with pairs that cannot be counted"}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Open every picture and read every caption, and say what is there: sizes, lengths, equal ones, rejects.

    No model is needed, and nothing is changed. The exit status is 1 where no picture can be used.
    """

    data: Annotated[str, Positional, arg(metavar="DATA")]
    """Pairs: tars ('shards/*.tar', quoted), a CSV, TSV, JSON, JSONL or Parquet table, or a folder of images."""
    reading: Reading = field(default_factory=Reading)
    """How a table is read."""
    against: str | None = None
    """Another set, read in the same way: how many pictures and captions both have, as of training and validation."""
    first: int | None = None
    """Only so many images."""
    rejects: Path | None = None
    """A CSV file for everything that cannot be used, with its reason."""
    json: bool = False
    """Print JSON for scripts."""


def main(options: Options) -> int:
    """Print what the set holds; 1 where no picture of it can be used."""
    found = _contents(options, options.data)
    numbers: dict[str, Any] = {"data": options.data} | found.numbers
    if options.against is not None:
        other = _contents(options, options.against)
        numbers["shared"] = {"with": options.against} | shared(found, other)
    if options.rejects is not None:
        _write(options.rejects, found)
    if options.json:
        print(json.dumps(numbers, indent=1, ensure_ascii=False))
    else:
        print("\n".join(_lines(numbers)))
    return 0 if numbers["pictures"]["readable"] else 1


def _contents(options: Options, place: str) -> Contents:
    if options.first is not None and options.first < 1:
        raise InputError(f"The first {options.first} images cannot be; give 1 or more, or leave --first out.")
    pairs = options.reading.pairs(place)
    pairs = pairs if options.first is None else pairs.first(options.first)
    with images_bar(len(pairs.images), Path(place).name) as progress:
        return contents(pairs, progress)


def _lines(numbers: dict[str, Any]) -> list[str]:
    pictures, captions = numbers["pictures"], numbers["captions"]
    origin = "" if numbers["sources"] is None else f" from {_count(numbers['sources'], 'source')}"
    lines = [f"{_count(numbers['images'], 'image')} and {_count(captions['captions'], 'usable caption')}{origin}"]
    lines += _of_pictures(pictures) + _of_captions(captions)
    if numbers["renamed"]:
        lines.append(f"  keys      {numbers['renamed']:,} bore the key of an earlier image and were renamed KEY~2, KEY~3, ...")
    if "shared" in numbers:
        both = numbers["shared"]
        lines.append(f"  shared    {both['pictures']:,} pictures, byte for byte, and {both['captions']:,} captions with {both['with']}")
    if not pictures["readable"]:
        lines.append("Nothing can be used: no picture of it opens.")
    if not numbers["rejects"]:
        return [*lines, "Everything can be used."]
    lines += ["Not used:", *(_rejected(one) for one in numbers["rejects"][:_REASONS])]
    if rest := numbers["rejects"][_REASONS:]:
        lines.append(f"  {sum(one['count'] for one in rest):>9,}  for {_count(len(rest), 'other reason')}; --rejects lists each")
    return lines


def _of_pictures(pictures: dict[str, Any]) -> list[str]:
    sides = pictures["shorter_side"]
    lines = [f"  pictures  {pictures['readable']:,} open, {pictures['equal_to_an_earlier']:,} are an earlier one again, byte for byte"]
    if pictures["readable"]:
        small = " and ".join(f"{pictures['smaller_than'][str(side)]:,} below {side}" for side in SIDES)
        lines.append(f"  size      shorter side {sides['least']:,} to {sides['most']:,} pixels, median {sides['median']:,}; {small}")
    return lines


def _of_captions(captions: dict[str, Any]) -> list[str]:
    words, often = captions["words"], captions["most_often"]
    lines = [f"  captions  {captions['different']:,} different, {captions['images_without']:,} images have none"]
    if captions["captions"]:
        lines.append(f"  length    {words['mean']:.1f} words on average, median {words['median']}, at most {words['most']}")
    if often:
        lines.append(f"  often     {often['times']:,} times {json.dumps(often['caption'], ensure_ascii=False)}")
    return lines


def _rejected(one: dict[str, Any]) -> str:
    remedy = "; --image-root says where paths start" if one["reason"] == "the file is missing" else ""
    return f"  {one['count']:>9,}  {_LOST[one['kind']]}: {one['reason']}, the first {one_line(one['first'])}{remedy}"


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def _write(path: Path, found: Contents) -> None:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("key", "ref", "kind", "reason"))
    table.writerows((one.key, one.ref, one.kind, one.reason) for one in found.rejects)
    with replacing(path) as file:
        file.write(text.getvalue().encode("utf-8", "backslashreplace"))
