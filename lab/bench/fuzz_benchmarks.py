"""Fuzz targets: the benchmarks' own files. They are read whole or not at all, so nothing is ever rejected."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from blip.data.benchmarks import answers, captions, nlvr, tables, videos, visdial, vqa
from blip.data.benchmarks.reading import Identity
from blip.errors import InputError
from lab.bench.fuzz_case import Seed, Tally, Target

_JPG = b"a picture that no reader of lists opens"
_QUESTIONS = {
    "data_subtype": "val2014",
    "questions": [{"question_id": n, "image_id": 42, "question": f"what is {n}?"} for n in range(3)],
}
_ANNOTATIONS = {
    "annotations": [
        {
            "question_id": n,
            "image_id": 42,
            "answers": [{"answer": "yes"}, {"answer": "no"}],
            "multiple_choice_answer": "yes",
            "question_type": "what",
            "answer_type": "other",
        }
        for n in range(3)
    ]
}
_LISTED = [
    {"question_id": 1, "image": "a.jpg", "question": "why?", "answer": ["yes", "no"], "dataset": "vqa"},
    {"image": "a.jpg", "question": "where?", "answer": "here", "dataset": "vg"},
]
_GENOME = [{"id": 42, "qas": [{"qa_id": 1, "image_id": 42, "question": "who?", "answer": "me"}]}, {"id": 43, "qas": []}]
_KARPATHY = {
    "images": [
        {"split": split, "filepath": "val2014", "filename": "c.jpg", "cocoid": n, "sentences": [{"raw": "a cat"}, {"raw": "two"}]}
        for n, split in enumerate(("train", "restval", "val", "test"))
    ]
}
_FLICKR = {"images": [{"split": "test", "filename": "a.jpg", "imgid": 7, "sentences": [{"raw": "a dog"}]}]}
_CAPTIONS = [{"image": "x/img_1.jpg", "caption": "one"}, {"image": "x/img_2.jpg", "caption": ["two", "three"]}]
_NOCAPS = {
    "images": [{"id": 1, "file_name": "a.jpg", "domain": "in-domain"}, {"id": 2, "file_name": "a.jpg"}],
    "annotations": [{"image_id": 1, "id": 1, "caption": "one"}, {"image_id": 2, "id": 2, "caption": "two"}],
}
_NOCAPS_LISTED = [{"img_id": 1, "image": "a.jpg"}, {"img_id": "b", "image": "a.jpg"}]
_STATEMENTS = [
    {"identifier": f"dev-8-0-{n}", "sentence": "both are red", "label": label, "directory": "d"}
    for n, label in enumerate(("True", "False"))
]
_PAIRS_SAID = [{"sentence": "two dogs", "label": "True", "images": ["dev/d/dev-8-0-img0.png", "dev/d/dev-8-0-img1.png"]}]
_DIALOGS = {
    "split": "val",
    "data": {
        "questions": ["is it red?", "how many?"],
        "answers": ["yes", "no", "two"],
        "dialogs": [
            {
                "image_id": 7,
                "caption": "a ball",
                "dialog": [
                    {"question": 0, "answer": 0, "answer_options": [0, 1, 2], "gt_index": 0},
                    {"question": 1, "answer": 2, "answer_options": [2, 1, 0], "gt_index": 0},
                ],
            }
        ],
    },
}
_RELEVANCE = [{"image_id": 7, "round_id": 1, "gt_relevance": [0.0, 0.5, 1]}, {"image_id": 8, "round_id": 2, "relevance": [1, 0]}]
_RANKS = [{"image_id": 7, "round_id": 1, "ranks": [3, 1, 2]}, {"image_id": 8, "round_id": 1, "ranks": [1, 2]}]
_CLIPS = [{"clip_name": "video7", "caption": "a man"}, {"clip_name": "video7", "caption": "a boy"}]
_CLIP_QUESTIONS = [{"id": 1, "video_id": 7, "question": "who?", "answer": "a man"}, {"video": "video7", "question": "what?"}]

_PICTURES = ("a.jpg", "42.jpg", "val2014/c.jpg", "val2014/COCO_val2014_000000000042.jpg", "x/img_1.jpg", "x/img_2.jpg")
_MORE = ("dev/d/dev-8-0-img0.png", "dev/d/dev-8-0-img1.png", "VisualDialog_val2018_000000000007.jpg", "video7.mp4")
_BESIDE = dict.fromkeys((*_PICTURES, *_MORE), _JPG)

Read = Callable[[Path, Path], Any]
"""A reader of a file and the folder of the images."""


def _seed(given: Mapping[str, Any]) -> Seed:
    """Files (JSON values, lists of rows for .jsonl, texts as they are) beside the pictures they name."""
    return Seed({name: _content(name, value) for name, value in given.items()} | _BESIDE, tuple(given))


def _content(name: str, value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if name.endswith(".jsonl"):
        return "\n".join(map(json.dumps, value)).encode()
    return json.dumps(value).encode()


def _target(name: str, *forms: tuple[Mapping[str, Any], Sequence[Read]]) -> Target:
    """A target of several forms of files, each with its readers, which take the form's first file."""

    @cache
    def seeds() -> tuple[Seed, ...]:
        return tuple(_seed(files) for files, _ in forms)

    def read(tally: Tally) -> None:
        for files, readers in forms:
            path = tally.folder / next(iter(files))
            if any((tally.folder / name).exists() for name in files):
                for reader in readers:
                    tally.attempt(partial(reader, path, tally.folder))

    return Target(name, seeds, read)


