"""`lab bench capfilt`: CapFilt here and as a straightforward loop over transformers' BLIP classes, in one run.

Both sides have the same random weights, photos, decoding, precision and images at a time. Each lives in
a process of its own, so that its memory can be told; they take turns, and the other one waits.
"""

import multiprocessing
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from blip.captured import captures
from blip.config import named
from blip.errors import InputError
from blip.tokenizer import Tokenizer
from lab.bench import capfilt_flops
from lab.bench.capfilt_ours import Ours
from lab.bench.capfilt_peer import Peer
from lab.bench.capfilt_setting import CANDIDATES, NUCLEUS, PARTS, Setting, chosen
from lab.bench.capfilt_weights import PROMPT, vocabulary, write_weights
from lab.bench.rounds import spread
from lab.bench.running import check_running, record_path
from lab.records import record, write_record

TARGETS = {"cpu": 2.0, "cuda": 3.0}
TOLERANCES = {"float32": 1e-4, "bf16": 5e-2}
"""Largest difference of match probabilities at which both sides have computed the same."""
HOW = (
    "Random weights, so captions end at max_length. Timed from the encoded pictures to the scores, each side with "
    "its own preparation of pictures; ours also computes the ITC cosine and writes its ledger. Both sides ran "
    "once before the rounds, for the agreement, on the same prepared pictures."
)
Side = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure captioning and filtering against a plain loop over transformers' classes with the same weights."""

    data: str
    """Real photos with web captions, in any form that lab capfilt reads."""
    images: int = 8
    """Photos a round: the first ones of the data."""
    batch: int = 8
    """Photos that either side works on at a time."""
    rounds: int = 3
    """Rounds of each side; the medians are compared."""
    size: str = "base"
    """Size of the models by name: tiny, small, base or large."""
    image_size: int = 384
    """Side in pixels at which the models see photos."""
    vocab: Path | None = None
    """BERT's vocab.txt; by default the words of the captions, filled up to its size."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    """cpu or cuda."""
    precision: str = "float32"
    """float32 or bf16 (autocast on both sides)."""
    out: Path | None = None
    """The record, JSON; by default capfilt-DEVICE.json, or capfilt-DEVICE-bf16.json, among the benches' records."""
    seed: int = 0
    """Of weights and draws."""


def main(options: Options) -> int:
    """Measure, print, record; 1 if the target is missed or the sides disagree."""
    _check(options)
    config = named(options.size, image_size=options.image_size)
    load = os.getloadavg()[0]
    pairs = chosen(options.data, options.images)
    words = Tokenizer.from_vocab(options.vocab).vocab if options.vocab else vocabulary(pair.caption for pair in pairs)
    with tempfile.TemporaryDirectory(prefix="capfilt-bench-") as name:
        write_weights(Path(name), config, words, seed=options.seed)
        setting = Setting(
            folder=Path(name),
            data=options.data,
            images=options.images,
            batch=options.batch,
            device=options.device,
            precision=options.precision,
            seed=options.seed,
        )
        with _apart(Ours, setting) as ours, _apart(Peer, setting) as peer:
            result = measured(options, ours, peer)
    result["load_average_before"] = round(load, 2)
    path = options.out or record_path("capfilt", options.device, options.precision)
    settings = asdict(options) | {"out": path.name, "vocab": options.vocab and options.vocab.name}
    about = {"options": settings, "decoding": str(NUCLEUS), "candidates": CANDIDATES}
    write_record(path, record("bench-capfilt", result, seed=options.seed, config=about))
    print(_table(result))
    print(f"record: {path}")
    return 0 if result["reached"] else 1



def measured(options: Options, ours: Side, peer: Side) -> dict[str, Any]:
    """Agreement, then rounds in turn; a side takes the name of a method of Ours or Peer, and its values."""
    agreement = _agreement(options, ours, peer)
    print(_agreement_line(agreement), flush=True)
    found: dict[str, list[dict[str, Any]]] = {"ours": [], "peer": []}
    for number in range(options.rounds):
        for name, side in (("ours", ours), ("peer", peer)):
            found[name].append(side("round", number))
            print(f"round {number + 1}, {name}: {found[name][-1]['seconds']:.1f} s", flush=True)
    seconds = {name: [one["seconds"] for one in rounds] for name, rounds in found.items()}
    ratio = statistics.median(seconds["peer"]) / statistics.median(seconds["ours"])
    ratios = [round(theirs / own, 3) for own, theirs in zip(seconds["ours"], seconds["peer"], strict=True)]
    target = TARGETS[options.device.split(":")[0]]
    return {
        "how": HOW,
        "device": options.device,
        "precision": options.precision,
        "cuda_graphs": captures(torch.device(options.device)),
        "ours": _told(found["ours"], options.images, ours("peak")),
        "peer": _told(found["peer"], options.images, peer("peak")),
        "ratio": round(ratio, 3),
        "spread": spread(ratios),
        "target": target,
        "limit": _limit(options, found["ours"]),
        "agreement": agreement,
        "reached": ratio >= target and agreement["agree"],
    }


