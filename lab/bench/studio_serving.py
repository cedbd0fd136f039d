"""Servers of pages in processes of their own, and the memory that one holds."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from blip.errors import InputError

_END = 60  # seconds that a server may take to end


@dataclass(frozen=True)
class Served:
    """A server that answers: its address, its process, and the seconds it took to start."""

    url: str
    pid: int
    seconds: float

    def mib(self) -> float:
        """The memory it holds now (resident, Linux)."""
        lines = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


@contextmanager
def studio(ledger: Path, other: Path) -> Iterator[Served]:
    """`lab studio` over a ledger, with another one to compare it with."""
    words = ["-m", "lab", "studio", str(ledger), "--compare", str(other), "--no-open", "--port"]
    with _served(words) as served:
        yield served


@contextmanager
def blank() -> Iterator[Served]:
    """A Gradio page with one line on it."""
    with _served(["-m", "lab.bench.studio_blank"]) as served:
        yield served


@contextmanager
def _served(words: Sequence[str]) -> Iterator[Served]:
    """A process that is given a free port as its last word, once it has said that it serves there."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, *words, str(port)], stdout=subprocess.PIPE, text=True)
    try:
        said = process.stdout.readline() if process.stdout else ""
        if f"127.0.0.1:{port}" not in said:
            raise InputError(f"The server did not start ({said.strip() or 'see above'}); try lab studio by hand.")
        yield Served(f"http://127.0.0.1:{port}", process.pid, time.perf_counter() - start)
    finally:
        process.terminate()
        process.wait(_END)