def _split(split: captions.Split) -> Read:
    return lambda path, root: captions.read_karpathy(path, root, split)


def _video_questions(path: Path, root: Path) -> list[videos.VideoQuestion]:
    return videos.read_video_questions(path, root, _names(root))


def _names(root: Path) -> dict[str, str]:
    """A mapping that is refused leaves the questions to be read without one."""
    try:
        return videos.read_video_names(root / "mapping.txt")
    except InputError:
        return {}


def _ranked(path: Path, root: Path) -> dict[tuple[Identity, int], Any]:
    return visdial.read_ranks(path)


_QUESTION_TABLE = "image,question,answer,question_id\na.jpg,why?,yes,q1\na.jpg,why?,no,q1\n42.jpg,\"where, then?\",here,\n"
_VIDEO_TABLE = "key,vid_key,video_id,sentence\nret0,msr7,video7,a man is singing\nret1,msr7,video7,a boy\n"

TARGETS = (
    _target(
        "vqa",
        ({"q.json": _QUESTIONS, "annotations.json": _ANNOTATIONS}, [lambda p, r: vqa.read_vqa(p, r / "annotations.json", r)]),
        ({"vqa_train.json": _LISTED}, [vqa.read_question_list]),
        ({"genome.json": _GENOME}, [vqa.read_visual_genome]),
        ({"answer_list.json": ["yes", "no", "2"]}, [lambda p, r: answers.read_answer_list(p)]),
        ({"results.json": [{"question_id": 1, "answer": "yes"}]}, [lambda p, r: vqa.read_answers(p)]),
        ({"own.csv": _QUESTION_TABLE}, [tables.read_question_table]),
        ({"own.tsv": _QUESTION_TABLE.replace(",", "\t")}, [tables.read_question_table]),
    ),
    _target(
        "captions",
        ({"coco.json": _KARPATHY}, [_split("train"), _split("val"), _split("test")]),
        ({"flickr.json": _FLICKR}, [_split("test")]),
        ({"list.json": _CAPTIONS}, [captions.read_caption_list]),
        ({"nocaps.json": _NOCAPS}, [captions.read_nocaps, lambda p, r: captions.read_references(p)]),
        ({"nocaps_val.json": _NOCAPS_LISTED}, [captions.read_nocaps]),
        ({"said.json": [{"image_id": 1, "caption": "a dog"}]}, [lambda p, r: captions.read_captions(p)]),
    ),
    _target(
        "nlvr",
        ({"dev.json": "\n".join(map(json.dumps, _STATEMENTS))}, [nlvr.read_nlvr]),
        ({"dev.jsonl": _STATEMENTS}, [nlvr.read_nlvr]),
        ({"nlvr_dev.json": _PAIRS_SAID}, [nlvr.read_nlvr_list]),
    ),
    _target(
        "visdial",
        ({"visdial_1.0_val.json": _DIALOGS}, [visdial.read_visdial]),
        ({"dense.json": _RELEVANCE}, [lambda p, r: visdial.read_relevance(p)]),
        ({"ranks.json": _RANKS}, [_ranked]),
    ),
    _target(
        "videos",
        ({"msrvtt_test.jsonl": _CLIPS}, [videos.read_video_captions]),
        ({"msrvtt.csv": _VIDEO_TABLE}, [videos.read_video_captions]),
        ({"qa.json": _CLIP_QUESTIONS, "mapping.txt": "video7 vid7\nother clip vid8\n"}, [_video_questions]),
        ({"names.txt": "-4wsuPCjDBc_5_15 vid1\nvideo7 vid7\n"}, [lambda p, r: videos.read_video_names(p)]),
    ),
)
