"""The API reference: a page a shelf, made of docstrings, and the front door `blip`."""

import ast

from links import FRONT
from shelves import ROOT, SHELVES, filled, modules

import blip


def pages() -> dict[str, str]:
    """Markdown by path under `docs`."""
    held = filled(name for name in modules() if name != "blip")
    return {FRONT: _front_door()} | {shelf.page: _page(shelf.title, shelf.about, names) for shelf, names in held.items()}


def navigation() -> list[dict]:
    """The reference in the order of the paper."""
    names = {"blip": "blip: model and CapFilt", "lab": "lab: experiments", "apps": "apps: studio"}
    by_package = [
        {title: [{shelf.title: shelf.page} for shelf in SHELVES if shelf.package == package]}
        for package, title in names.items()
    ]
    return [FRONT, *by_package]


def home(name: str) -> str:
    """The module that defines a name of the front door: its home there, or a module of that package."""
    door = blip._HOMES[name]
    homes = [module for module in modules() if module == door or module.startswith(f"{door}.")]
    return next(module for module in homes if _definition(module, name))


def _definition(module: str, name: str) -> ast.ClassDef | ast.FunctionDef | None:
    found = (node for node in _tree(module).body if isinstance(node, ast.ClassDef | ast.FunctionDef))
    return next((node for node in found if node.name == name), None)


def _tree(module: str) -> ast.Module:
    path = ROOT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8"))


def _summary(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> str:
    """The first paragraph of a docstring, as a cell of a table."""
    return " ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split()).replace("|", "&#124;")


def _front_door() -> str:
    """`import blip`: its names, each with its first sentence and a link to the whole."""
    rows = []
    for name in sorted(blip.__all__, key=str.lower):
        module = home(name)
        rows.append(f"| [`blip.{name}`][{module}.{name}] | {_summary(_definition(module, name))} |")
    return "\n".join(["# Reference", "", _INTRODUCTION, "", "## The front door: `import blip`", "",
                      "| name | what it is |", "| --- | --- |", *rows, "", "## All modules", "", *_contents()])  # fmt: skip


_INTRODUCTION = (
    "Every module of `blip`, `lab` and `apps`, from its docstrings, in the order of the paper: the numbers are its "
    "sections. Shapes are in parentheses: (B, L, D) is a batch of B texts of L tokens of width D."
)


def _contents() -> list[str]:
    lines = []
    for shelf, names in filled(name for name in modules() if name != "blip").items():
        links = ", ".join(f"[`{name}`][{name}]" for name in names)
        lines += [f"**[{shelf.title}]({shelf.page.removeprefix('reference/')})**: {links}", ""]
    return lines


def _entry(name: str) -> str:
    """The directive of a module. The source of `blip` is shown, since a forward there reads like the paper's figure."""
    return f"::: {name}\n    options:\n      show_source: {str(name.startswith('blip.')).lower()}"


def _page(title: str, about: str, names: list[str]) -> str:
    """A page of the reference: what it is about, its modules with a sentence each, and their docstrings."""
    rows = [f"| [`{name}`][{name}] | {_summary(_tree(name))} |" for name in names]
    entries = "\n\n".join(_entry(name) for name in names)
    return "\n".join([f"# {title}", "", about, "", "| module | what it is |", "| --- | --- |", *rows, "", entries, ""])
