"""Command lines that measure, run one after the other in one process or in each of several, and what each of them said."""

import io
import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import torch
import torch.distributed as dist

import lab.captioned
from blip.distributed import rank
from lab.cli import main

SCENES = 6  # of a domain of the generated world


def said(words: list[str]) -> dict[str, object]:
    """The status of a command line and what it wrote on stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status = main(words)
        except SystemExit as ended:
            status = ended.code
    return {"status": status, "out": out.getvalue(), "err": err.getvalue()}


def run(jobs: list[tuple[str, list[str]]], ports: list[int]) -> dict[str, dict[str, object]]:
    """By their names what all of them said; each of several processes meets the others anew at a port of its own."""
    threads, scenes = torch.get_num_threads(), lab.captioned.WORLD_SCENES
    torch.set_num_threads(1)  # another number of threads rounds otherwise
    lab.captioned.WORLD_SCENES = SCENES
    found = {}
    try:
        for (name, words), port in zip(jobs, ports, strict=True):
            os.environ["MASTER_PORT"] = str(port)
            found[name] = said(words)
            if dist.is_initialized():  # behind a refusal
                dist.destroy_process_group()
    finally:
        torch.set_num_threads(threads)
        lab.captioned.WORLD_SCENES = scenes
    return found


if __name__ == "__main__":
    folder, number = Path(sys.argv[1]), os.environ["RANK"]
    jobs, ports = json.loads((folder / "jobs.json").read_text())
    assert rank() == 0, "nothing is begun before the first command"
    (folder / f"said-{number}.json").write_text(json.dumps(run(jobs, ports)))
