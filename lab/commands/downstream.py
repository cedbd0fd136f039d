"""`lab downstream`: every task of the paper in the generated world, from pre-training and from nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from tyro.conf import UseAppendAction, arg

from blip.checkpoint import Card, Loaded
from blip.errors import InputError
from blip.model import BLIP
from lab.downstream import captioning, nlvr, retrieval, video, video_qa, visdial, vqa
from lab.records import record, write_record
from lab.runs import Home, Run, Step
from lab.stats import paired_effect
from lab.weights import shipped

Task = Callable[..., dict[str, float]]
TASKS: dict[str, tuple[Task, str]] = {
    "retrieval": (retrieval.run, "r1"),
    "captioning": (captioning.run, "strictly_true"),
    "vqa": (vqa.run, "accuracy"),
    "nlvr": (nlvr.run, "accuracy"),
    "visdial": (visdial.run, "ndcg"),
    "video retrieval": (video.run, "video_r1"),
    "video qa": (video_qa.run, "accuracy"),
}
"""Each with its primary metric, to which its chance and ceiling belong."""
ARMS = ("pre-trained", "from nothing")
ORDER = "order of frames"
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Options:
    """Fine-tune each task from the shipped pre-trained weights and from nothing, with equal fine-tuning, and compare."""

    task: Annotated[tuple[str, ...], UseAppendAction, arg(metavar="TASK")] = ()
    """Only this task; may be given several times: retrieval, captioning, vqa, nlvr, visdial, 'video retrieval',
    'video qa'."""
    seeds: int = 3
    """Seeds, each for both arms; those that were run before are read."""
    steps: int | None = None
    """Optimizer steps, in place of each task's own number."""
    level: str = "nano"
    """Level of the generated world."""
    out: Path | None = None
    """The record, JSON; by default in the home of runs (BLIP_LAB_HOME, else ~/.cache/blip-lab)."""


def main(options: Options) -> int:
    """Run what was not run yet, print the table, write the record."""
    names = options.task or tuple(TASKS)
    if unknown := [name for name in names if name not in TASKS]:
        raise InputError(f"There is no task {unknown[0]!r}; choose one of {', '.join(TASKS)}.")
    if options.seeds < 1 or (options.steps is not None and options.steps < 1):
        raise InputError("lab downstream needs --seeds and --steps of 1 or more.")
    home = Home.default()
    result: dict[str, Any] = {"tasks": {}}
    for name in names:
        runs = {arm: [_run(home, options, name, arm, seed) for seed in range(options.seeds)] for arm in ARMS}
        result["tasks"][name] = _compared(name, runs)
        print(_line(name, result["tasks"][name]), flush=True)
    result[ORDER] = video.run_order(shipped("pretrained"), options.level)
    print(f"{ORDER:16} {result[ORDER]['accuracy']:10.3f}   chance {result[ORDER]['chance']:.3f}: as published, it cannot be seen")
    settings = asdict(options) | {"out": None if options.out is None else str(options.out)}
    path = options.out or home.folder / "downstream.json"
    print(f"record: {write_record(path, record('downstream', result, seed=None, config=settings))}")
    return 0


def _run(home: Home, options: Options, name: str, arm: str, seed: int) -> Run:
    start = shipped("pretrained")
    task, _ = TASKS[name]
    config = {"task": name, "arm": arm, "seed": seed, "level": options.level, "weights": start.fingerprint}
    step = Step(kind="downstream", config=config | {"steps": options.steps}, version=VERSION)

    def work(folder: Path) -> dict[str, Any]:
        torch.manual_seed(seed)
        begun = start if arm == "pre-trained" else _new(start)
        steps = {} if options.steps is None else {"steps": options.steps}
        return task(begun, options.level, seed=seed, out=folder, **steps)

    return home.run(step, work)


def _new(like: Loaded) -> Loaded:
    """A model of the same configuration and vocabulary with new weights."""
    return replace(like, model=BLIP(like.model.config).eval(), card=Card(stage="new"), fingerprint="")


def _compared(name: str, runs: Mapping[str, Sequence[Run]]) -> dict[str, Any]:
    """Both arms by seed, and the paired difference of the primary metric with its 95% t-interval."""
    metric = TASKS[name][1]
    values = {arm: [run.result[metric] for run in found] for arm, found in runs.items()}
    differences = [with_ - without for with_, without in zip(*(values[arm] for arm in ARMS), strict=True)]
    first = runs[ARMS[0]][0].result
    return {
        "metric": metric,
        "chance": first["chance"],
        "ceiling": first["ceiling"],
        "values": values,
        "difference": _difference(differences) if len(differences) > 1 else None,
        "all": {arm: [run.result for run in found] for arm, found in runs.items()},
        "seconds": {arm: [run.seconds for run in found] for arm, found in runs.items()},
    }


def _difference(differences: Sequence[float]) -> dict[str, Any]:
    """Mean, interval (bounds None where equal differences give none) and size of the paired differences."""
    effect = paired_effect(differences)
    low, high = effect.interval.bounds
    return asdict(effect) | {"interval": {"mean": effect.interval.mean, "low": low, "high": high}}


def _line(name: str, found: dict[str, Any]) -> str:
    means = [sum(values) / len(values) for values in found["values"].values()]
    cells = "   ".join(f"{arm} {mean:.3f}" for arm, mean in zip(ARMS, means, strict=True))
    return f"{name:16} {found['metric']:14} {cells}   chance {found['chance']:.3f}   ceiling {found['ceiling']:.3f}"
