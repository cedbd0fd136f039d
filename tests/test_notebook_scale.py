"""BLIP_LAB_SCALE in the notebooks: every notebook takes the same four scales, and refuses others in one sentence."""

import ast
import re
import runpy
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from blip.errors import InputError
from lab.claim_records import measured
from lab.notebook_scale import VARIABLE, chosen_scale, known_scale

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
SIZES = {"COUNT", "KNOWN", "MORE"}
"""What notebooks call how much they do; KNOWN stands in a tuple with more."""


def test_a_scale_is_the_variables_or_else_the_notebooks_own(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert (chosen_scale(), chosen_scale("cpu")) == ("best", "cpu")
    monkeypatch.setenv(VARIABLE, "")
    assert chosen_scale("cpu") == "cpu"
    for scale in ("smoke", "cpu", "gpu", "best"):
        monkeypatch.setenv(VARIABLE, scale)
        assert chosen_scale() == chosen_scale("cpu") == known_scale(scale) == scale


def test_another_scale_is_refused_in_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, "Smoke")
    with pytest.raises(InputError) as refused:
        chosen_scale("cpu")
    assert str(refused.value) == "There is no scale 'Smoke', did you mean 'smoke'; BLIP_LAB_SCALE takes smoke, cpu, gpu or best."
    with pytest.raises(InputError, match="^There is no scale 'huge'; BLIP_LAB_SCALE takes"):
        measured("table1", "huge", tmp_path)  # as somebody writes it in the notebook itself


def test_a_notebook_shows_the_sentence_and_no_stack_trace(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, "Smoke")
    code = "from lab.notebook_scale import chosen_scale\nchosen_scale()"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    client = NotebookClient(notebook, kernel_name="python3", timeout=300, startup_timeout=300, shutdown_kernel="immediate")
    with pytest.raises(CellExecutionError):
        client.execute()
    (shown,) = notebook.cells[0].outputs
    assert shown.traceback == [
        "InputError: There is no scale 'Smoke', did you mean 'smoke'; BLIP_LAB_SCALE takes smoke, cpu, gpu or best."
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_takes_every_scale(path, monkeypatch, tmp_path):
    """Its first cell asks chosen_scale and nothing else, and what the notebook does itself has two sizes."""
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    code = "\n".join(line for line in "\n".join(cells).splitlines() if not line.startswith("%"))
    assert "BLIP_LAB_SCALE" not in code and "environ" not in code
    assert len(re.findall(r"chosen_scale\((?:\"cpu\")?\)", code)) == cells[0].count("chosen_scale(") == 1
    each = {scale: sizes(code, scale, monkeypatch, tmp_path) for scale in ("smoke", "cpu", "gpu", "best", None)}
    assert each["cpu"] == each["gpu"] == each["best"] == each[None]
    assert all(each["smoke"][name] < most for name, most in each["best"].items())
    with pytest.raises(InputError, match="There is no scale 'cpuu', did you mean 'cpu'"):
        sizes(code, "cpuu", monkeypatch, tmp_path)


def sizes(code, scale, monkeypatch, folder):
    """What a notebook would do at a scale, of its own assignments alone."""
    monkeypatch.delenv(VARIABLE, raising=False)
    if scale is not None:
        monkeypatch.setenv(VARIABLE, scale)
    wanted = [line for line in ast.parse(code).body if isinstance(line, ast.Assign) and stored(line) & (SIZES | {"SCALE", "SMOKE"})]
    script = folder / "sizes.py"
    script.write_text(ast.unparse(ast.Module(wanted, [])))
    names = runpy.run_path(str(script), {"chosen_scale": chosen_scale})
    return {name: value for name, value in names.items() if name in SIZES}


def stored(line):
    """The names that a line assigns."""
    return {one.id for one in ast.walk(line) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
