"""The set-up: one list of packages in three files, imports that are declared, tests without network."""

import ast
import re
import socket
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest
import yaml
from conftest import NetworkForbidden, part_of
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from test_house import files, imports, notebook_code, notebooks, tree, where

import blip

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text())
CONSTRAINTS = (ROOT / "constraints.txt").read_text()
EXTRAS = PYPROJECT["optional-dependencies"]
# The name of a package where its import has another.
IMPORTED_AS = {"pillow": "PIL", "open-clip-torch": "open_clip", "pyyaml": "yaml"}
# Imports of a package beside that one.
ALSO_IMPORTED = {"open-clip-torch": {"open_clip_train"}}
# Core packages that no code imports, and why they are there.
NOT_IMPORTED = {
    "jupyterlab": "make notebooks opens it",
    "ipywidgets": "progress bars in notebooks",
    "open-clip-torch": "asked for by name: the CLIP score as a filter, and CLIP and CoCa as baselines, come with it",
    "pandas": "asked for by name: tables in notebooks",
}
# Developers' packages that are commands, plug-ins and what builds the wheel, not imports.
TOOLS = {"ruff", "mypy", "uv", "pytest-xdist", "pytest-timeout", "setuptools"}


def names(requirements):
    return {canonicalize_name(Requirement(line).name) for line in requirements}


def environment_packages():
    pip = next(entry["pip"] for entry in ENVIRONMENT["dependencies"] if isinstance(entry, dict))
    return pip


def pinned():
    """name -> versions; more than one only where a marker chooses."""
    pins = {}
    for line in CONSTRAINTS.splitlines():
        if line and not line.lstrip().startswith("#"):
            requirement = Requirement(line)
            pins.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return pins


def test_environment_holds_every_declared_package_with_its_bounds():
    declared = {*PYPROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)}
    first, *listed = environment_packages()
    assert first == "-c constraints.txt"
    assert sorted(listed, key=str.lower) == sorted(declared, key=str.lower)


def test_environment_takes_only_python_and_pip_from_conda():
    plain = [entry for entry in ENVIRONMENT["dependencies"] if isinstance(entry, str)]
    assert [re.split("[=<>]", entry)[0] for entry in plain] == ["python", "pip"]
    assert ENVIRONMENT["channels"] == ["conda-forge", "nodefaults"]
    wanted = next(entry for entry in plain if entry.startswith("python")).partition("=")[2]
    assert Requirement(f"python{PYPROJECT['requires-python']}").specifier.contains(wanted)


def test_every_declared_package_is_pinned():
    declared = names([*PYPROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)])
    assert declared - set(pinned()) == set()


def test_every_pin_is_one_version_inside_the_declared_bounds():
    bounds = {canonicalize_name((wanted := Requirement(line)).name): wanted for line in PYPROJECT["dependencies"]}
    for name, requirements in pinned().items():
        for requirement in requirements:
            versions = [part.version for part in requirement.specifier if part.operator == "=="]
            assert len(versions) == len(requirement.specifier) == 1, f"{name} is not pinned to one version"
            assert name not in bounds or bounds[name].specifier.contains(versions[0])
        assert len(requirements) == 1 or all(requirement.marker for requirement in requirements)


def test_everything_that_comes_along_is_pinned():
    """Packages that ours need, directly or not: what pip would choose freely breaks an environment later."""
    needed = installed_needs("blip-lab", EXTRAS)
    assert len(needed) > 100
    assert needed - set(pinned()) == set()


def installed_needs(name, extras):
    """Names of the installed packages that a package needs, and that those need."""
    front, seen, found = [(name, frozenset(extras))], set(), set()
    while front:
        name, extras = front.pop()
        for requirement in map(Requirement, requires(name) or []):
            marker = requirement.marker
            wanted = not marker or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))
            needed = canonicalize_name(requirement.name), frozenset(requirement.extras)
            if wanted and needed not in seen and is_installed(needed[0]):
                seen.add(needed)
                front.append(needed)
                found.add(needed[0])
    return found


def is_installed(name):
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


