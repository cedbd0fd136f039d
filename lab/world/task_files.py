"""The world's tasks in the files of the real data sets, so that one way leads from both to a result.

Pictures and clips are named as there; the held-out side takes the name of the validation set.
"""

import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from blip.data.files import replacing, replacing_many
from blip.errors import InputError
from lab.world.clips import CaptionedClip, Clip, ClipQuestion
from lab.world.dialogs import Dialog
from lab.world.questions import Question
from lab.world.splits import check_split
from lab.world.statements import StatementPair

ANNOTATORS = 10
"""Of a VQAv2 question; here they all say the same."""
FPS = 8
_VQA = {"train": "train2014", "held-out": "val2014"}
_VISDIAL = {"train": ("train", "COCO_train2014"), "held-out": ("val", "VisualDialog_val2018")}
_NLVR = {"train": "train", "held-out": "dev"}
_ANSWER_TYPES = {"exists": "yes/no", "count": "number", "objects": "number"}


def write_vqa(asked: Sequence[Question], folder: Path, split: str, px: int, style: str = "flat") -> None:
    """VQAv2: questions, annotations with ten equal answers, and pictures, below a folder."""
    check_split(split)
    subset = _VQA[split]
    names = {q.image: f"COCO_{subset}_{q.image:012d}.jpg" for q in asked}
    whole = {"data_type": "mscoco", "data_subtype": subset}
    told = {"task_type": "Open-Ended", "questions": [_vqa_question(n, q) for n, q in enumerate(asked)]}
    noted = {"annotations": [_vqa_annotation(n, q) for n, q in enumerate(asked)]}
    with replacing_many(folder) as write:
        for image, question in {q.image: q for q in asked}.items():
            write(f"{subset}/{names[image]}", _jpeg(question.picture(px, style)))
        write(f"v2_OpenEnded_mscoco_{subset}_questions.json", _json(whole | told))
        write(f"v2_mscoco_{subset}_annotations.json", _json(whole | noted))


def _vqa_question(number: int, question: Question) -> dict:
    return {"question_id": number, "image_id": question.image, "question": question.text}


def _vqa_annotation(number: int, question: Question) -> dict:
    said = {"answer": question.answer, "answer_confidence": "yes"}
    return {
        "question_id": number,
        "image_id": question.image,
        "question_type": question.query.form,
        "answer_type": _ANSWER_TYPES.get(question.query.form, "other"),
        "multiple_choice_answer": question.answer,
        "answers": [said | {"answer_id": i} for i in range(1, ANNOTATORS + 1)],
    }


def write_visdial(talks: Sequence[Dialog], folder: Path, split: str, px: int, style: str = "flat") -> None:
    """VisDial v1.0: dialogs, dense relevance of one round an image (each in turn), and pictures."""
    check_split(split)
    name, image = _VISDIAL[split]
    questions: dict[str, int] = {}
    answers: dict[str, int] = {}
    rows = [_visdial_row(talk, questions, answers) for talk in talks]
    data = {"questions": list(questions), "answers": list(answers), "dialogs": rows}
    field = "gt_relevance" if name == "val" else "relevance"
    dense = []
    for talk in talks:
        at = talk.image % len(talk.rounds)
        dense.append({"image_id": talk.image, "round_id": at + 1, field: talk.rounds[at].relevance})
    with replacing_many(folder) as write:
        for talk in talks:
            below = image.removeprefix("COCO_")
            write(f"{below}/{image}_{talk.image:012d}.jpg", _jpeg(talk.picture(px, style)))
        write(f"visdial_1.0_{name}.json", _json({"version": "1.0", "split": name, "data": data}))
        write(f"visdial_1.0_{name}_dense_annotations.json", _json(dense))


