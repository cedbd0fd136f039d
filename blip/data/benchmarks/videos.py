"""MSRVTT for retrieval, MSRVTT-QA and MSVD-QA for questions (paper 5.6)."""

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass

from blip.data.benchmarks.reading import Identity, Row, by_identity, read_rows, read_text
from blip.data.csvs import CsvRows
from blip.data.places import Place, local
from blip.errors import InputError

_EXTENSIONS = ("", ".mp4", ".avi", ".webm", ".mkv", ".mov")  # "" is a folder of frames, or a full name
_NUMBERED = ("video", "vid")  # MSRVTT's video6513, MSVD's vid1301
_VIDEO_FIELDS = ("clip_name", "video_id", "video")
_CAPTION_FIELDS = ("caption", "sentence")


@dataclass(frozen=True)
class CaptionedVideo:
    """A video, its path (a file, or a folder of frames), and its captions."""

    video_id: str
    path: str
    captions: tuple[str, ...]


@dataclass(frozen=True)
class VideoQuestion:
    """A question about a video, and its one answer (None where that is hidden)."""

    question_id: Identity
    path: str
    question: str
    answer: str | None


def read_video_captions(path: Place, video_root: Place) -> list[CaptionedVideo]:
    """MSRVTT's test list: the published `msrvtt_test.jsonl` (clip_name, caption) or the CSV of the 1k split.

    The CSV (`MSRVTT_JSFUSION_test.csv`) has the columns video_id and sentence; `video` and `caption` do too.
    Rows of one video are joined, in reading order.
    """
    rows = _csv_rows(path) if str(path).endswith(".csv") else read_rows(path)
    captions: dict[str, list[str]] = {}
    first: dict[str, Row] = {}
    for row in rows:
        name = row.text(*_VIDEO_FIELDS)
        first.setdefault(name, row)
        captions.setdefault(name, []).append(row.text(*_CAPTION_FIELDS))
    return [
        CaptionedVideo(name, _video_at(video_root, [name], row), tuple(captions[name]))
        for name, row in first.items()
    ]


def read_video_questions(
    path: Place, video_root: Place, names: Mapping[str, str] | None = None
) -> list[VideoQuestion]:
    """MSRVTT-QA or MSVD-QA (`test_qa.json`, or the same rows as .jsonl): video_id, question, answer.

    A number names the video `video6513` (MSRVTT) or `vid1301` (MSVD); `names` maps such names to files
    (`read_video_names`). Without an `id` the row's number is the question's id.
    """
    found = []
    for identity, row in by_identity(read_rows(path), "id", needed=False).items():
        video = row.identity("video_id", "video")
        called = [f"{word}{video}" for word in _NUMBERED] if isinstance(video, int) else [video]
        files = [names.get(name, name) for name in called] if names else called
        answer = row.text("answer") if row.has("answer") else None
        found.append(VideoQuestion(identity, _video_at(video_root, files, row), row.text("question"), answer))
    return found


def read_video_names(path: Place) -> dict[str, str]:
    """MSVD's `youtube_mapping.txt` (lines "FILE vid1301"): the file name of each video."""
    found = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        file, _, name = line.strip().rpartition(" ")
        if not file or name in found:
            raise InputError(f"{path}, row {number}: {line!r} is not a file and a new name; correct it.")
        found[name] = file
    if not found:
        raise InputError(f"{path} has no rows; give lines of a file and a name.")
    return found


def _video_at(root: Place, names: list[str], row: Row) -> str:
    paths = [os.path.join(local(str(root)), name) for name in names]
    for path in paths:
        for extension in _EXTENSIONS:
            if os.path.exists(path + extension):
                return path + extension
    raise InputError(
        f"{row.where}: the video {' or '.join(paths)} is missing; check the folder that was given for the videos."
    )


def _csv_rows(path: Place) -> list[Row]:
    """Rows, each at the line where it ends, the header counted."""
    content = read_text(path)
    if not content.strip():
        raise InputError(f"{path} is empty; give a header line, and a video and a caption in each other line.")
    rows = []
    for line, row in CsvRows(io.StringIO(content, newline=""), ",", str(path)).below(None):
        if isinstance(row, str):
            raise InputError(f"{path}:{line} cannot be used: {row}; quote a field that holds a comma.")
        rows.append(Row(dict(row), f"{path}:{line}"))
    if not rows:
        raise InputError(
            f"{path} has no rows; give a header line, and a video and a caption in each other line."
        )
    return rows
