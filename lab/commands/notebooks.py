"""`lab notebooks`: run the notebooks from top to bottom and save them with their outputs."""

import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from tyro.conf import Positional, arg

from blip.data.files import replacing
from blip.errors import InputError
from lab.options import did_you_mean
from lab.tour import TOUR

FOLDER = Path(__file__).parents[2] / "notebooks"
_SECONDS_A_CELL, _SECONDS_TO_START = 3_600, 300


@dataclass(frozen=True, kw_only=True)
class Options:
    """Run notebooks anew and save them with what the committed records say now; one that fails is left as it was."""

    names: Annotated[tuple[str, ...], Positional, arg(metavar="NAMES")] = ()
    """Numbers or names of notebooks, as in 5 or 05_does_capfilt_help; by default all of them."""


def main(options: Options) -> int:
    """Run each, save it, say how long it took."""
    with full_scale():
        for path in chosen(options.names, FOLDER):
            start = time.perf_counter()
            notebook = executed(path)
            with replacing(path) as file:
                file.write((nbformat.writes(notebook) + "\n").encode())
            print(f"{path.name}: saved, {time.perf_counter() - start:.0f} s", flush=True)
    return 0


def chosen(names: Sequence[str], folder: Path) -> list[Path]:
    """The files of some notebooks, by number, name or file name; all of them where none is named."""
    known = {one.stem: folder / one.file for one in TOUR}
    by_word = {word: path for stem, path in known.items() for word in (stem, stem[:2], str(int(stem[:2])))}
    words = [Path(name).stem if name.endswith(".ipynb") else name for name in names]
    for word in words:
        if word not in by_word:
            raise InputError(f"There is no notebook {word!r}{did_you_mean(word, known)}; give a number or a name of notebooks/.")
    paths = [by_word[word] for word in words] or list(known.values())
    if missing := [path.name for path in paths if not path.is_file()]:
        raise InputError(f"There is no {missing[0]} to run; run lab notebooks in a clone of the repository.")
    return paths


def executed(path: Path) -> NotebookNode:
    """A notebook with the outputs of one run in its folder, without times and paths; InputError where a cell fails."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=_SECONDS_A_CELL,
        startup_timeout=_SECONDS_TO_START,
        record_timing=False,
        extra_arguments=["--log-level=ERROR"],  # what a kernel says of its sockets is no output
        shutdown_kernel="immediate",
        resources={"metadata": {"path": str(path.parent)}},
    )
    try:
        client.execute()
    except CellExecutionError as error:
        raise InputError(f"{path.name} stopped with {error.ename}: {error.evalue}; open it in JupyterLab and run it there.") from None
    return plain(notebook)


def plain(notebook: NotebookNode) -> NotebookNode:
    """A notebook that says nothing of when and where it ran: no times, no version of Python, folders by short names."""
    for cell in notebook.cells:
        cell.metadata = {name: value for name, value in cell.metadata.items() if name == "tags"}
    notebook.metadata.language_info = {"name": "python"}
    text = json.dumps(notebook)
    for folder, short in ((FOLDER.parent, "."), (Path(tempfile.gettempdir()), "temporary"), (Path.home(), "~")):
        text = text.replace(f"{folder}/", f"{short}/")
    return nbformat.from_dict(json.loads(text))


@contextmanager
def full_scale() -> Iterator[None]:
    """Kernels that start in here read the records, and do what has none in one temporary home."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory() as home:
        os.environ.pop("BLIP_LAB_SCALE", None)
        os.environ.setdefault("BLIP_LAB_HOME", home)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)
