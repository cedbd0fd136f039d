"""Run records: what a measurement found, and what it takes to find it again."""

import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

from blip.data.files import replacing
from blip.errors import InputError

RESULTS = Path(__file__).parent / "results"
"""The records that come along."""
_CLONE = RESULTS.parents[1]
_IN_CLONE = (_CLONE / "pyproject.toml").is_file()
SUMMARY = "summary.json"
"""The record of a command in its own folder."""
WRITTEN = RESULTS if _IN_CLONE else Path("results")
"""Where records are written: among those that come along in a clone, in the working folder where the package is installed."""
DRAWN = _CLONE / "docs" if _IN_CLONE else WRITTEN
"""Where the pictures of records are drawn."""
_PACKAGES = ("torch", "torchvision", "transformers", "tokenizers", "pyarrow", "numpy")


def record(name: str, result: dict[str, Any], *, seed: int | None, config: dict[str, Any] | None = None) -> dict[str, Any]:
    """A record: the result with the command, commit, machine, versions, date and seed behind it."""
    return {
        "name": name,
        "date": date.today().isoformat(),
        "command": command_line(),
        "commit": commit(),
        "machine": machine(),
        "versions": versions(),
        "seed": seed,
        "config": config or {},
        "result": result,
    }


def as_json(content: dict[str, Any]) -> bytes:
    """A record as readable JSON."""
    return json.dumps(content, indent=1, sort_keys=False).encode() + b"\n"


def begin_in(out: Path, name: str) -> dict[str, Any]:
    """Try to write in the folder of a summary, made where it is not there, before anything long begins.

    Gives the summary that is in it, {} where there is none. InputError where nothing can be written, or where that
    summary is of a command of another name and would be lost.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        reason = "it is a file" if isinstance(error, FileExistsError) else error.strerror or error
        raise InputError(f"Nothing can be written in {out} ({reason}); give another --out, or the right to write there.") from None
    found = _read(out / SUMMARY)
    if found.get("name", name) != name:
        raise InputError(f"{out} holds the {SUMMARY} of lab {found['name']}, which would be lost; give another --out.")
    return found


def _read(path: Path) -> dict[str, Any]:
    """A record; {} where there is none that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_record(path: Path, content: dict[str, Any]) -> Path:
    """Write a record as readable JSON, whole or not at all."""
    with replacing(path) as file:
        file.write(as_json(content))
    return path


def command_line() -> str:
    """The command as a person would type it: program name, then arguments, home folder as ~."""
    name = Path(sys.argv[0]).name or "python"
    package = getattr(sys.modules["__main__"].__spec__, "parent", "")
    program = ["python", "-m", package] if name == "__main__.py" else [name]
    return shlex.join([*program, *sys.argv[1:]]).replace(str(Path.home()), "~")


def commit() -> str | None:
    """The commit of the source, with `+` when the tree differs from it in more than its records, which a run writes as it goes.

    Outside a clone, what BLIP_LAB_COMMIT says: whoever copied the files without .git to a machine knows it. Else None.
    """
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        return head + ("+" if _git("status", "--porcelain", "--untracked-files=no", ":/", f":(top,exclude){RESULTS.parent.name}/{RESULTS.name}") else "")
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("BLIP_LAB_COMMIT")


def machine() -> dict[str, Any]:
    """Processor, the instructions that its arithmetic uses, cores, memory in GiB, accelerator and system."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": _processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(pages * page / 2**30),
        "accelerator": gpu,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Versions of the packages that numbers depend on."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _git(*words: str) -> str:
    return subprocess.run(
        ["git", "-C", str(RESULTS.parent), *words], check=True, capture_output=True, text=True
    ).stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
