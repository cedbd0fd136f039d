"""`lab bench rerank`: retrieval re-ranking and VQA ranking here and in the published way, in one run.

Both ways have the same random weights, the same fused layers and the same states to start from, so that the ratio
is that of the work alone. They take turns in one process, after each ran once for the agreement of their scores.
"""

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from blip.config import named
from blip.errors import InputError
from blip.precision import precision
from lab.bench.capfilt_setting import Stopwatch
from lab.bench.rerank_retrieval import retrieval
from lab.bench.rerank_vqa import questions
from lab.bench.rounds import spread
from lab.bench.running import check_running, record_path
from lab.records import record, write_record

TARGETS = {"retrieval": 5.0, "vqa": 3.0}
TOLERANCES = {"float32": 1e-4, "bf16": 1e-1}
"""Largest difference of scores at which both ways have computed the same."""
HOW = (
    "The peer is the published way of ranking: for each query one call over its candidates, the query repeated beside "
    "them, keys and values computed in every call, texts padded to 35 tokens (retrieval); answers padded to the "
    "longest and question states repeated for each (VQA). It runs on our own fused layers with the same random "
    "weights. Timed from image states and shortlists, and from question states, to the scores. Texts and answers are "
    "random words; their lengths are stated in the shapes."
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure re-ranking of retrieval and ranking of VQA answers against one call per query in a loop."""

    size: str = "base"
    """Size of the models by name: nano, tiny, small, base or large."""
    image_size: int = 384
    """Side in pixels of the images that the states belong to (published retrieval: 384)."""
    images: int = 8
    """Images of the gallery."""
    texts: int = 40
    """Texts of the gallery."""
    k: int = 4
    """Candidates of each query that ITM ranks (published: 256 COCO, 128 Flickr30K)."""
    texts_at_once: int = 8
    """Texts of one image that our way scores at once; small, for few texts have few of like length."""
    questions: int = 4
    """Questions a batch."""
    answers: int = 3128
    """Answers of the list (published: 3,128)."""
    k_answers: int = 128
    """Answers of each question that are scored whole (published: 128)."""
    rounds: int = 3
    """Rounds of each way; the medians are compared."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    """cpu or cuda."""
    precision: str = "float32"
    """float32 or bf16 (autocast, both ways)."""
    out: Path | None = None
    """The record, JSON; by default rerank-DEVICE.json, or rerank-DEVICE-bf16.json, among the benches' records."""
    seed: int = 0
    """Of weights, states and texts."""


class Contest(Protocol):
    """Two ways to the same scores."""

    def ours(self) -> Any: ...
    def peer(self) -> Any: ...
    def agreement(self, ours: Any, peer: Any, tolerance: float) -> dict[str, Any]: ...
    def limit(self) -> dict[str, Any]: ...


def main(options: Options) -> int:
    """Measure, print, record; 1 if a target is missed or the ways disagree."""
    _check(options)
    load = os.getloadavg()[0]
    parts = {}
    for name, build in (("retrieval", _retrieval), ("vqa", _questions)):
        parts[name] = measured(name, build(options), options)
        print(_lines(name, parts[name]), flush=True)
    result: dict[str, Any] = {"how": HOW, "device": options.device, "precision": options.precision}
    result |= parts | {"reached": all(part["reached"] for part in parts.values()), "load_average_before": round(load, 2)}
    path = options.out or record_path("rerank", options.device, options.precision)
    settings = asdict(options) | {"out": path.name}
    write_record(path, record("bench-rerank", result, seed=options.seed, config={"options": settings}))
    print(f"record: {path}")
    return 0 if result["reached"] else 1


def measured(name: str, contest: Contest, options: Options) -> dict[str, Any]:
    """Agreement, then rounds in turn; the ratio of the medians, beside what the arithmetic allows."""
    ways = {"ours": contest.ours, "peer": contest.peer}
    with precision(torch.device(options.device), options.precision):
        agreement = contest.agreement(contest.ours(), contest.peer(), TOLERANCES[options.precision])
        limit = contest.limit()
        rounds: dict[str, list[tuple[float, float]]] = {"ours": [], "peer": []}
        for number in range(options.rounds):
            for side, way in ways.items():
                rounds[side].append(_seconds(way, options.device))
                print(f"{name}, round {number + 1}, {side}: {rounds[side][-1][0]:.2f} s", flush=True)
    told = {side: _told(own) for side, own in rounds.items()}
    ratio, by_processor = (
        told["peer"][clock]["median"] / told["ours"][clock]["median"] for clock in ("seconds", "processor_seconds")
    )
    ratios = [round(theirs / own, 3) for (own, _), (theirs, _) in zip(*rounds.values(), strict=True)]
    return told | {
        "ratio": round(ratio, 3),
        "spread": spread(ratios),
        "ratio_of_processor_seconds": round(by_processor, 3),
        "target": TARGETS[name],
        "limit": {"what": "ratio of the floating-point operations of the matrix products, peer over ours"} | limit,
        "agreement": agreement,
        "reached": ratio >= TARGETS[name] and agreement["agree"],
    }


def _seconds(way: Callable[[], Any], device: str) -> tuple[float, float]:
    """Seconds of the clock and of the processors; other programs on the machine lengthen the first alone."""
    watch = Stopwatch()
    way()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return watch.read()


def _told(rounds: list[tuple[float, float]]) -> dict[str, Any]:
    seconds, processors = ([round(value, 4) for value in clock] for clock in zip(*rounds, strict=True))
    return {"seconds": spread(seconds), "processor_seconds": spread(processors), "rounds": seconds}


def _retrieval(options: Options) -> Contest:
    return retrieval(
        options.size,
        image_size=options.image_size,
        images=options.images,
        texts=options.texts,
        k=options.k,
        texts_at_once=options.texts_at_once,
        device=options.device,
        seed=options.seed,
    )


def _questions(options: Options) -> Contest:
    return questions(
        options.size,
        count=options.questions,
        answers=options.answers,
        k=options.k_answers,
        device=options.device,
        seed=options.seed,
    )


def _check(options: Options) -> None:
    named(options.size, image_size=options.image_size)
    for name in ("images", "texts", "k", "texts_at_once", "questions", "answers", "k_answers", "rounds"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name.replace('_', '-')} {getattr(options, name)} cannot be; give 1 or more.")
    check_running(options.device, options.precision)


def _lines(name: str, part: dict[str, Any]) -> str:
    ours, peer, ratios = part["ours"]["seconds"]["median"], part["peer"]["seconds"]["median"], part["spread"]
    agreement = part["agreement"]
    return (
        f"{name}: ours {ours:.2f} s, one call per query {peer:.2f} s, ratio {part['ratio']:.2f} "
        f"({ratios['min']:.2f} to {ratios['max']:.2f}), target {part['target']:g}, "
        f"limit of the arithmetic {part['limit']['ratio']:.2f}, "
        f"in processor seconds {part['ratio_of_processor_seconds']:.2f}\n"
        f"  {agreement['scores']} scores differ by at most {agreement['largest_difference']:.1e} "
        f"(tolerance {agreement['tolerance']:g})"
    )
