"""What a record says of how it was made."""

import shlex
import subprocess
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


def test_a_commit_is_marked_where_the_source_differs_and_not_where_records_do(tmp_path, monkeypatch):
    results = tmp_path / "lab" / "results"
    results.mkdir(parents=True)
    monkeypatch.setattr(records, "RESULTS", results)
    source, own = tmp_path / "lab" / "a.py", results / "a.json"
    for path in (source, own):
        path.write_text("1")
    for words in (["init", "-q"], ["add", "-A"], ["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qm", "a"]):
        subprocess.run(["git", "-C", tmp_path, *words], check=True)
    clean = records.commit()
    assert len(clean) == 12
    own.write_text("2")
    assert records.commit() == clean
    source.write_text("2")
    assert records.commit() == f"{clean}+"