@pytest.mark.parametrize("name", ["pyproject.toml", "environment.yml", "constraints.txt"])
def test_no_address_in_the_package_lists(name):
    assert not re.search(r"\w+://|\bgit\+|--index|--find-links| @ ", (ROOT / name).read_text())


def third_party(sources):
    """import name -> where, for everything that is neither ours nor Python's."""
    own = {"blip", "lab", "apps", *(path.stem for path in files("tests"))}
    found = {}
    for path, code in sources:
        for line, name in imports(code):
            root = name.split(".")[0]
            if root not in own | sys.stdlib_module_names:
                found.setdefault(root, where(path, line))
    return found


def product():
    sources = [(path, tree(path)) for path in files("blip", "lab", "apps")]
    return third_party(sources + [(path, ast.parse(notebook_code(path))) for path in notebooks()])


def import_names(packages):
    also = (ALSO_IMPORTED.get(name, set()) for name in packages)
    return {IMPORTED_AS.get(name, name.replace("-", "_")) for name in packages}.union(*also)


def test_every_import_is_declared():
    """The product's by its dependencies and extras, the tests' by these and the developers' packages."""
    core = import_names(names(PYPROJECT["dependencies"]))
    extras = {name: import_names(names(lines)) for name, lines in EXTRAS.items()}
    told = core | extras["scale"] | extras["video"] | extras["metrics"] | extras["bench"]
    assert {name: at for name, at in product().items() if name not in told} == {}
    tests = third_party([(path, tree(path)) for path in files("tests")])
    assert {name: at for name, at in tests.items() if name not in told | extras["dev"]} == {}


def test_every_declared_package_is_used():
    everything = product()
    unused = {
        name
        for name in names([*PYPROJECT["dependencies"], *EXTRAS["scale"], *EXTRAS["video"], *EXTRAS["metrics"]])
        if not import_names({name}) & set(everything)
    }
    tests = third_party([(path, tree(path)) for path in files("tests")])
    only_tested = {name for name in unused if import_names({name}) & set(tests)}
    idle = unused - only_tested - set(NOT_IMPORTED)
    assert not idle, f"nothing imports {sorted(idle)}: use them, or take them off the lists"
    tools = {name for name in names(EXTRAS["dev"]) if not import_names({name}) & set(tests)}
    assert tools == TOOLS


def test_the_version_has_one_source():
    assert PYPROJECT["dynamic"] == ["version"]
    assert re.search(rf"^version: {re.escape(blip.__version__)}$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert f"## [{blip.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_makefile_names_its_targets():
    """A dry run of each target parses the Makefile and ends in a command."""
    for target in ("demo", "app", "notebooks", "docs", "docs-serve", "test", "lint"):
        done = subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True, text=True)
        assert ".venv/bin/" in done.stdout


@pytest.mark.parametrize(
    ("script", "said"),
    [("exit 1", "This needs Python 3.11 or later"), ('case "$2" in *version*) exit 0;; esac; exit 1', "without venv")],
)
def test_a_python_that_does_not_do_gets_a_sentence(tmp_path, script, said):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    words = ["make", "demo", f"PYTHON={python}"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and said in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_tests_have_no_network():
    with socket.socket() as here, pytest.raises(NetworkForbidden, match="give it local data"):
        here.connect(("192.0.2.1", 80))
    with pytest.raises(NetworkForbidden, match="example.invalid"):
        socket.create_connection(("example.invalid", 80), timeout=1)
    with socket.socket(type=socket.SOCK_DGRAM) as here, pytest.raises(NetworkForbidden):
        here.sendto(b"x", ("192.0.2.1", 80))


def test_tests_may_talk_to_this_machine():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()
        socket.create_connection(("localhost", server.getsockname()[1]), timeout=5).close()


def test_parts_of_the_tests():
    assert part_of("tests/test_model.py::test_x") == "unit and parity"
    assert part_of("tests/test_capfilt_ray.py::test_resume") == "ray"
    assert part_of("tests/test_resume.py::test_x[1]") == "kills and resume"
