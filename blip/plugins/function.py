"""Any Python function as a filter: named `module:function`, called with pictures and captions."""

import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from blip.errors import InputError

_ONE_COLUMN = "score"
_GREY = (128, 128, 128)


class FunctionFilter:
    """Scores by `function(images, captions)`: two lists of one length, a score of each pair back.

    images are PIL pictures (RGB, upright; one appears once for each of its captions), captions are
    text. A score is a number, or a dict of numbers with the same names in every row; the names, formed
    like those of variables, become columns, a bare number is the column `score`. To learn the columns
    the function is called once with a grey picture and the caption "a picture". A pair's score must not
    depend on its company: which pairs come together is not promised.

    name: `module:function`; the module is found as by `import`, in the current folder too. `id`
    holds the name and a hash of the module's source, so that a ledger does not mix two versions.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._function, source = _found(name)
        self.id = f"{name}@{hashlib.sha256(source).hexdigest()[:16]}"
        (probe,) = self._scores([Image.new("RGB", (64, 64), _GREY)], ["a picture"])
        self.columns = tuple(probe)
        if not self.columns:
            raise InputError(f"The filter {name} gave no score at all; it must give a number or a dict of numbers.")
        if odd := next((column for column in self.columns if not _is_column(column)), None):
            raise InputError(
                f"The filter {name} gave a score the name {odd!r}; name it with letters, digits and _, not row_id."
            )

    def prepare(self, image: Image.Image) -> Image.Image:
        """The picture itself."""
        return image

    def __call__(
        self, prepared: Sequence[Image.Image], texts: Sequence[Sequence[str]]
    ) -> list[list[tuple[float, ...]]]:
        """For each image and each of its texts a value of every column."""
        images = [image for image, own in zip(prepared, texts, strict=True) for _ in own]
        captions = [text for own in texts for text in own]
        rows = iter(self._scores(images, captions) if captions else [])
        return [[self._values(next(rows), text) for text in own] for own in texts]

    def _scores(self, images: list[Image.Image], captions: list[str]) -> list[dict[str, float]]:
        try:
            found = list(self._function(list(images), list(captions)))
        except Exception as error:  # somebody's code: anything may come out of it
            self._find_failing(images, captions)
            raise InputError(
                f"The filter {self.name} failed on {len(captions)} captions from {captions[0][:80]!r} on, but on "
                f"none of them alone ({type(error).__name__}: {error}); mend the function and run again."
            ) from error
        if len(found) != len(captions):
            raise InputError(
                f"The filter {self.name} gave {len(found)} scores for {len(captions)} captions; "
                "it must give one for each."
            )
        return [self._columns(score, text) for score, text in zip(found, captions, strict=True)]

    def _find_failing(self, images: list[Image.Image], captions: list[str]) -> None:
        """Raise for the first row that fails alone too."""
        for image, text in zip(images, captions, strict=True):
            try:
                self._function([image], [text])
            except Exception as error:
                raise InputError(
                    f"The filter {self.name} failed on the caption {text[:80]!r} "
                    f"({type(error).__name__}: {error}); mend the function and run again."
                ) from error

    def _columns(self, score: Any, text: str) -> dict[str, float]:
        named = score if isinstance(score, Mapping) else {_ONE_COLUMN: score}
        try:
            return {str(name): float(value) for name, value in named.items()}
        except (TypeError, ValueError):
            raise InputError(
                f"The filter {self.name} gave {score!r} for the caption {text[:80]!r}; "
                "it must give a number or a dict of numbers."
            ) from None

    def _values(self, row: dict[str, float], text: str) -> tuple[float, ...]:
        if row.keys() != set(self.columns):
            raise InputError(
                f"The filter {self.name} gave the columns {', '.join(row)} for the caption {text[:80]!r} and "
                f"{', '.join(self.columns)} at first; it must give the same ones for every row."
            )
        return tuple(row[name] for name in self.columns)


def _is_column(name: str) -> bool:
    """Whether policies and queries can name it."""
    return name.isascii() and name.isidentifier() and name != "row_id"


def _found(name: str) -> tuple[Callable[..., Any], bytes]:
    """The function, and the source of its module."""
    module_name, _, function_name = name.partition(":")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # at the end: a file of the folder must not hide a package
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # an import runs somebody's code
        raise InputError(
            f"The module {module_name} of the filter {name} cannot be imported ({type(error).__name__}: {error}); "
            "run from its folder, or install it."
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise InputError(f"The module {module_name} has no function {function_name}; check the filter {name}.")
    file = inspect.getsourcefile(module) if getattr(module, "__file__", None) else None
    return function, Path(file).read_bytes() if file else name.encode()
