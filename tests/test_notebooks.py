"""The notebooks run from top to bottom at smoke scale, and are committed as they ran at full scale."""

import json
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from lab.pages import percent, read_record

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MOST_BYTES = 1_500_000
MACHINE_PATHS = re.compile(r"/home/|/root/|/tmp/|/Users/|/opt/|/mnt/|[A-Za-z]:\\\\?Users|\bC:\\")
SECONDS_A_CELL = 120

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def test_there_are_notebooks_and_their_numbers_are_their_order():
    assert NOTEBOOKS
    assert [int(path.name[:2]) for path in NOTEBOOKS] == list(range(1, len(NOTEBOOKS) + 1))
    assert all(re.fullmatch(r"\d\d_[a-z0-9_]+", path.stem) for path in NOTEBOOKS)


@each
def test_it_runs_at_smoke_scale(path, tmp_path, monkeypatch):
    monkeypatch.setenv("BLIP_LAB_SCALE", "smoke")
    notebook = nbformat.read(path, as_version=4)
    for cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
    # Killed when done: a kernel's own farewell can take minutes and shows nothing.
    client = NotebookClient(
        notebook,
        timeout=SECONDS_A_CELL,
        shutdown_kernel="immediate",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()
    assert complaints(notebook) == []
    assert [cell.execution_count for cell in code_cells(notebook)] == list(range(1, len(code_cells(notebook)) + 1))
    assert pictures(notebook) == pictures(nbformat.read(path, as_version=4))


@each
def test_it_is_committed_with_the_outputs_of_one_run(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert complaints(notebook) == []
    assert pictures(notebook) >= 1
    assert path.stat().st_size <= MOST_BYTES


@each
def test_it_says_nothing_of_the_machine_it_ran_on(path):
    notebook = nbformat.read(path, as_version=4)
    assert MACHINE_PATHS.findall(words(notebook)) == []
    assert notebook.metadata.kernelspec.name == "python3"


@each
def test_it_asks_first_and_answers_last(path):
    cells = nbformat.read(path, as_version=4).cells
    number = int(path.name[:2])
    assert cells[0].cell_type == "markdown"
    assert cells[0].source.startswith(f"# {number}. ")
    assert "**Question.**" in cells[0].source
    headings = [line for cell in cells for line in cell.source.splitlines() if line.startswith("## ")]
    expected = [f"## {number}.{i}" for i in range(1, len(headings) + 1)]
    assert [heading.split(" ", 2)[:2] for heading in headings] == [one.split() for one in expected]
    assert headings[-1].endswith("Answer")


def test_capfilt_step_by_step_says_what_the_record_of_the_demo_says():
    """Both are about the same pairs and weights: who trains new ones runs both again."""
    notebook = nbformat.read(FOLDER / "02_capfilt_step_by_step.ipynb", as_version=4)
    answer = code_cells(notebook)[-1].outputs[0].data["text/markdown"]
    result = read_record("demo")["result"]
    counts = [f"{result['kept'][origin]:,}" for origin in ("web", "synthetic")]
    rates = [result["origins"]["web"]["true_before"], *(one["precision"] for one in result["origins"].values())]
    missing = [one for one in (*counts, *map(percent, rates)) if one not in answer]
    assert missing == []


def test_a_complaint_and_a_path_are_found():
    """The checks above can fail."""
    warned = nbformat.v4.new_output("stream", name="stderr", text="Traceback (most recent call last)")
    cell = nbformat.v4.new_code_cell("1", outputs=[warned], execution_count=1)
    notebook = nbformat.v4.new_notebook(cells=[cell])
    assert complaints(notebook) == ["Traceback (most recent call last)"]
    assert MACHINE_PATHS.search("saved in /home/somebody/x") and MACHINE_PATHS.search(r"C:\Users\x")
    assert not MACHINE_PATHS.search("runs/demo/ledger and image/png")


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook: NotebookNode) -> list[NotebookNode]:
    """What the cells show, and what they show inside of widgets."""
    states = notebook.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {})
    inside = [one for widget in states.get("state", {}).values() for one in widget["state"].get("outputs", [])]
    return [one for cell in code_cells(notebook) for one in cell.outputs] + inside


def complaints(notebook: NotebookNode) -> list[str]:
    """Errors, and whatever was written to stderr."""
    return [
        one.get("text") or one.get("ename", "")
        for one in outputs(notebook)
        if one["output_type"] == "error" or one.get("name") == "stderr"
    ]


def pictures(notebook: NotebookNode) -> int:
    return sum("image/png" in one.get("data", {}) for one in outputs(notebook))


def words(notebook: NotebookNode) -> str:
    """Everything in a notebook but its pictures."""
    text = json.dumps(notebook)
    return re.sub(r'"image/png": "[^"]*"', "", text)
