"""The wheel: built from a copy of the tree, installed outside the clone, used from there."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from blip import __version__

ROOT = Path(__file__).parents[1]
SOURCES = ("blip", "lab", "apps")


def pip(*words):
    """pip without an index: what it needs is here, or it fails."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *words, "--no-deps", "--no-index"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built in a copy, so that the clone gets no build folder."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    tree.mkdir()
    for name in SOURCES:
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy(path, tree)
    pip("wheel", str(tree), "--no-build-isolation", "--wheel-dir", str(folder))
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("installed")
    pip("install", str(wheel), "--target", str(folder), "--no-compile")
    return folder


def outside(installed, tmp_path, *command):
    """Run a command away from the clone, with nothing of ours in reach but the installed copy."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON"))}
    env["BLIP_LAB_HOME"] = str(tmp_path / "home")
    env |= {"PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=120
    )


def test_it_holds_all_modules_and_what_they_read(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        path.relative_to(ROOT).as_posix()
        for source in SOURCES
        for path in (ROOT / source).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted - names == set()
    assert {f"{name}/py.typed" for name in SOURCES} <= names
    assert any(name.startswith("blip/weights/") and name.endswith(".safetensors") for name in names)


def test_it_holds_nothing_else(wheel):
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert tops == {*SOURCES, f"blip_lab-{__version__}.dist-info"}


def test_its_metadata_says_what_it_is(wheel):
    about = f"blip_lab-{__version__}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"{about}/METADATA").decode()
        assert f"{about}/licenses/LICENSE" in archive.namelist()
        assert "lab = lab.cli:entry" in archive.read(f"{about}/entry_points.txt").decode()
    for line in (f"Version: {__version__}", "License-Expression: Apache-2.0", "Requires-Python: >=3.11"):
        assert f"\n{line}\n" in metadata
    assert "Not affiliated with Salesforce" in metadata


def test_the_command_runs_outside_the_clone(installed, tmp_path):
    lab = str(installed / "bin" / "lab")
    done = outside(installed, tmp_path, sys.executable, lab, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"BLIP Lab {__version__}\n", "")
    done = outside(installed, tmp_path, sys.executable, lab, "demo", "--help")
    assert done.returncode == 0 and done.stdout.startswith("usage: lab demo ") and done.stderr == ""


def test_the_demo_runs_outside_the_clone(installed, tmp_path):
    words = ["demo", "--pairs", "48", "--out", "demo", "--no-open"]
    done = outside(installed, tmp_path, sys.executable, str(installed / "bin" / "lab"), *words)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "demo" / "summary.json").read_text())
    assert (summary["pairs"], summary["commit"]) == (48, None)


def test_records_are_written_here_and_go_on_from_those_that_come_along(installed, tmp_path):
    packaged = installed / "lab" / "results" / "ablations"
    before = {path: path.read_bytes() for path in packaged.iterdir()}
    for words in (["table1", "--scale", "smoke", "--seeds", "1", "--only", "none"], ["threshold", "--seeds", "3", "--add"]):
        done = outside(installed, tmp_path, sys.executable, str(installed / "bin" / "lab"), "ablate", *words)
        assert done.returncode == 0, done.stderr
    written = {path.name: json.loads(path.read_text())["result"] for path in (tmp_path / "results" / "ablations").iterdir()}
    assert set(written) == {"table1-smoke.json", "threshold-cpu.json"}
    assert "0 cells, 0 of them done; nothing left" in done.stderr
    known = json.loads((packaged / "threshold-cpu.json").read_text())["result"]
    assert written["threshold-cpu.json"]["arms"] == known["arms"]
    assert written["threshold-cpu.json"]["before"][0]["cells"] == {"sweep": [0, 1, 2]}
    assert {path: path.read_bytes() for path in packaged.iterdir()} == before


def test_the_installed_copy_opens_its_weights(installed, tmp_path):
    code = f"""
import lab.weights
from pathlib import Path
assert Path(lab.weights.__file__).is_relative_to(Path({str(installed)!r})), lab.weights.__file__
names = [path.stem for path in lab.weights.WEIGHTS.glob("*.safetensors")]
assert len(names) >= 3, names
for name in names:
    assert lab.weights.shipped(name).model.training is False
"""
    done = outside(installed, tmp_path, sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