def _agreement(options: Options, ours: Side, peer: Side) -> dict[str, Any]:
    """Greedy captions token for token, and match probabilities of each photo with its own and the next one's text."""
    texts = [pair.caption for pair in chosen(options.data, options.images)]
    pairs = [list(two) for two in zip(texts, texts[1:] + texts[:1], strict=True)]
    captions, theirs = ours("greedy"), peer("greedy")
    scores, their_scores = ours("match", pairs), peer("match", pairs)
    same = sum(own == other for own, other in zip(captions, theirs, strict=True))
    difference = max(abs(own - other) for own, other in zip(scores, their_scores, strict=True))
    tolerance = TOLERANCES[options.precision]
    # Near ties fall either way in bf16, where kernels round differently.
    required = len(captions) if options.precision == "float32" else 0
    return {
        "greedy_captions": len(captions),
        "greedy_captions_distinct": len(set(map(tuple, captions))),
        "greedy_captions_the_same": same,
        "pairs_scored": len(scores),
        "match_probability": spread(scores),
        "largest_difference": difference,
        "tolerance": tolerance,
        "agree": same >= required and difference <= tolerance,
    }


def _told(rounds: list[dict[str, Any]], images: int, peak: int) -> dict[str, Any]:
    """A side's rounds in medians; the counts of each round as they were."""
    seconds = [one["seconds"] for one in rounds]
    parts = {name: statistics.median(one["parts"][name] for one in rounds) for name in rounds[0]["parts"]}
    counts = ("captions", "tokens_generated", "texts_scored", "tokens_scored")
    return {
        "seconds": spread(seconds),
        "processor_seconds": spread([one["processor_seconds"] for one in rounds]),
        "seconds_an_image": round(statistics.median(seconds) / images, 3),
        "parts": parts,
        "rounds": seconds,
        **{name: [one[name] for one in rounds] for name in counts},
        "peak_mib": peak,
    }


def _limit(options: Options, rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """The ratio of operations, from the sizes, the decoding and the texts that were scored."""
    texts = sum(one["texts_scored"] for one in rounds)
    shapes = capfilt_flops.Shapes(
        candidates=CANDIDATES,
        texts=1 + CANDIDATES,
        prompt=1 + len(PROMPT.split()),
        length=NUCLEUS.max_length,
        scored=sum(one["tokens_scored"] for one in rounds) / texts,
    )
    config = named(options.size, image_size=options.image_size)
    ours, peer = capfilt_flops.ours(config, shapes), capfilt_flops.straightforward(config, shapes)
    return {
        "what": "ratio of the floating-point operations of the matrix products, peer over ours",
        "ratio": round(sum(peer.values()) / sum(ours.values()), 3),
        "shapes": asdict(shapes),
        "gflop_an_image_ours": {part: round(ours[part] / 1e9, 1) for part in PARTS},
        "gflop_an_image_peer": {part: round(peer[part] / 1e9, 1) for part in PARTS},
    }


@contextmanager
def _apart(kind: type, setting: Setting) -> Iterator[Side]:
    """A side in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        yield lambda name, *values: process.submit(_answer, kind, setting, name, *values).result()


def _answer(kind: type, setting: Setting, name: str, *values: Any) -> Any:
    return getattr(_side(kind, setting), name)(*values)


@cache
def _side(kind: type, setting: Setting) -> Any:
    return kind(setting)


def _check(options: Options) -> None:
    for name in ("images", "batch", "rounds"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name} {getattr(options, name)} cannot be; give 1 or more.")
    check_running(options.device, options.precision)


def _table(result: dict[str, Any]) -> str:
    parts = [*result["ours"]["parts"], "all"]
    lines = ["seconds   " + "".join(f"{part:>17}" for part in parts) + f"{'s an image':>12}{'peak MiB':>10}"]
    for name in ("ours", "peer"):
        side = result[name]
        numbers = [*side["parts"].values(), side["seconds"]["median"]]
        row = "".join(f"{number:>17.1f}" for number in numbers)
        lines.append(f"{name:10}{row}{side['seconds_an_image']:>12.2f}{side['peak_mib']:>10,}")
    ratios, limit = result["spread"], result["limit"]["ratio"]
    lines.append(
        f"ratio {result['ratio']:.2f} ({ratios['min']:.2f} to {ratios['max']:.2f}), "
        f"target {result['target']:g}, limit of the arithmetic {limit:.2f}"
    )
    return "\n".join(lines)


def _agreement_line(found: dict[str, Any]) -> str:
    return (
        f"greedy captions the same: {found['greedy_captions_the_same']} of {found['greedy_captions']} "
        f"({found['greedy_captions_distinct']} distinct); match probabilities differ by at most "
        f"{found['largest_difference']:.1e} (tolerance {found['tolerance']:g})"
    )