def _visdial_row(talk: Dialog, questions: dict[str, int], answers: dict[str, int]) -> dict:
    """A dialog by indices into the pools, which grow by what is new; there a question has no mark at its end."""
    rounds = [
        {
            "question": questions.setdefault(asked.question.removesuffix("?"), len(questions)),
            "answer_options": [answers.setdefault(text, len(answers)) for text in asked.candidates],
            "answer": answers[asked.answer],
            "gt_index": asked.place,
        }
        for asked in talk.rounds
    ]
    return {"image_id": talk.image, "caption": talk.caption, "dialog": rounds}


def write_nlvr(pairs: Sequence[StatementPair], folder: Path, split: str, px: int, style: str = "flat") -> None:
    """NLVR2: JSON lines of statements with labels, and the two pictures of each pair."""
    check_split(split)
    name, rows = _NLVR[split], []
    with replacing_many(folder) as write:
        for pair in pairs:
            _, group, number = pair.key.rsplit("-", 2)
            stem = f"{name}-{int(group)}-{number}"
            directory = {"directory": 0} if name == "train" else {}
            row = {"identifier": f"{stem}-0", "sentence": pair.statement.text, "label": str(pair.truth)}
            rows.append(row | directory)
            for side, picture in enumerate(pair.pictures(px, style)):
                below = "train/0" if directory else name
                write(f"{below}/{stem}-img{side}.png", _png(picture))
        write(f"{name}.jsonl", _lines(rows))


def write_clips(
    told: Sequence[CaptionedClip], asked: Sequence[ClipQuestion], folder: Path, px: int, style: str = "flat"
) -> None:
    """MSRVTT's lists: captions (`captions.jsonl`) and questions (`questions.jsonl`) of clips as frame folders."""
    clips = {f"clips/{pair.key}": pair.clip for pair in told}
    clips |= {f"clips/{_clip_name(question)}": question.clip for question in asked}
    captions = [{"clip_name": pair.key, "caption": pair.caption} for pair in told]
    questions = [{"video_id": _clip_name(q), "question": q.text, "answer": q.answer} for q in asked]
    with replacing_many(folder) as write:
        for name, clip in clips.items():
            for at, frame in enumerate(clip.frames(px, style)):
                write(f"{name}/{at:04d}.png", _png(frame))
        for name, rows in (("captions", captions), ("questions", questions)):
            if rows:
                write(f"{name}.jsonl", _lines(rows))


def _clip_name(question: ClipQuestion) -> str:
    """Questions about one clip share its folder; captioned clips are others."""
    return "asked-" + question.key.removesuffix(f"-{question.query.form}")


def write_video(clip: Clip, path: Path, px: int, style: str = "flat", fps: int = FPS) -> None:
    """A clip as an H.264 video file with full colour; `path` ends in .mp4 or .mkv. Needs PyAV."""
    try:
        import av
    except ModuleNotFoundError:
        raise InputError(
            f"To write the video {path} install the package `av` (extra `video`), or write frame folders."
        ) from None
    if px % 2:
        raise InputError(f"A video of {px} pixels cannot be encoded; give an even number.")
    if path.suffix not in (".mp4", ".mkv"):
        raise InputError(f"The video {path} must end in .mp4 or .mkv.")
    memory = io.BytesIO()
    with av.open(memory, "w", format={".mp4": "mp4", ".mkv": "matroska"}[path.suffix]) as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = px, px, "yuv444p"
        for frame in clip.frames(px, style):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    with replacing(path) as file:
        file.write(memory.getvalue())


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _lines(rows: Iterable[dict]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _png(picture: np.ndarray) -> bytes:
    return _encoded(picture, "PNG")


def _jpeg(picture: np.ndarray) -> bytes:
    """COCO's pictures are JPEG; small ones lose their colours unless every pixel keeps its own."""
    return _encoded(picture, "JPEG", quality=95, subsampling=0)


def _encoded(picture: np.ndarray, form: str, **options: int) -> bytes:
    memory = io.BytesIO()
    Image.fromarray(picture).save(memory, form, **options)
    return memory.getvalue()
