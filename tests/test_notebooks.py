"""The notebooks run from top to bottom at smoke scale, and are committed as they ran at full scale."""

import json
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from blip.errors import InputError
from lab.claim_answers import sentence, verdicts
from lab.claim_records import best
from lab.claims_report import read_records
from lab.commands.notebooks import chosen, executed, full_scale, plain
from lab.pages import percent, read_record
from lab.tour import TOUR

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MOST_BYTES = 1_500_000
MACHINE_PATHS = re.compile(r"/home/|/root/|/tmp/|/Users/|/opt/|/mnt/|[A-Za-z]:\\\\?Users|\bC:\\")
SECONDS_A_CELL = 300  # far more than a quiet machine takes

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """One for all notebooks: what several of them show is run once."""
    return tmp_path_factory.mktemp("home")


def test_there_are_notebooks_and_their_numbers_are_their_order():
    assert NOTEBOOKS
    assert [int(path.name[:2]) for path in NOTEBOOKS] == list(range(len(NOTEBOOKS)))
    assert [path.name for path in NOTEBOOKS] == [one.file for one in TOUR]
    assert all(re.fullmatch(r"\d\d_[a-z0-9_]+", path.stem) for path in NOTEBOOKS)


@each
def test_it_runs_at_smoke_scale(path, home, tmp_path, monkeypatch):
    monkeypatch.setenv("BLIP_LAB_SCALE", "smoke")
    monkeypatch.setenv("BLIP_LAB_HOME", str(home))
    notebook = nbformat.read(path, as_version=4)
    for cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
    # Killed when done: a kernel's own farewell can take minutes and shows nothing.
    client = NotebookClient(
        notebook,
        timeout=SECONDS_A_CELL,
        startup_timeout=SECONDS_A_CELL,
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


@pytest.mark.parametrize("chapter", [one for one in TOUR if one.ablations], ids=lambda one: one.stem)
def test_its_answer_is_what_the_committed_records_say(chapter):
    """Who commits a record runs `lab notebooks` with the numbers of 0 and of its notebook again."""
    answer = last_words(FOLDER / chapter.file)
    records = best(read_records())
    decided = [one for name in chapter.ablations if name in records for one in records[name].decided]
    assert [said for said in map(sentence, decided) if said not in answer] == []
    for name in set(chapter.ablations) - set(records):
        assert f"`lab ablate {name} --scale cpu`" in answer


def test_the_first_notebook_has_the_table_of_the_committed_records():
    notebook = nbformat.read(FOLDER / TOUR[0].file, as_version=4)
    assert verdicts(read_records()) in [one.data.get("text/markdown") for one in outputs(notebook)]


def test_the_readme_lists_every_notebook():
    readme = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    assert [one.file for one in TOUR if f"](notebooks/{one.file})" not in readme] == []


def test_notebooks_are_chosen_by_number_and_by_name():
    first, last = FOLDER / TOUR[0].file, FOLDER / TOUR[-1].file
    assert chosen(["0", str(TOUR[-1].number), "00", f"notebooks/{TOUR[-1].file}", TOUR[0].stem], FOLDER) == [first, last, first, last, first]
    assert len(chosen([], FOLDER)) == len(TOUR)
    with pytest.raises(InputError, match="no notebook '06_decodin', did you mean '06_decoding'; give a number"):
        chosen(["06_decodin"], FOLDER)
    with pytest.raises(InputError, match="run lab notebooks in a clone of the repository"):
        chosen(["3"], FOLDER / "nowhere")


def test_a_notebook_is_saved_without_times_and_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("BLIP_LAB_SCALE", "smoke")
    code = f"import os; print(os.environ.get('BLIP_LAB_SCALE'), 'BLIP_LAB_HOME' in os.environ, '{Path.home()}/x')"
    path = saved(tmp_path, code)
    with full_scale():
        notebook = executed(path)
    (cell,) = notebook.cells
    assert cell.outputs[0].text == "None True ~/x\n" and cell.metadata == {} and cell.execution_count == 1
    assert notebook.metadata.language_info == {"name": "python"}
    with pytest.raises(InputError, match=r"^1_x.ipynb stopped with ValueError: no; open it"):
        executed(saved(tmp_path, "raise ValueError('no')"))


def test_folders_get_short_names():
    printed = nbformat.v4.new_output("stream", text=f"{FOLDER}/x.ipynb")
    cell = nbformat.v4.new_code_cell("1", outputs=[printed], metadata={"execution": {"iopub.status.idle": "12:00"}, "tags": ["t"]})
    done = plain(nbformat.v4.new_notebook(cells=[cell])).cells[0]
    assert done.outputs[0].text == "./notebooks/x.ipynb" and done.metadata == {"tags": ["t"]}


def test_a_complaint_and_a_path_are_found():
    """The checks above can fail."""
    warned = nbformat.v4.new_output("stream", name="stderr", text="Traceback (most recent call last)")
    cell = nbformat.v4.new_code_cell("1", outputs=[warned], execution_count=1)
    notebook = nbformat.v4.new_notebook(cells=[cell])
    assert complaints(notebook) == ["Traceback (most recent call last)"]
    assert MACHINE_PATHS.search("saved in /home/somebody/x") and MACHINE_PATHS.search(r"C:\Users\x")
    assert not MACHINE_PATHS.search("runs/demo/ledger and image/png")


def saved(folder: Path, code: str) -> Path:
    path = folder / "1_x.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)]), path)
    return path


def last_words(path: Path) -> str:
    """What the last cell of a notebook says."""
    return code_cells(nbformat.read(path, as_version=4))[-1].outputs[0].data["text/markdown"]


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
