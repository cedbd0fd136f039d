"""What a record says of how it was made."""

import shlex
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

from lab import records
from lab.records import command_line


def test_a_command_can_be_typed_again(monkeypatch):
    words = ["ablate", "mixes", "--only", "raw only", "union", "--out", str(Path.home() / "record.json")]
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/lab", *words])
    said = command_line()
    assert said == "lab ablate mixes --only 'raw only' union --out ~/record.json"
    assert [word.replace("~", str(Path.home())) for word in shlex.split(said)] == ["lab", *words]


@pytest.mark.parametrize("package", ["lab", "lab.ablation"])
def test_a_module_that_was_run_is_named_as_python_runs_it(monkeypatch, package):
    main = ModuleType("__main__")
    main.__spec__ = find_spec(f"{package}.__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setattr(sys, "argv", [main.__spec__.origin, "table1"])
    assert command_line() == f"python -m {package} table1"


def test_a_copy_without_git_names_the_commit_that_it_was_told(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "RESULTS", tmp_path / "lab" / "results")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    (tmp_path / "lab").mkdir()
    monkeypatch.delenv("BLIP_LAB_COMMIT", raising=False)
    assert records.commit() is None
    monkeypatch.setenv("BLIP_LAB_COMMIT", "0123456789ab")
    assert records.commit() == "0123456789ab"
