"""What all tests share: the shared folder, no network, and the time per part at the end."""

import os
import socket
from collections import defaultdict
from pathlib import Path

import pytest

# Read by libraries when they are imported, and handed on to subprocesses of tests.
os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "RAY_USAGE_STATS_ENABLED": "0",
}
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Part -> words of which one stands in the name of its test files; all other files are the first part.
UNITS = "unit and parity"
PARTS = {
    "notebooks": ("notebook", "notebooks"),
    "browser": ("browser", "studio"),
    "ray": ("ray",),
    "kills and resume": ("kill", "kills", "resume"),
    "fuzz": ("fuzz",),
    "docs and house": ("docs", "readme", "setup", "house", "types", "wheel"),
}


def shared_dir() -> Path:
    """The folder of real photos and reference weights; skips where it is not at hand."""
    default = Path(__file__).parents[1].parent / "shared"
    folder = Path(os.environ.get("BLIP_LAB_SHARED", default))
    if not folder.is_dir():
        pytest.skip(f"the shared folder {folder} is missing: set BLIP_LAB_SHARED to it")
    return folder


@pytest.fixture(scope="module")
def browser():
    """Chromium for the tests of the studio; no other test needs Playwright."""
    from browsing import chromium

    with chromium() as browser:
        yield browser


class NetworkForbidden(OSError):
    """A test reached out of this machine."""


def part_of(nodeid: str) -> str:
    """The part that a test belongs to, by the words of its file's name."""
    words = set(Path(nodeid.split("::")[0]).stem.split("_"))
    return next((part for part, known in PARTS.items() if words & set(known)), UNITS)


def _refuse_unless_local(address: object) -> None:
    host = address[0] if isinstance(address, tuple) else None
    local = host in (None, "", "::1", "localhost", "0.0.0.0", "::") or str(host).startswith("127.")
    if not local:
        raise NetworkForbidden(f"Tests use no network, and this one reached for {host}; give it local data.")


def _guarded(method):
    def call(self, *words):
        # sendto takes the address last, connect takes nothing else; a path is a Unix socket.
        _refuse_unless_local(words[-1])
        return method(self, *words)

    return call


def _guarded_lookup(lookup):
    def call(host, *words, **named):
        _refuse_unless_local((host.decode() if isinstance(host, bytes) else host,))
        return lookup(host, *words, **named)

    return call


def pytest_configure():
    for name in ("connect", "connect_ex", "sendto"):
        setattr(socket.socket, name, _guarded(getattr(socket.socket, name)))
    socket.getaddrinfo = _guarded_lookup(socket.getaddrinfo)


def pytest_terminal_summary(terminalreporter):
    """Seconds per part, set-up included; under xdist the sum over workers."""
    seconds, counts = defaultdict(float), defaultdict(int)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                part = part_of(report.nodeid)
                seconds[part] += report.duration
                counts[part] += report.when == "call"
    terminalreporter.section("time per part")
    for part in (UNITS, *PARTS):
        if part in seconds:
            terminalreporter.line(f"{part:17} {seconds[part]:7.1f} s  {counts[part]:5} tests run")
