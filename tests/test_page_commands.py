"""Commands that pages, notebooks and the tour name: each is there, with every option that is given to it."""

import json
import re
from dataclasses import fields, is_dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import get_type_hints

import pytest

from lab.cli import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "blip/weights/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "notebooks").glob("*.ipynb")),
]
_FENCED = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(lab [^`\n]+)`")
_LINE = re.compile(r"(?:^|--module |python -m )(lab [^#\n]+)", re.MULTILINE)
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")


@cache
def options_of(name):
    """The options of a command as they are typed, those of its groups too."""

    def walk(kind):
        hints = get_type_hints(kind)
        for one in fields(kind):
            if is_dataclass(hints[one.name]):
                yield from walk(hints[one.name])
            else:
                yield one.name.replace("_", "-")

    names = set(walk(import_module(COMMANDS[name][0]).Options))
    return {f"--{sign}{own}" for own in names for sign in ("", "no-")} | {"--help"}


def texts(path):
    """What people read on a page; of a notebook the cells of text."""
    if path.suffix != ".ipynb":
        return path.read_text(encoding="utf-8")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def commands(text):
    """The commands of fenced blocks and of code within sentences."""
    blocks = "".join(_FENCED.findall(text)).replace("\\\n", " ")
    return _LINE.findall(blocks) + _INLINE.findall(_FENCED.sub("", text))


def wrong(line):
    """What a command names that is not there; nothing where it stands for any command."""
    words = line.split()
    name = " ".join(words[1:3]) if " ".join(words[1:3]) in COMMANDS else words[1]
    family = {known.split()[0] for known in COMMANDS if " " in known}
    if name in family or name.isupper() or name.startswith("--") or "|" in name or name == "...":
        return set()
    return {name} - set(COMMANDS) or set(_OPTION.findall(line)) - options_of(name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name if page.parent != ROOT / "blip/weights" else "weights")
def test_commands_and_options_that_a_page_names_are_there(page):
    faults = {line: found for line in commands(texts(page)) if (found := wrong(line))}
    assert not faults


def test_pages_have_commands_and_wrong_ones_are_found():
    """The check above can fail."""
    assert len(commands(texts(ROOT / "README.md"))) > 20 and len(commands(texts(ROOT / "docs/own-data.md"))) > 20
    assert wrong("lab capfilt --data x --weight-decay 3") == {"--weight-decay"}
    assert wrong("lab pretain --data x") == {"pretain"}
    assert commands("```\ntorchrun --nnodes 2 --module lab pretrain --data x \\\n  --kep 2\n```\n") == ["lab pretrain --data x    --kep 2"]
    assert not wrong("lab capfilt ... --forecast") and not wrong("lab COMMAND --help")
