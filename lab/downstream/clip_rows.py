"""Clips as rows of sampled frames: of the generated world, and of video files and folders of frames (paper 5.6)."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from blip.data.loading import Loader, Request
from blip.data.pictures import PictureBatch
from blip.data.transforms import eval_transform, normalize_uint8
from blip.data.video import frame_indices, sample_frames
from blip.distributed import own_rows
from blip.errors import InputError
from lab.inference import Machine
from lab.world.clips import Clip
from lab.world.draw import draw

HELD_OUT = 200  # clips of the generated world that a measure is taken on
_NO_DRAWS = np.random.default_rng(0)  # the evaluation transform draws nothing
One = TypeVar("One")


@dataclass(frozen=True, kw_only=True)
class Footage:
    """Where videos come from: --data with --videos, or --world."""

    data: Path | None = None
    """The benchmark's own list of texts or questions."""
    videos: Path | None = None
    """Folder of the video files, or of a folder of frames for each video."""
    world: str | None = None
    """Held-out clips of the generated world in place of --data: nano, tiny, small, medium or rich."""
    world_clips: int = HELD_OUT
    """How many of them."""

    def __post_init__(self) -> None:
        if (self.world is None) == (self.data is None):
            raise InputError("Where do the videos come from? Give either --data with --videos, or --world.")
        if self.world is None:
            self.files()
        if self.world_clips < 1:
            raise InputError(f"--world-clips {self.world_clips} cannot be; give 1 or more.")

    def files(self) -> tuple[Path, Path]:
        """The list and the folder of the videos; InputError where one is missing."""
        if self.data is None or self.videos is None:
            raise InputError("--data needs the folder of its videos: give --videos.")
        return self.data, self.videos


class ClipRows(Generic[One]):
    """Clips in order; read: the sampled frames (T, 3, H, W) of one, normalised. A loader's threads read them."""

    shards = None

    def __init__(self, clips: Sequence[One], read: Callable[[One], Tensor]) -> None:
        self.clips, self.read = clips, read

    def __len__(self) -> int:
        return len(self.clips)

    def begin(self, request: Request, pool: ThreadPoolExecutor) -> Callable[[], PictureBatch]:
        """One task a clip; what is returned waits for all of them, and raises what reading one raised."""
        rows = request.rows().tolist()
        tasks = [pool.submit(self.read, self.clips[row]) for row in rows]
        return lambda: PictureBatch(torch.stack([task.result() for task in tasks]), rows)


def file_clips(paths: Sequence[str], px: int, frames: int) -> ClipRows[str]:
    """`frames` frames of each video file or folder of frames, resized to px."""
    transform = eval_transform(px)
    return ClipRows(paths, lambda path: torch.stack([transform(f, _NO_DRAWS) for f in sample_frames(path, frames)]))


def world_clips(clips: Sequence[Clip], px: int, frames: int) -> ClipRows[Clip]:
    """`frames` frames of each clip of the generated world, drawn at px."""

    def read(clip: Clip) -> Tensor:
        chosen = frame_indices(len(clip.scenes), frames)
        pictures = np.stack([draw(clip.scenes[at], px) for at in chosen])
        return normalize_uint8(torch.from_numpy(pictures))

    return ClipRows(clips, read)


def clip_batches(rows: ClipRows, frames: int, machine: Machine) -> Iterator[Tensor]:
    """All clips in order, (b, T, 3, H, W): as many as the machine's batch has room for, a frame being an image.

    Of several processes each gets those of its `own_clips`.
    """
    for loaded in Loader(rows, _at_once(frames, machine), train=False, workers=machine.workers):
        yield loaded.pictures.to(machine.device)


def own_clips(rows: ClipRows, frames: int, machine: Machine) -> range:
    """The rows of the clips that `clip_batches` gives to this process."""
    return own_rows(len(rows), _at_once(frames, machine))


def _at_once(frames: int, machine: Machine) -> int:
    if frames < 1:
        raise InputError(f"{frames} frames of a video cannot be; give 1 or more.")
    return max(1, machine.batch // frames)
