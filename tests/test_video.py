"""Frames of clips: the published choice, true files written here, and clips that cannot be used."""

import sys

import av
import numpy as np
import pytest
from data_files import encoded
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from blip.data.video import frame_indices, sample_frames
from blip.errors import InputError


def shade(number: int) -> np.ndarray:
    """A grey picture whose brightness counts frames, ten steps of grey apart."""
    return np.full((32, 48, 3), 10 + 10 * number, dtype=np.uint8)


def shades(frames) -> list[int]:
    return [round((float(np.asarray(frame).mean()) - 10) / 10) for frame in frames]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A video of 19 frames."""
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for number in range(19):
            for packet in stream.encode(av.VideoFrame.from_ndarray(shade(number), format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def test_the_published_choice_of_frames():
    assert frame_indices(300, 8) == [0, 37, 74, 111, 148, 185, 222, 259]  # a step of 37.5 would end at 262
    assert frame_indices(8, 8) == list(range(8))
    assert frame_indices(5, 1) == [0]


@given(st.integers(1, 20), st.integers(0, 500))
def test_frames_are_evenly_spaced_and_in_the_clip(frames, more):
    length = frames + more
    found = frame_indices(length, frames)
    steps = set(np.diff(found).tolist())
    assert len(found) == frames and found[0] == 0 and found[-1] < length and len(steps) <= 1
    # The published call; with a step that is no whole number NumPy itself cuts it.
    assert found == np.arange(0, length, length / frames, dtype=int)[:frames].tolist()


def test_frames_of_a_video_file(clip):
    frames = sample_frames(str(clip), 6)
    assert shades(frames) == [0, 3, 6, 9, 12, 15]
    assert {(frame.mode, frame.size) for frame in frames} == {("RGB", (48, 32))}


def test_frames_of_a_folder_in_the_order_of_their_numbers(tmp_path):
    for number in range(12):
        Image.fromarray(shade(number)).save(tmp_path / f"frame_{number}.png")
    (tmp_path / "notes.txt").write_text("no frame")
    (tmp_path / ".hidden.png").write_bytes(encoded())
    assert shades(sample_frames(str(tmp_path), 4)) == [0, 3, 6, 9]
    assert shades(sample_frames(str(tmp_path), 12)) == list(range(12))


def test_clips_that_are_missing_empty_or_too_short(tmp_path, clip):
    with pytest.raises(InputError, match="gone.mp4 is missing"):
        sample_frames(str(tmp_path / "gone.mp4"))
    with pytest.raises(InputError, match="has no frames; give a video file or a folder"):
        sample_frames(str(tmp_path))
    with pytest.raises(InputError, match="clip.mp4: A clip of 19 frames is too short for 20"):
        sample_frames(str(clip), 20)
    with pytest.raises(InputError, match="ask for at least one"):
        sample_frames(str(clip), 0)


def test_files_that_are_no_videos(tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("not a video at all")
    with pytest.raises(InputError, match=r"text.mp4 cannot be decoded \(.+\); fetch it again"):
        sample_frames(str(text))
    sound = tmp_path / "sound.wav"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        silence.sample_rate = 8000
        container.mux(stream.encode(silence))
    with pytest.raises(InputError, match="sound.wav has no video stream"):
        sample_frames(str(sound))


def test_a_frame_that_cannot_be_read(tmp_path):
    (tmp_path / "1.png").write_bytes(encoded())
    (tmp_path / "2.png").write_bytes(b"<html>gone</html>")
    with pytest.raises(InputError, match="2.png cannot be used .a web page"):
        sample_frames(str(tmp_path), 2)


def test_without_pyav_folders_still_work(tmp_path, clip, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match="install the package `av`"):
        sample_frames(str(clip))
    (tmp_path / "1.png").write_bytes(encoded())
    assert len(sample_frames(str(tmp_path), 1)) == 1
