"""Frames of a clip, evenly spaced, from a video file or a folder of frames (paper 5.6).

PyAV decodes video files and is imported only then.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from PIL import Image

from blip.data.files import IMAGE_EXTENSIONS
from blip.data.images import BadImage, decode_image
from blip.errors import InputError

if TYPE_CHECKING:
    from av.container import InputContainer

RETRIEVAL_FRAMES, QUESTION_FRAMES = 8, 16
"""Frames a clip in the paper: for text-to-video retrieval and for questions."""

_NUMBERS = re.compile(r"(\d+)")


def frame_indices(length: int, frames: int) -> list[int]:
    """The published choice of `frames` out of `length`: 0, s, 2s, ... with a whole step s = length // frames.

    The step is cut to a whole number, so up to frames - 1 frames at the end are never reached.
    """
    if frames < 1:
        raise InputError(f"{frames} frames cannot be sampled; ask for at least one.")
    if length < frames:
        raise InputError(f"A clip of {length} frames is too short for {frames}; ask for fewer frames.")
    return [place * (length // frames) for place in range(frames)]


def sample_frames(path: str, frames: int = RETRIEVAL_FRAMES) -> list[Image.Image]:
    """`frames` RGB pictures, evenly spaced, of a video file or of a folder of images in order of their names.

    Numbers in names count as numbers (frame_2 before frame_10). InputError where the clip is missing, has no
    frame or too few, cannot be decoded, or where PyAV is missing.
    """
    if not os.path.exists(path):
        raise InputError(f"The clip {path} is missing; check the path.")
    return _from_folder(path, frames) if os.path.isdir(path) else _from_video(path, frames)


def _from_folder(folder: str, frames: int) -> list[Image.Image]:
    names = [name for name in os.listdir(folder) if _is_frame(name)]
    names.sort(key=_in_order)
    return [_picture(os.path.join(folder, names[i])) for i in _chosen(folder, len(names), frames)]


def _is_frame(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1][1:].lower() in IMAGE_EXTENSIONS


def _in_order(name: str) -> tuple[list[str | int], str]:
    parts = [int(part) if at % 2 else part for at, part in enumerate(_NUMBERS.split(name))]
    return parts, name


def _picture(path: str) -> Image.Image:
    try:
        with open(path, "rb") as file:
            return decode_image(file.read())
    except (OSError, BadImage) as error:
        raise InputError(f"The frame {path} cannot be used ({error}); extract it again.") from None


def _from_video(path: str, frames: int) -> list[Image.Image]:
    """Two passes: the number of frames that a file's header claims is often wrong, and clips are short."""
    with _opened(path) as container:
        length = sum(1 for _ in container.decode(video=0))
    chosen = _chosen(path, length, frames)
    last, wanted, found = chosen[-1], set(chosen), []
    with _opened(path) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index in wanted:
                found.append(frame.to_image())
            if index == last:
                break
    return found


@contextmanager
def _opened(path: str) -> Iterator["InputContainer"]:
    """A video file whose errors are sentences."""
    try:
        import av
    except ModuleNotFoundError:
        raise InputError(
            f"To read the video file {path} install the package `av` (extra `video`), or give a folder of frames."
        ) from None
    try:
        with av.open(path) as container:
            if not container.streams.video:
                raise InputError(f"{path} has no video stream; give a video file or a folder of frames.")
            yield container
    except (av.FFmpegError, OSError) as error:
        raise InputError(
            f"The video {path} cannot be decoded ({error.strerror or error}); fetch it again."
        ) from None


def _chosen(path: str, length: int, frames: int) -> Sequence[int]:
    if length == 0:
        raise InputError(f"The clip {path} has no frames; give a video file or a folder of images.")
    try:
        return frame_indices(length, frames)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
