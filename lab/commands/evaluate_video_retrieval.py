"""`lab evaluate video-retrieval`: videos for texts and back, zero-shot from an image model (paper 5.6, Table 10)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from blip.data.benchmarks.videos import read_video_captions
from blip.data.video import RETRIEVAL_FRAMES
from blip.tasks.ranking import SHORTLIST
from lab.downstream.clip_rows import ClipRows, Footage, file_clips, world_clips
from lab.downstream.reporting import report
from lab.downstream.video import ceiling, chance, measured
from lab.inference import Machine, Weights, begin_evaluation, together
from lab.world.clips import captioned_clips
from lab.world.sets import World


@dataclass(frozen=True, kw_only=True)
class Options:
    """Retrieve videos by text and texts by video with a model that was trained on images."""

    out: Path
    """Folder for summary.json."""
    weights: Weights
    """A retrieval model, a filter, or a pre-trained model."""
    footage: Footage
    """The videos and their texts; --data is MSRVTT's list: msrvtt_test.jsonl (clip_name, caption) or a CSV
    (video_id, sentence)."""
    frames: int = RETRIEVAL_FRAMES
    """Frames of a video, evenly spaced."""
    k: int = SHORTLIST
    """Candidates of ITC that ITM orders anew."""
    machine: Machine = field(default_factory=Machine)
    """How the model runs; a frame counts as an image of --batch."""


def main(options: Options) -> int:
    """Measure, print the recalls and ranks, write summary.json."""
    with together(options.machine):
        loaded = options.weights.load(options.machine.device)
        data = _clips(options, loaded.model.config.vision.image_size)
        begin_evaluation("evaluate video-retrieval", options, model=loaded.fingerprint)
        found, spread = measured(
            loaded.model,
            loaded.tokenizer,
            data.rows,
            data.texts,
            data.clip_of,
            options.machine,
            frames=options.frames,
            k=options.k,
        )
    report(
        options.out,
        "video-retrieval",
        found,
        options,
        model=loaded.fingerprint,
        chance=chance(data.clip_of, len(data.rows)),
        ceiling=data.ceiling,
        counted={"videos": len(data.rows), "texts": len(data.texts)},
        spread=spread,
    )
    return 0


@dataclass(frozen=True)
class _Clips:
    rows: ClipRows
    texts: Sequence[str]
    clip_of: np.ndarray
    ceiling: Mapping[str, float]


def _clips(options: Options, px: int) -> _Clips:
    if options.footage.world is not None:
        told = captioned_clips(World.of(options.footage.world), options.footage.world_clips, "held-out")
        rows = world_clips([one.clip for one in told], px, options.frames)
        return _Clips(rows, [one.caption for one in told], np.arange(len(told)), ceiling(told))
    videos = read_video_captions(*options.footage.files())
    texts = [caption for one in videos for caption in one.captions]
    clip_of = np.repeat(np.arange(len(videos)), [len(one.captions) for one in videos])
    return _Clips(file_clips([one.path for one in videos], px, options.frames), texts, clip_of, {})
