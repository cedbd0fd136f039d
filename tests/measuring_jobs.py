"""Command lines that measure, run one after the other in one process or in each of several, and what each of them said."""

import io
import json
import os
import sys
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from functools import partial
from hashlib import sha256
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
import torch.distributed as dist

import lab.captioned
from blip.tasks.ranking import Rankings
from lab.cli import main
from lab.commands import evaluate_visdial
from lab.downstream import nlvr, retrieval, video

SCENES = 6  # of a domain of the generated world
SCORING = ((retrieval, "rank"), (video, "rank_videos"), (nlvr, "judge"), (evaluate_visdial, "scored"))


def said(words: list[str]) -> dict[str, object]:
    """The status of a command line, what it wrote on stdout and stderr, and a hash of all scores, by which no bit differs."""
    out, err, scores = io.StringIO(), io.StringIO(), []
    with redirect_stdout(out), redirect_stderr(err), ExitStack() as patched:
        for module, name in SCORING:
            patched.enter_context(patch.object(module, name, partial(noted, scores, getattr(module, name))))
        try:
            status = main(words)
        except SystemExit as ended:
            status = ended.code
    return {"status": status, "out": out.getvalue(), "err": err.getvalue(), "scores": scores}


def noted(scores: list[str], score, *given, **named):
    """What `score` finds, whose bits are noted."""
    found = score(*given, **named)
    values = [array for one in vars(found).values() for array in (one.rows, one.scores)] if isinstance(found, Rankings) else found
    values = list(values.values()) if isinstance(values, dict) else values
    scores.append(sha256(b"".join(np.asarray(one).tobytes() for one in values)).hexdigest())
    return found


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
            assert not dist.is_initialized(), "a refusal, too, leaves no group behind"
    finally:
        torch.set_num_threads(threads)
        lab.captioned.WORLD_SCENES = scenes
    return found


if __name__ == "__main__":
    folder, number = Path(sys.argv[1]), os.environ["RANK"]
    jobs, ports = json.loads((folder / "jobs.json").read_text())
    (folder / f"said-{number}.json").write_text(json.dumps(run(jobs, ports)))
