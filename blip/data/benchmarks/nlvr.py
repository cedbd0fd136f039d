"""NLVR2: statements about two images (paper 5.4)."""

import re
from dataclasses import dataclass

from blip.data.benchmarks.reading import Row, by_identity, image_at, read_rows
from blip.data.pairs import ImageRef
from blip.data.places import Place
from blip.errors import InputError

# Split, set of images, pair of images, statement: "dev-850-0-1".
_IDENTIFIER = re.compile(r"(train|dev|test1|test2)-(\d+)-(\d+)-(\d+)")
_LABELS = {"true": True, "false": False}


@dataclass(frozen=True)
class Statement:
    """An example: whether a sentence is true of a left and a right image; None where that is hidden.

    Examples with one `statement_id` say the same of different pairs: consistency asks for all of them.
    """

    identifier: str
    statement_id: str
    sentence: str
    images: tuple[ImageRef, ImageRef]
    label: bool | None


def read_nlvr(path: Place, image_root: Place) -> list[Statement]:
    """NLVR2's own JSON lines (train, dev, test1).

    The images of "dev-850-0-1" are `dev/dev-850-0-img0.png` and `-img1.png`, those of train lie in
    `images/train/DIRECTORY/`; both are looked for below `image_root` with and without `images/`.
    """
    rows = by_identity(read_rows(path), "identifier")
    return [_statement(row, str(identifier), image_root) for identifier, row in rows.items()]


def read_nlvr_list(path: Place, image_root: Place) -> list[Statement]:
    """A published list `nlvr_{train,dev,test}.json`: sentence, label, and the paths of two images.

    It has no identifiers: an example is named by file row, a statement by its sentence and set of images.
    """
    return [_listed(row, number, image_root) for number, row in enumerate(read_rows(path), 1)]


def _statement(row: Row, identifier: str, image_root: Place) -> Statement:
    parts = _IDENTIFIER.fullmatch(identifier)
    if parts is None:
        raise InputError(
            f"{row.where}: {identifier!r} is no identifier like dev-850-0-1; give NLVR2's own file."
        )
    split, images, pair, number = parts.groups()
    folder = f"{split}/{row.identity('directory')}" if row.has("directory") else split
    left, right = (
        image_at(image_root, [f"{folder}/{name}", f"images/{folder}/{name}"], row)
        for name in (f"{split}-{images}-{pair}-img{side}.png" for side in (0, 1))
    )
    return Statement(
        identifier, f"{split}-{images}-{number}", row.text("sentence"), (left, right), _label(row)
    )


def _listed(row: Row, number: int, image_root: Place) -> Statement:
    names = row.texts("images")
    if len(names) != 2:
        raise InputError(f"{row.where}: 'images' must hold two paths, not {len(names)}; correct it.")
    left, right = (image_at(image_root, [name], row) for name in names)
    sentence = row.text("sentence")
    images = "-".join(names[0].rpartition("/")[2].split("-")[:2])
    return Statement(f"row {number}", f"{images} {sentence}", sentence, (left, right), _label(row))


def _label(row: Row) -> bool | None:
    if not row.has("label"):
        return None
    label = row.values["label"]
    said = str(label).lower()
    if said not in _LABELS:
        raise InputError(f"{row.where}: 'label' must be True or False, not {label!r}; correct it.")
    return _LABELS[said]
