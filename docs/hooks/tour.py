"""Notebooks as pages: text, code and the committed outputs; nothing is run."""

import ast
import base64
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
from links import relinked
from nbformat import NotebookNode

_STATE = "application/vnd.jupyter.widget-state+json"
_VIEW = "application/vnd.jupyter.widget-view+json"
_STYLE = re.compile(r"<style.*?</style>", re.DOTALL)
_SYMBOL = re.compile(r"\$([A-Za-z])_([A-Za-z])\$")
_SLIDERS = "*In JupyterLab, sliders change this picture.*"
_SETTING = re.compile(r"^(%|get_ipython\(\))")


@dataclass(frozen=True)
class Notebook:
    """A notebook as a page: its Markdown, and its pictures by file name."""

    markdown: str
    pictures: dict[str, bytes]


def read(path: Path) -> Notebook:
    """The notebook at `path` with its committed outputs. Pictures are named after it and stand beside the page."""
    notebook = nbformat.read(path, as_version=4)
    pictures: dict[str, bytes] = {}
    widgets = notebook.metadata.get("widgets", {}).get(_STATE, {}).get("state", {})
    parts = [part for cell in notebook.cells for part in _cell(cell, widgets, pictures, path)]
    note = f"*The notebook `notebooks/{path.name}` with the outputs it was committed with. `make notebooks` opens it.*"
    heading, _, rest = parts[0].partition("\n")
    return Notebook("\n\n".join([heading, note, rest, *parts[1:]]), pictures)


def _cell(cell: NotebookNode, widgets: dict, pictures: dict[str, bytes], path: Path) -> Iterator[str]:
    if cell.cell_type == "markdown":
        symbols = _SYMBOL.sub(r"<em>\1<sub>\2</sub></em>", cell.source)
        yield relinked(symbols, f"notebooks/{path.name}")
        return
    yield _code(cell.source)
    for output in _outputs(cell, widgets):
        yield from _shown(output, pictures, path, _title(cell.source))


def _title(source: str) -> str:
    """What a cell calls its figure: the last of its texts that begins like a sentence and has no gap."""
    code = ast.parse("\n".join(line for line in source.splitlines() if not line.startswith("%")))
    filled_in = {part for node in ast.walk(code) if isinstance(node, ast.JoinedStr) for part in node.values}
    texts = [node for node in ast.walk(code) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    titles = [node for node in texts if node.value[:1].isupper() and " " in node.value and node not in filled_in]
    last = max(titles, key=lambda node: (node.lineno, node.col_offset), default=None)
    return re.sub(r"[\[\]*_`]", "", last.value).strip() if last else "Output of the cell above"


def _code(source: str) -> str:
    """A code cell; one that only sets the notebook up is folded."""
    if not _SETTING.match(source):
        return f"```python\n{source}\n```"
    body = "\n".join(f"    {line}".rstrip() for line in f"```python\n{source}\n```".splitlines())
    return f'??? setup "Set up"\n\n{body}'


def _outputs(cell: NotebookNode, widgets: dict) -> Iterator[NotebookNode]:
    """The outputs of a cell; of sliders, what they showed when the notebook was saved."""
    for output in cell.outputs:
        view = output.get("data", {}).get(_VIEW)
        if view is None:
            yield output
            continue
        for child in widgets[view["model_id"]]["state"]["children"]:
            yield from widgets[child.removeprefix("IPY_MODEL_")]["state"].get("outputs", [])
        yield NotebookNode(output_type="stream", text="", data={"text/markdown": _SLIDERS})


def _shown(output: NotebookNode, pictures: dict[str, bytes], path: Path, title: str) -> Iterator[str]:
    """The richest form of an output that a page can show."""
    data = output.get("data", {})
    if "image/png" in data:
        name = f"{path.stem}-{len(pictures) + 1}.png"
        pictures[name] = base64.b64decode(data["image/png"])
        yield f"[![{title}]({name}){{ .output loading=lazy }}]({name})"
    elif "text/html" in data:
        table = re.sub(r"\n\s*\n", "\n", _STYLE.sub("", data["text/html"]))
        yield f'<div class="output table">\n{table}\n</div>'
    elif "text/markdown" in data:
        yield relinked(data["text/markdown"], f"notebooks/{path.name}")
    elif text := output.get("text") or data.get("text/plain"):
        yield f'<pre class="output">{html.escape(text)}</pre>'
